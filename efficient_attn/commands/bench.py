"""``python -m efficient_attn bench``: measure attention, training and memory, side by side with others; print a table."""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import jax
import tyro

from efficient_attn.bench import attention


@dataclasses.dataclass(frozen=True)
class Args:
    """What to measure."""

    what: Annotated[
        Literal["attention", "training", "tpu", "memory", "reformer", "longformer"], tyro.conf.Positional
    ] = "attention"
    longest: int = 65_536
    """Longest sequence whose attention is timed, in tokens."""
    config: str = "configs/quickstart.py"
    """Config whose training is timed, or compiled for the memory that it needs on v5e."""
    chips: int = 8
    """Chips that share a batch, for ``memory``."""
    span: int | None = None
    """For ``memory`` of models with adaptive spans: tokens that each layer remembers; None: the limit."""


def main(args: Args) -> None:
    """Prints a row as soon as it is measured."""
    if args.what == "training":
        _training(args.config)
        return
    if args.what == "tpu":
        _tpu()
        return
    if args.what == "memory":
        _memory(args)
        return
    if args.what == "reformer":
        _reformer(args.longest)
        return
    if args.what == "longformer":
        _longformer(args.longest)
        return
    if args.longest < 4096:
        raise ValueError(f"longest must be at least 4096 tokens, got {args.longest}")
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; float32, batch 1, heads of 64")
    print("| system | pattern | n | heads | forward ms | fwd+bwd ms | of matrix rate, fwd / both | us a token | MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in _rows(args.longest):
        print(_line(row), flush=True)


def _training(path: str) -> None:
    """Tokens per second at three context lengths, ours with the config's pattern and PyTorch's with dense attention."""
    from efficient_attn.bench import training
    from efficient_attn.experiment import load_config

    config = load_config(path)
    others = [training.torch_dense] if importlib.util.find_spec("torch") is not None else []
    if not others:
        print("PyTorch is not installed: its column is left out", file=sys.stderr)
    print("| n | system | tokens/s |")
    print("|---|---|---|")
    for context in (256, 2048, 4096):
        at = training.at_context(config, context)
        for run in (training.ours, *others):
            result = run(at)
            print(f"| {context} | {result.system} | {result.tokens_per_second:,.0f} |", flush=True)


def _memory(args: Args) -> None:
    """What a training step needs of each v5e chip by the compiler; no TPU is needed."""
    from efficient_attn.bench import tpu_kernels, tpu_memory
    from efficient_attn.experiment import load_config

    _need_compiler("memory")
    # libtpu looks for its options when it is first asked for a topology.
    os.environ.update(tpu_kernels.ENVIRONMENT)
    config = load_config(args.config)
    need = tpu_memory.step_memory(config, args.chips, args.span)
    print("| config | chips | batch | state GiB a chip | temporary GiB a chip |\n|---|---|---|---|---|")
    gib = f"{need.arguments / tpu_memory.GIB:.2f} | {need.temporaries / tpu_memory.GIB:.2f}"
    print(f"| {args.config} | {args.chips} | {config.batch_size} | {gib} |")


def _need_compiler(what: str) -> None:
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"bench {what} needs the TPU compiler: pip install libtpu")


def _reformer(longest: int) -> None:
    """LSH attention beside that of transformers, and the memory of gradients by depth."""
    from efficient_attn.bench import reformer

    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed: its rows are left out", file=sys.stderr)
    print("| system | n | rounds | forward ms | fwd+bwd ms | MiB |")
    print("|---|---|---|---|---|---|")
    for row in reformer.rows(longest):
        times = f"{row.forward_ms:.0f} | {row.both_ms:.0f} | {row.mib:.0f}"
        print(f"| {row.system} | {row.length} | {row.rounds} | {times} |", flush=True)
    print()
    print(f"| temporaries of a gradient, MiB, at depth | {' | '.join(map(str, reformer.DEPTHS))} |")
    print("|---|" + "---|" * len(reformer.DEPTHS))
    for residual in ("plain", "reversible"):
        sizes = [f"{reformer.gradient_mib(residual, depth):.0f}" for depth in reformer.DEPTHS]
        print(f"| {residual} | {' | '.join(sizes)} |", flush=True)


def _longformer(longest: int) -> None:
    """Longformer's attention beside that of transformers."""
    from efficient_attn.bench import longformer

    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed: its rows are left out", file=sys.stderr)
    print("| system | part | n | forward ms | fwd+bwd ms | us a token, fwd / both | MiB |")
    print("|---|---|---|---|---|---|---|")
    for row in longformer.rows(longest):
        each = " / ".join(f"{1e3 * x / row.length:.1f}" for x in (row.forward_ms, row.both_ms))
        times = f"{row.forward_ms:.0f} | {row.both_ms:.0f} | {each} | {row.mib:.0f}"
        print(f"| {row.system} | {row.part} | {row.length} | {times} |", flush=True)


def _tpu() -> None:
    """Bundles of the TPU kernels by the compiler's schedule for v5e; no TPU is needed."""
    from efficient_attn.bench import tpu_kernels

    _need_compiler("tpu")
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


def _rows(longest: int) -> Iterator[attention.Row]:
    for shape in (*attention.WINDOWS, *attention.TWO_SIDED, *attention.OTHERS):
        if shape.length <= longest:
            yield attention.ours(shape)
    window = attention.Shape(8192, 8, "Causal() & Window(left=511)")
    if longest >= window.length:
        yield attention.ours(window)
        yield attention.jax_window(window)
    yield from _torch_rows(longest)


def _torch_rows(longest: int) -> Iterator[attention.Row]:
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its rows are left out", file=sys.stderr)
        return
    from efficient_attn.bench import torch_attention

    for shape in attention.TWO_SIDED:
        if shape.length <= longest:
            yield torch_attention.flex(shape, 256)
            yield attention.ours(shape)
            if importlib.util.find_spec("local_attention") is not None:
                yield torch_attention.local_attention(shape, 256)


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
