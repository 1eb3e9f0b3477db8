"""What a step costs on chips that are not there: the compiler compiles it for them, and says."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from efficient_attn.planning.chips import GIB, Chip
from efficient_attn.planning.collectives import Sent, collectives
from efficient_attn.planning.flops import product_flops
from efficient_attn.planning.programs import Planned, Step, program

_TOO_LARGE = re.compile(
    r"RESOURCE_EXHAUSTED.*?([\d.]+)([GM])\)? exceeds available HBM|Used ([\d.]+)([GM]) of [\d.]+[GM] hbm", re.S
)
# What crosses a device's links for a byte of the result, among many devices; an all-reduce scatters and gathers.
_CROSSINGS = {"all-reduce": 2.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A step on each chip of a topology; sizes in bytes, times in seconds."""

    step: Step
    chips: int
    parameters: int
    """Bytes of the parameters."""
    optimizer: int
    """Bytes of what the optimizer keeps of them, and of their average; 0 but in training."""
    caches: int
    """Bytes of what decoding remembers; 0 but there."""
    rest: int
    """Bytes of the batch and of the memory of segments."""
    read: int
    """Bytes of all these that the step reads."""
    temporaries: int
    """Bytes of activations, gradients and everything else that does not outlive a step."""
    code: int
    """Bytes of the program."""
    flops: float
    """Operations of its matrix products."""
    sent: Mapping[str, Sent]
    """What it sends, by kind of collective."""
    tokens: int
    """Tokens of a step, on all chips together."""
    chip: Chip

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.parameters + self.optimizer + self.caches + self.rest + self.temporaries + self.code

    @property
    def bounds(self) -> Mapping[str, float]:
        """The least time that each part of a chip needs for a step."""
        # Training writes the parameters again; a token is little of what decoding remembers.
        kept = 2 * (self.parameters + self.optimizer) if self.step == "train" else self.read
        moved = kept + 2 * self.temporaries
        sent = sum(_CROSSINGS.get(kind, 1.0) * some.bytes for kind, some in self.sent.items())
        return {
            "compute": self.flops / self.chip.flops,
            "memory": moved / self.chip.bandwidth,
            "links": sent / self.chip.links,
        }

    @property
    def tokens_per_second(self) -> float:
        """At most, over all chips: were they busy without a pause with what takes longest."""
        return self.tokens / max(self.bounds.values())


class TooLarge(ValueError):
    """A program that does not fit a chip's memory, by the compiler."""


def plan(config: Planned, chip: Chip, devices: list[Any], span: int | None = None, step: Step = "train") -> Plan:
    """Compiles a step of a configuration for devices; nothing is allocated.

    Args:
      config: the experiment, its mesh over as many devices.
      chip: what each of them is.
      devices: of a topology.
      span: for models with adaptive spans, tokens that the memory of every layer holds; None: the limit.
      step: which one: an update, the scores of an evaluation batch, or a token of each of a batch of texts, drawn after a whole
        context.

    Raises:
      TooLarge: if the step does not fit.
      ValueError: if the experiment has no such step, or the mesh does not use every device, or does not divide the batch or the
        parameters.
    """
    placement = config.mesh.placement(devices)
    found = program(step, config, placement, span)
    with jax.set_mesh(placement.mesh):
        traced = found.function.trace(*found.arguments)
        try:
            compiled = traced.lower().compile()
        except jax.errors.JaxRuntimeError as error:
            raise _explained(error, chip) from error
    memory = compiled.memory_analysis()
    return Plan(
        step=step,
        chips=len(devices),
        parameters=found.parameters,
        optimizer=found.optimizer,
        caches=found.caches,
        read=memory.argument_size_in_bytes,
        # A parameter that a step does not read, as those of an encoder in decoding, lies there all the same.
        rest=max(0, memory.argument_size_in_bytes - found.parameters - found.optimizer - found.caches),
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=product_flops(traced.jaxpr) / (found.dealt or len(devices)),
        sent=collectives(compiled.as_text()),
        tokens=found.tokens,
        chip=chip,
    )


def remedies(config: Planned, step: Step = "train") -> Iterator[tuple[str, Planned]]:
    """What may make a step fit, the mildest first, each with those before it."""
    model = config.model
    recomputed = getattr(model, "remat", "block") != "block" and getattr(model, "residual", "plain") == "plain"
    if step == "train" and recomputed:
        config = dataclasses.replace(config, model=dataclasses.replace(model, remat="block"))
        yield "remat='block'", config
    if not config.mesh.fsdp:
        config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=True))
        yield "mesh.fsdp=True", config
    while step == "train" and config.batch_size % (2 * config.accumulation) == 0:
        config = dataclasses.replace(config, accumulation=2 * config.accumulation)
        yield f"accumulation={config.accumulation}", config


def _explained(error: jax.errors.JaxRuntimeError, chip: Chip) -> Exception:
    """The compiler's refusal in one line, where it is one for want of memory."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        return error
    found = _TOO_LARGE.search(str(error))
    need = (
        f"it needs {next(filter(None, (found[1], found[3])))} {found[2] or found[4]}iB" if found else "it does not fit"
    )
    return TooLarge(f"{need} of a chip's {chip.memory / GIB:.2f} GiB")
