"""``python -m efficient_attn bench WHAT``: measure, side by side with others; print a table."""

import dataclasses
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from efficient_attn.bench import attention
from efficient_attn.training.curve import figure_of


@dataclasses.dataclass(frozen=True)
class Args:
    """What to measure."""

    what: Annotated[
        Literal[
            "attention",
            "mechanisms",
            "training",
            "steps",
            "kernels",
            "tpu",
            "gpu",
            "reformer",
            "longformer",
            "linformer",
            "recurrent",
            "sampling",
            "experts",
        ],
        tyro.conf.Positional,
    ] = "attention"
    longest: int = 65_536
    """Longest sequence whose attention is timed, in tokens."""
    picture: Path | None = None
    """A PNG to draw time and memory (``mechanisms``), or the cost of masks (``kernels``), against the length in; or a spectrum."""
    config: str = "configs/quickstart.py"
    """Config whose training is timed (``steps``: all its variants), or which was trained in ``workdir``."""
    spectrum: bool = False
    """The singular values of a trained model's attention (``linformer``), in place of time and memory."""
    workdir: str | None = None
    """Of ``spectrum``: a run of ``config``, or the folder of an encoder's checkpoint with its tokenizer."""
    text: Path | None = None
    """Of ``spectrum``: a file that a checkpoint reads; None: the standard library. A run reads its validation split."""
    texts: int = 8
    """Of ``spectrum``: windows of the text, over which singular values are averaged."""


def main(args: Args) -> None:
    """Prints a row as soon as it is measured."""
    _MEASURED[args.what](args)


def _attention(args: Args) -> None:
    """Attention over patterns beside JAX's and PyTorch's."""
    if args.longest < 4096:
        raise ValueError(f"longest must be at least 4096 tokens, got {args.longest}")
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; float32, batch 1, heads of 64")
    print("| system | pattern | n | heads | forward ms | fwd+bwd ms | of matrix rate, fwd / both | us a token | MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in attention.rows(args.longest):
        print(_line(row), flush=True)


def _mechanisms(args: Args) -> None:
    """A layer of every mechanism: time and memory by length, and how work and the longest chain grow."""
    from efficient_attn.bench import mechanisms

    if args.picture is not None:
        figure_of("", "")
    rows = []
    print("| mechanism | n | forward ms | fwd+bwd ms | MiB |\n|---|---|---|---|---|")
    for name in mechanisms.MECHANISMS:
        for length in mechanisms.timed(name, args.longest):
            rows.append(row := mechanisms.measure(name, length))
            print(f"| {name} | {length} | {row.forward_ms:.1f} | {row.both_ms:.1f} | {row.mib:.0f} |", flush=True)
    if args.picture is not None:
        mechanisms.draw(rows, args.picture)
    ends = [f"{n:,}" for n in (mechanisms.GROWN[0], mechanisms.GROWN[-1])]
    print(f"\n| mechanism | products grow as n to the | longest chain at {' and '.join(ends)} |\n|---|---|---|")
    for name in mechanisms.MECHANISMS:
        flops, chains = mechanisms.grown(name, mechanisms.GROWN)
        power = mechanisms.exponent(mechanisms.GROWN, flops)
        print(f"| {name} | {power:.2f} | {chains[0]:,} and {chains[-1]:,} |", flush=True)


def _training(args: Args) -> None:
    """Tokens per second at three context lengths, ours with the config's pattern and PyTorch's with dense attention."""
    from efficient_attn.bench import training
    from efficient_attn.experiment import load_language_model

    config = load_language_model(args.config)
    others = [training.torch_dense] if importlib.util.find_spec("torch") is not None else []
    if not others:
        print("PyTorch is not installed: its column is left out", file=sys.stderr)
    print("| n | system | tokens/s |\n|---|---|---|")
    for context in (256, 2048, 4096):
        at = training.at_context(config, context)
        for run in (training.ours, *others):
            result = run(at)
            print(f"| {context} | {result.system} | {result.tokens_per_second:,.0f} |", flush=True)


def _steps(args: Args) -> None:
    """Parameters and time per training step of a config and its variants, in turns."""
    from efficient_attn.bench.steps import Timed, step_times
    from efficient_attn.experiment import load_variants

    configs = load_variants(args.config)
    if not all(isinstance(config, Timed) for config in configs.values()):
        raise ValueError(f"a config of a language model or an encoder-decoder is needed, and {args.config} has another")
    print("| variant | parameters | ms a step | tokens/s |\n|---|---|---|---|")
    for name, (size, ms, rate) in step_times(configs).items():
        print(f"| {name or 'CONFIG'} | {size:,} | {ms:.0f} | {rate:,.0f} |")


def _need_compiler(what: str) -> None:
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"bench {what} needs the TPU compiler: pip install libtpu")


def _reformer(args: Args) -> None:
    """LSH attention beside that of transformers, and the memory of gradients by depth."""
    from efficient_attn.bench import reformer

    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed: its rows are left out", file=sys.stderr)
    print("| system | n | rounds | forward ms | fwd+bwd ms | MiB |\n|---|---|---|---|---|---|")
    for row in reformer.rows(args.longest):
        times = f"{row.forward_ms:.0f} | {row.both_ms:.0f} | {row.mib:.0f}"
        print(f"| {row.system} | {row.length} | {row.rounds} | {times} |", flush=True)
    print()
    print(f"| temporaries of a gradient, MiB, at depth | {' | '.join(map(str, reformer.DEPTHS))} |")
    print("|---|" + "---|" * len(reformer.DEPTHS))
    for residual in ("plain", "reversible"):
        sizes = [f"{reformer.gradient_mib(residual, depth):.0f}" for depth in reformer.DEPTHS]
        print(f"| {residual} | {' | '.join(sizes)} |", flush=True)


def _longformer(args: Args) -> None:
    """Longformer's attention beside that of transformers."""
    from efficient_attn.bench import longformer

    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed: its rows are left out", file=sys.stderr)
    print("| system | part | n | forward ms | fwd+bwd ms | us a token, fwd / both | MiB |")
    print("|---|---|---|---|---|---|---|")
    for row in longformer.rows(args.longest):
        each = " / ".join(f"{1e3 * x / row.length:.1f}" for x in (row.forward_ms, row.both_ms))
        times = f"{row.forward_ms:.0f} | {row.both_ms:.0f} | {each} | {row.mib:.0f}"
        print(f"| {row.system} | {row.part} | {row.length} | {times} |", flush=True)


def _linformer(args: Args) -> None:
    """What Linformer saves of dense attention, or the singular values that let it."""
    from efficient_attn.commands import bench_linformer

    if args.workdir is not None and not args.spectrum:
        raise ValueError("--workdir is of the trained model that --spectrum looks at; without it nothing is read there")
    if args.spectrum:
        bench_linformer.spectrum(args.config, args.workdir, args.text, args.texts, args.picture)
    else:
        bench_linformer.savings(args.longest)


def _recurrent(args: Args) -> None:
    """Training steps per second of bistable cells, ours and a loop in PyTorch."""
    from efficient_attn.bench import recurrent

    if importlib.util.find_spec("torch") is None:
        raise ValueError("bench recurrent compares with PyTorch: pip install torch")
    from efficient_attn.bench import torch_recurrent

    print(f"sequences of {recurrent.LENGTH} steps, {recurrent.DEPTH} layers")
    print("| cell | units | batch | steps/s | steps/s, PyTorch | ratio |\n|---|---|---|---|---|---|")
    for shape in recurrent.SHAPES:
        ours, theirs = recurrent.ours(shape), torch_recurrent.theirs(shape)
        rates = f"{ours:.2f} | {theirs:.2f} | {ours / theirs:.1f}"
        print(f"| {shape.cell} | {shape.width} | {shape.batch} | {rates} |", flush=True)


def _sampling(args: Args) -> None:
    """What a token costs that is drawn, by pattern and length."""
    from efficient_attn.bench import sampling

    print("| pattern | n | keys kept for a head, at most | read, at most | caches MiB | ms a token |")
    print("|---|---|---|---|---|---|")
    for row in sampling.rows():
        kept = f"{row.kept:,} | {row.read:,} | {row.mib:.1f}"
        print(f"| {row.pattern} | {row.length:,} | {kept} | {row.ms:.2f} |", flush=True)


def _experts(args: Args) -> None:
    """A mixture of experts with a capacity and without, and what computes every expert on every row."""
    from efficient_attn.bench import experts

    print(f"{experts.ROWS} x {experts.TOKENS} tokens, {experts.EXPERTS} experts of twice the width, top-2, float32")
    print("| width | layer | forward ms | fwd+bwd ms | MiB | dropped |\n|---|---|---|---|---|---|")
    for row in experts.rows():
        numbers = f"{row.forward_ms:.0f} | {row.both_ms:.0f} | {row.mib:.0f} | {row.dropped:.1%}"
        print(f"| {row.width} | {row.layer} | {numbers} |", flush=True)


def _kernels(args: Args) -> None:
    """The TPU kernels beside the public ones, by counting, by the compiler and interpreted; no TPU is needed."""
    from efficient_attn.bench import kernels
    from efficient_attn.bench.splash import Splash, Tokamax

    _need_compiler(args.what)
    subjects = [kernels.Ours(), Splash()]
    if sys.version_info >= (3, 12) and importlib.util.find_spec("tokamax") is not None:
        subjects.append(Tokamax())
    else:
        print("tokamax is not installed, or this Python too old for it: its column is left out", file=sys.stderr)
    print(f"| measure | {' | '.join(x.name for x in subjects)} |\n|---|{'---|' * len(subjects)}")
    for name, found in kernels.rows(subjects):
        print(f"| {name} | {' | '.join(found)} |", flush=True)
    if args.picture is not None:
        kernels.draw(subjects, args.picture)


def _tpu(args: Args) -> None:
    """Bundles of the TPU kernels by the compiler's schedule for v5e; no TPU is needed."""
    from efficient_attn.bench import tpu_kernels

    _need_compiler(args.what)
    print(
        "| kernel | pattern | n | block | begin | full | partial | finish | turn | of the matrix unit's peak, at most |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for pattern in ("Causal()", "Causal() & Window(left=1023)"):
        for block in (256, 512):
            case = tpu_kernels.Case(pattern, block=block)
            for kernel, bundles in tpu_kernels.measure(case):
                sizes = " | ".join(f"{x:,}" for x in dataclasses.astuple(bundles))
                rate = f"{bundles.rate(case, kernel):.0%}"
                print(f"| {kernel} | `{pattern}` | {case.length:,} | {block} | {sizes} | {rate} |", flush=True)


def _gpu(args: Args) -> None:
    """Registers of the GPU kernels by NVIDIA's compiler for two generations; no GPU is needed."""
    from efficient_attn.bench import gpu_kernels
    from efficient_attn.bench.gpu_targets import TARGETS

    if gpu_kernels.missing():
        raise ValueError(
            f"bench {args.what} needs the GPU compilers: pip install jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12, "
            "the first two of jax's own version"
        )
    print("| kernel | target | head size | registers a thread | bytes spilled | products by |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        gpu_kernels.dump_to(folder)
        for target in TARGETS:
            for size in (64, 128, 256):
                for x in gpu_kernels.measure(folder, target, size):
                    print(
                        f"| {x.kernel} | {target} | {size} | {x.registers} | {x.spilled} | {x.instructions} |",
                        flush=True,
                    )


def _line(row: attention.Row) -> str:
    number = lambda x, form: "-" if x is None else format(x, form)  # noqa: E731
    shape = row.shape
    shares = f"{number(row.share(both=False), '.0%')} / {number(row.share(both=True), '.0%')}"
    cells = (
        row.system,
        f"`{shape.pattern}`",
        shape.length,
        shape.heads,
        number(row.forward_ms, ".1f"),
        number(row.both_ms, ".1f"),
        shares,
        number(row.forward_ms / shape.length * 1e3, ".2f"),
        number(row.temporary_mib, ".0f"),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


_MEASURED = {
    "attention": _attention,
    "mechanisms": _mechanisms,
    "training": _training,
    "steps": _steps,
    "kernels": _kernels,
    "tpu": _tpu,
    "gpu": _gpu,
    "reformer": _reformer,
    "longformer": _longformer,
    "linformer": _linformer,
    "recurrent": _recurrent,
    "sampling": _sampling,
    "experts": _experts,
}
