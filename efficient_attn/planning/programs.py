"""The compiled functions of an experiment, as a run traces them, of shapes alone: nothing is allocated."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Format, Layout

from efficient_attn import training
from efficient_attn.decoding.sampling import SamplingOptions, draw
from efficient_attn.experiment import Experiment, check_continues
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.image_class_experiment import ImageClassExperiment
from efficient_attn.models import AdaptiveSpan, Sequence, decoder_of
from efficient_attn.models.segment_decoder import attentions, empty_memory
from efficient_attn.pair_experiment import PairExperiment
from efficient_attn.sharding import ROWS

Planned = Experiment | PairExperiment | FineTuningExperiment | ImageClassExperiment
Step = Literal["train", "evaluate", "decode"]
Shapes = Any
"""A tree of ``jax.ShapeDtypeStruct``, which may say where arrays lie."""

# Dimensions of what decoding remembers, by name, the last ones first where layers lie before them: B rows, K heads.
_CACHED: Mapping[str, str] = MappingProxyType(
    {
        "key": "BSK",
        "value": "BSK",
        "query_key": "BSK",
        "slot_key": "BSK",
        "slot_value": "BSK",
        "buckets": "BSK",
        "state": "BH",
        "segments": "BS",
    }
)
_AXES: Mapping[str, Any] = MappingProxyType({"B": ROWS, "K": "model"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A jitted function and what it is called with."""

    function: Any
    arguments: tuple[Shapes, ...]
    tokens: int
    """Tokens that it reads or writes, on all devices together."""
    parameters: int
    """Bytes of the parameters on a device."""
    optimizer: int = 0
    """Bytes of what the optimizer keeps of them, and of their average."""
    caches: int = 0
    """Bytes of what decoding remembers."""
    dealt: int | None = None
    """Devices among which the work is dealt out, of which all others repeat it; None: all."""


def program(step: Step, config: Planned, placement: training.Placement, span: int | None) -> Program:
    """What a step of a run computes.

    Args:
      step: of which kind.
      config: the experiment.
      placement: its mesh.
      span: for models with adaptive spans, tokens that the memory of every layer holds; None: the limit.

    Raises:
      ValueError: if the experiment has no such step, or its rows do not divide among the devices.
    """
    return PROGRAMS[step](config, placement, span)


def _train(config: Planned, placement: training.Placement, span: int | None) -> Program:
    """An update, on a batch."""
    optimizer, objective = config.update(), config.reading.program()["objective"]
    batch = rows_of(config.reading.blank(), config.batch_size)
    state = jax.eval_shape(lambda: _state(config, optimizer, span))
    placement.check_batch(batch, config.accumulation)
    options = training.StepOptions(accumulation=config.accumulation, ema=config.ema, loss_scale=config.loss_scale)
    places = placement.state(state, optimizer)
    share = lambda part: share_of(getattr(state, part), getattr(places, part))  # noqa: E731
    return Program(
        function=training.make_train_step(objective, optimizer, options, placement, state),
        arguments=(state, batch),
        tokens=config.batch_size * config.context,
        parameters=share("params"),
        optimizer=share("opt_state") + share("ema"),
    )


def _evaluate(config: Planned, placement: training.Placement, span: int | None) -> Program:
    """The scores of a batch."""
    rows = placement.filled(config.eval_batch_size or config.batch_size)
    params, parameters = _parameters(config, placement)
    batch = rows_of(config.reading.eval_blank(), rows)
    # Segments lie whole on every device, as in an evaluation.
    memory = (
        (jax.eval_shape(lambda: empty_memory(config.model, _limits(config, span), rows)),) if _spans(config) else ()
    )
    return Program(
        function=config.reading.score_step(placement),
        arguments=(params, batch, *memory),
        tokens=rows * config.context,
        parameters=parameters,
        dealt=placement.mesh.shape["model"] if memory else None,
    )


def _decode(config: Planned, placement: training.Placement, span: int | None) -> Program:
    """One token of each of a batch of texts, drawn after all others of a whole context."""
    if placement.mesh.shape["sequence"] > 1:
        raise ValueError(f"decoding keeps whole texts: mesh.sequence must be 1, got {placement.mesh.shape['sequence']}")
    rows = placement.filled(config.batch_size)
    params, parameters = _parameters(config, placement)
    if isinstance(config, PairExperiment):
        form, length, empty = config.form, config.reading.widths[1], _targets(config, rows)
    elif isinstance(config, Experiment):
        check_continues(config)
        form = decoder_of(config.model, _limits(config, span)) if _spans(config) else config.form
        length, empty = config.context, lambda module: module.init_cache(rows, config.context)
    else:
        raise ValueError(f"{type(config).__name__} writes nothing: its steps are train and evaluate")
    caches, paths, structure = _flat(lambda params: empty(form.module(params)), params)
    places = [_place(path, x, placement) for path, x in zip(paths, caches, strict=True)]

    def step(params: Any, caches: list[jax.Array], tokens: jax.Array, position: jax.Array, key: jax.Array):
        logits, after = form.module(params).step(tokens, position, structure.unflatten(caches), length)
        return draw(logits, SamplingOptions(), key), jax.tree.leaves(after)

    tokens = jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=placement.batches())
    rest = jax.eval_shape(lambda: (jnp.int32(0), jax.random.key(0)))
    # In a decoder's loop over tokens a cache is written where it lies, in the order of axes that suits the compiler.
    formats = [Format(Layout.AUTO, place) for place in places]
    return Program(
        function=jax.jit(
            step,
            donate_argnums=1,
            in_shardings=(None, formats, None, None, None),
            out_shardings=(placement.batches(), formats),
        ),
        arguments=(params, _lying(caches, places), tokens, *rest),
        tokens=rows,
        parameters=parameters,
        caches=share_of(caches, places),
    )


# What is compiled for a step of each kind.
PROGRAMS: Mapping[Step, Callable[[Planned, training.Placement, int | None], Program]] = MappingProxyType(
    {"train": _train, "evaluate": _evaluate, "decode": _decode}
)


def rows_of(batch: Mapping[str, np.ndarray], rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch of so many rows, of which one is given."""
    return {name: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for name, x in batch.items()}


def share_of(shapes: Shapes, places: Any) -> int:
    """Bytes of a tree of arrays on one device."""
    local = jax.tree.map(lambda x, place: x.dtype.itemsize * int(np.prod(place.shard_shape(x.shape))), shapes, places)
    return sum(jax.tree.leaves(local))


def _parameters(config: Planned, placement: training.Placement) -> tuple[Shapes, int]:
    """The parameters where they lie, and their bytes on a device."""
    shapes = config.form.shapes()
    places = placement.parameters(shapes)
    return _lying(shapes, places), share_of(shapes, places)


def _lying(shapes: Shapes, places: Any) -> Shapes:
    return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places)


def _flat(make: Callable[[Any], Any], params: Shapes) -> tuple[list[Any], list[Any], Any]:
    """The shapes of what is made of parameters, the path of each, and the structure: parts of a cache know arrays alone."""
    seen = []

    def leaves(params: Any) -> list[Any]:
        found, structure = jax.tree_util.tree_flatten_with_path(make(params))
        seen.append(([path for path, _ in found], structure))
        return [x for _, x in found]

    shapes = jax.eval_shape(leaves, params)
    return shapes, *seen[0]


def _place(path: tuple[Any, ...], x: Any, placement: training.Placement) -> jax.sharding.NamedSharding:
    """Where a part of a cache lies: rows as those of a batch, heads over ``model``; whole where there are no rows."""
    names = [getattr(part, "name", getattr(part, "key", None)) for part in path]
    letters = next((_CACHED[name] for name in reversed(names) if name in _CACHED), "")
    axes = [_AXES.get(letter) for letter in letters.rjust(x.ndim, ".")]
    return jax.sharding.NamedSharding(placement.mesh, jax.P(*axes[len(axes) - x.ndim :]))


def _targets(config: PairExperiment, rows: int) -> Callable[[Any], Any]:
    """Makes the empty cache of a target for each of so many sources, all as wide as rows of training."""
    width, length = config.reading.widths

    def empty(module: Any) -> Any:
        ones = jnp.ones((rows, width), jnp.int32)
        source = Sequence(tokens=ones, segments=ones, positions=ones)
        return module.init_cache(module.encode(source), source, length)

    return empty


def _spans(config: Planned) -> bool:
    return isinstance(config, Experiment) and isinstance(config.model.attention, AdaptiveSpan)


def _limits(config: Planned, span: int | None) -> tuple[int, ...]:
    return (span or config.model.attention.limit,) * attentions(config.model)


def _state(config: Planned, optimizer: Any, span: int | None) -> training.TrainState:
    carry: Any = empty_memory(config.model, _limits(config, span), config.batch_size) if _spans(config) else ()
    params = config.form.init(jax.random.key(0))
    return training.TrainState.create(
        params, optimizer, jax.random.key(1), carry=carry, average=config.ema is not None, loss_scale=config.loss_scale
    )
