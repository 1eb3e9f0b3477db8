"""What a training step costs on chips that are not there: the compiler compiles it for them, and says."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from efficient_attn import training
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan
from efficient_attn.models.segment_decoder import empty_memory
from efficient_attn.pair_experiment import PairExperiment
from efficient_attn.planning.chips import GIB, Chip
from efficient_attn.planning.collectives import Sent, collectives
from efficient_attn.planning.flops import product_flops

Planned = Experiment | PairExperiment

_TOO_LARGE = re.compile(
    r"RESOURCE_EXHAUSTED.*?([\d.]+)([GM])\)? exceeds available HBM|Used ([\d.]+)([GM]) of [\d.]+[GM] hbm", re.S
)
# What crosses a device's links for a byte of the result, among many devices; an all-reduce scatters and gathers.
_CROSSINGS = {"all-reduce": 2.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A training step on each chip of a topology; sizes in bytes, times in seconds."""

    chips: int
    parameters: int
    """Bytes of the parameters."""
    optimizer: int
    """Bytes of what the optimizer keeps of them, and of their average."""
    rest: int
    """Bytes of the batch and of the memory of segments."""
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
        return self.parameters + self.optimizer + self.rest + self.temporaries + self.code

    @property
    def bounds(self) -> Mapping[str, float]:
        """The least time that each part of a chip needs for a step."""
        moved = 2 * (self.parameters + self.optimizer + self.temporaries)
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


def plan(config: Planned, chip: Chip, devices: list[Any], span: int | None = None) -> Plan:
    """Compiles the training step of a configuration for devices; nothing is allocated.

    Args:
      config: the experiment, its mesh over as many devices.
      chip: what each of them is.
      devices: of a topology.
      span: for models with adaptive spans, tokens that the memory of every layer holds; None: the limit.

    Raises:
      TooLarge: if the step does not fit.
      ValueError: if the mesh does not use every device, or does not divide the batch or the parameters.
    """
    placement = config.mesh.placement(devices)
    optimizer, objective = config.update(), config.reading.program()["objective"]
    state, batch = jax.eval_shape(lambda: _state(config, optimizer, span)), batch_shapes(config)
    placement.check_batch(batch, config.accumulation)
    options = training.StepOptions(accumulation=config.accumulation, ema=config.ema, loss_scale=config.loss_scale)
    step = training.make_train_step(objective, optimizer, options, placement, state)
    with jax.set_mesh(placement.mesh):
        traced = step.trace(state, batch)
        try:
            compiled = traced.lower().compile()
        except jax.errors.JaxRuntimeError as error:
            raise _explained(error, chip) from error
    memory, places = compiled.memory_analysis(), placement.state(state, optimizer)
    share = lambda part: _share(getattr(state, part), getattr(places, part))  # noqa: E731
    parameters, optimizer_bytes = share("params"), share("opt_state") + share("ema")
    return Plan(
        chips=len(devices),
        parameters=parameters,
        optimizer=optimizer_bytes,
        rest=memory.argument_size_in_bytes - parameters - optimizer_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=product_flops(traced.jaxpr) / len(devices),
        sent=collectives(compiled.as_text()),
        tokens=config.batch_size * config.context,
        chip=chip,
    )


def remedies(config: Planned) -> Iterator[tuple[str, Planned]]:
    """What may make a step fit, the mildest first, each with those before it."""
    model = config.model
    if model.remat != "block" and getattr(model, "residual", "plain") == "plain":
        config = dataclasses.replace(config, model=dataclasses.replace(model, remat="block"))
        yield "remat='block'", config
    if not config.mesh.fsdp:
        config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=True))
        yield "mesh.fsdp=True", config
    while config.batch_size % (2 * config.accumulation) == 0:
        config = dataclasses.replace(config, accumulation=2 * config.accumulation)
        yield f"accumulation={config.accumulation}", config


def _share(shapes: Any, places: Any) -> int:
    """Bytes of a tree of arrays on one device."""
    local = jax.tree.map(lambda x, place: x.dtype.itemsize * int(np.prod(place.shard_shape(x.shape))), shapes, places)
    return sum(jax.tree.leaves(local))


def _explained(error: jax.errors.JaxRuntimeError, chip: Chip) -> Exception:
    """The compiler's refusal in one line, where it is one for want of memory."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        return error
    found = _TOO_LARGE.search(str(error))
    need = (
        f"it needs {next(filter(None, (found[1], found[3])))} {found[2] or found[4]}iB" if found else "it does not fit"
    )
    return TooLarge(f"{need} of a chip's {chip.memory / GIB:.2f} GiB")


def _state(config: Planned, optimizer: Any, span: int | None) -> training.TrainState:
    carry: Any = ()
    if isinstance(config, Experiment) and isinstance(config.model.attention, AdaptiveSpan):
        limits = (span or config.model.attention.limit,) * config.model.depth
        carry = empty_memory(config.model, limits, config.batch_size)
    params = config.form.init(jax.random.key(0))
    return training.TrainState.create(
        params, optimizer, jax.random.key(1), carry=carry, average=config.ema is not None, loss_scale=config.loss_scale
    )


def batch_shapes(config: Planned) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a training batch: those of the only row of a blank one, as often as there are rows."""
    row = config.reading.blank()
    return {name: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:]), x.dtype) for name, x in row.items()}
