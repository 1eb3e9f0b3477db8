"""What a training step needs of the memory of TPU chips that are not there: libtpu compiles it, and says.

One chip of a v5e has 16 GiB.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from efficient_attn import training
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan
from efficient_attn.models.segment_decoder import empty_memory

# Topologies of v5e by their number of chips, as libtpu names them.
TOPOLOGIES = {4: "v5e:2x2", 8: "v5e:2x4", 16: "v5e:4x4", 64: "v5e:8x8", 256: "v5e:16x16"}
GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes on each chip."""

    arguments: int
    """Parameters, optimizer state, memory of segments and batch; the results lie in the same place."""
    temporaries: int

    @property
    def gib(self) -> float:
        """All of them, in GiB."""
        return (self.arguments + self.temporaries) / GIB


def step_memory(config: Experiment, chips: int, span: int | None = None) -> Need:
    """Compiles the training step of a configuration, data-parallel over chips; nothing is allocated.

    Args:
      config: the experiment.
      chips: a key of ``TOPOLOGIES``.
      span: for segment decoders, tokens that the memory of every layer holds; None: the limit.

    Raises:
      ValueError: if there is no topology of so many chips.
    """
    if chips not in TOPOLOGIES:
        raise ValueError(f"chips must be one of {', '.join(map(str, TOPOLOGIES))}, got {chips}")
    devices = topologies.get_topology_desc(TOPOLOGIES[chips], platform="tpu").devices
    placement = training.Placement(mesh=training.make_mesh(devices=devices))
    optimizer, objective = config.update(), config.reading.program()["objective"]
    state = jax.eval_shape(lambda: _state(config, optimizer, span))
    options = training.StepOptions(accumulation=config.accumulation, ema=config.ema)
    step = training.make_train_step(objective, optimizer, options, placement, state)
    with jax.set_mesh(placement.mesh):
        memory = step.lower(state, _batch(config)).compile().memory_analysis()
    return Need(arguments=memory.argument_size_in_bytes, temporaries=memory.temp_size_in_bytes)


def _state(config: Experiment, optimizer: Any, span: int | None) -> training.TrainState:
    carry: Any = ()
    if isinstance(config.model.attention, AdaptiveSpan):
        limits = (span or config.model.attention.limit,) * config.model.depth
        carry = empty_memory(config.model, limits, config.batch_size)
    params = config.form.init(jax.random.key(0))
    return training.TrainState.create(
        params, optimizer, jax.random.key(1), carry=carry, average=config.ema is not None, loss_scale=config.loss_scale
    )


def _batch(config: Experiment) -> dict[str, jax.ShapeDtypeStruct]:
    shape = (config.batch_size, config.context)
    batch = {"tokens": jax.ShapeDtypeStruct(shape, np.int32), "valid": jax.ShapeDtypeStruct(shape, np.bool_)}
    if isinstance(config.model.attention, AdaptiveSpan):
        batch["restart"] = jax.ShapeDtypeStruct(shape[:1], np.bool_)
    return batch
