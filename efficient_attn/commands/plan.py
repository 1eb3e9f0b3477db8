"""``python -m efficient_attn plan configs/x.py --topology v5e:4x4``: what a step needs of TPUs that are not there."""

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from typing import Annotated, Any

import tyro

from efficient_attn.experiment import load_config
from efficient_attn.planning import GIB, Chip, Plan, Planned, Step, TooLarge, plan, remedies, topology
from efficient_attn.recipe import Mesh, plain


@dataclasses.dataclass(frozen=True)
class Args:
    """Which config, on which chips, and how it is spread over them."""

    config: Annotated[str, tyro.conf.Positional]
    """A config of a language model, an encoder's pre-training or fine-tuning, an encoder-decoder or a classifier of images."""
    step: Step = "train"
    """What is compiled: an update; the scores of an evaluation batch; a token of each of a batch of texts, drawn by a language
    model or an encoder-decoder after a whole context."""
    topology: str = "v5e:2x4"
    """Chips and their arrangement, as v5e:16x16, v5p:4x4x4 or v6e:8x8."""
    mesh: Mesh = dataclasses.field(default_factory=Mesh)
    """Devices along each mesh axis."""
    batch_size: int | None = None
    """Rows in a step of any kind, over all chips; None: the config's."""
    accumulation: int | None = None
    """Microbatches in a step; None: the config's."""
    sweep: tuple[str, ...] = ()
    """Meshes to compare, as data=16,model=2 and fsdp=True,model=4: a row for each, in place of one in detail."""
    span: int | None = None
    """For models with adaptive spans: tokens that each layer remembers; None: the limit."""


def main(args: Args) -> None:
    """Prints what a chip holds, computes and sends, and a JSON object last; tries what may make it fit where it does not.

    Raises:
      ValueError: if nothing that was tried fits.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError("plan needs the TPU compiler: pip install libtpu")
    chip, devices = topology(args.topology)
    changes = {
        "batch_size": args.batch_size,
        "eval_batch_size": args.batch_size,
        "accumulation": args.accumulation,
    }
    config = load_config(args.config)
    if not isinstance(config, Planned):
        raise ValueError(
            "what is planned is a language model, an encoder, an encoder-decoder or a classifier of images; "
            f"{args.config} holds a {type(config).__name__}"
        )
    config = dataclasses.replace(config, mesh=args.mesh, **{k: v for k, v in changes.items() if v is not None})
    if args.sweep:
        _compare(args, config, chip, devices)
        return
    for done, tried in _attempts(config, args.step):
        try:
            found = plan(tried, chip, devices, args.span, args.step)
        except TooLarge as error:
            print(f"{done}: does not fit, {error}", flush=True)
            continue
        print(f"{done}: fits {len(devices)} chips of {args.topology}")
        print("\n".join(_lines(found)))
        print(json.dumps(_report(found, tried)))
        return
    raise ValueError(
        f"{args.config} does not fit {args.topology}, whatever was tried: use more chips or a smaller batch"
    )


def _compare(args: Args, config: Planned, chip: Chip, devices: list[Any]) -> None:
    """Prints a row for each mesh, and all that fit as a JSON array last."""
    # What can be refused is refused before the first program is compiled.
    meshes = {text: read_mesh(text) for text in args.sweep}
    print("| mesh | GiB a chip | compute / memory / links at least, ms | tokens/s at most |\n|---|---|---|---|")
    reports = []
    for text, mesh in meshes.items():
        tried = dataclasses.replace(config, mesh=mesh)
        try:
            found = plan(tried, chip, devices, args.span, args.step)
        except ValueError as error:
            print(f"| {text} | {error} | | |", flush=True)
            continue
        bounds = " / ".join(f"{1e3 * seconds:.1f}" for seconds in found.bounds.values())
        print(f"| {text} | {found.total / GIB:.2f} | {bounds} | {found.tokens_per_second:,.0f} |", flush=True)
        reports.append(_report(found, tried))
    print(json.dumps(reports))


def read_mesh(text: str) -> Mesh:
    """The mesh of ``axis=devices`` and ``fsdp=True``, between commas.

    Raises:
      ValueError: if it is not written so.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Mesh)}
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        known = {bool: {"True": True, "False": False}.get(value), int: int(value) if value.isdecimal() else None}
        if name not in kinds or known[kinds[name]] is None:
            raise ValueError(
                f"a mesh is written as data=16,model=2 or fsdp=True,model=4, of {', '.join(kinds)}; got {text!r}"
            )
        values[name] = known[kinds[name]]
    return Mesh(**values)


def _attempts(config: Planned, step: Step) -> Iterator[tuple[str, Planned]]:
    yield "as configured", config
    for change, changed in remedies(config, step):
        yield f"and with {change}", changed


def _lines(found: Plan) -> Iterator[str]:
    """A line for each kind of bytes, each collective and each bound."""
    for name in ("parameters", "optimizer", "caches", "rest", "temporaries", "code", "total"):
        yield f"{name:<20} {getattr(found, name) / GIB:>10.3f} GiB a chip"
    yield f"{'of a chip':<20} {found.chip.memory / GIB:>10.3f} GiB"
    yield f"{'matrix products':<20} {found.flops / 1e12:>10.3f} TFLOP a chip"
    for kind, sent in sorted(found.sent.items()):
        yield f"{kind:<20} {sent.bytes / 2**20:>10.1f} MiB a chip in {sent.count}"
    for part, seconds in found.bounds.items():
        yield f"{part + ' bound':<20} {1e3 * seconds:>10.2f} ms a step at least"
    yield f"{'tokens':<20} {found.tokens_per_second:>10,.0f} a second at most, were the longest of these all"


def _report(found: Plan, config: Planned) -> dict[str, Any]:
    """The plan as JSON, and how its step is spread."""
    bytes_by_kind = ("parameters", "optimizer", "caches", "rest", "temporaries", "code", "total")
    names = ("step", "chips", *bytes_by_kind, "flops", "tokens_per_second")
    sent = {kind: dataclasses.asdict(some) for kind, some in found.sent.items()}
    how = {
        "mesh": plain(config.mesh),
        "remat": getattr(config.model, "remat", None),
        "accumulation": config.accumulation,
    }
    return {name: getattr(found, name) for name in names} | {"collectives": sent, "bounds": dict(found.bounds)} | how
