"""Where arrays lie: one mesh of four named axes, and one record of specs."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax
from jax.sharding import AxisType, Mesh, NamedSharding

from efficient_attn.sharding import ROWS, names
from efficient_attn.training.factored import without_rows
from efficient_attn.training.state import TrainState

PyTree = Any
BY_ROWS, REPLICATED = jax.P(ROWS), jax.P()
AXES = ("data", "expert", "model", "sequence")


def make_mesh(
    *, data: int = -1, expert: int = 1, model: int = 1, sequence: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Returns a mesh of the axes ``data``, ``expert``, ``model``, ``sequence``, all of type Auto.

    Args:
      data: devices along ``data``; -1: all that the other axes leave.
      expert: devices along ``expert``.
      model: devices along ``model``.
      sequence: devices along ``sequence``.
      devices: the devices to use; ``None``: all.

    Raises:
      ValueError: if the axes do not use every device exactly once.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = {"data": data, "expert": expert, "model": model, "sequence": sequence}
    for name, size in sizes.items():
        if size < 1 and not (name == "data" and size == -1):
            raise ValueError(f"mesh axis {name} needs at least 1 device; got {size}")
    others = expert * model * sequence
    if others > len(devices):
        raise ValueError(f"mesh axes expert * model * sequence take {others} devices, and there are {len(devices)}")
    if data == -1:
        sizes["data"] = len(devices) // others
    if math.prod(sizes.values()) != len(devices):
        raise ValueError(f"a mesh of {sizes} does not use {len(devices)} devices exactly once")
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A mesh, and the spec of everything that a step touches."""

    mesh: Mesh = dataclasses.field(default_factory=make_mesh)
    batch: jax.P = BY_ROWS
    """Leading axes of every array of a batch."""
    carry: jax.P = BY_ROWS
    """Leading axes of every array of the objective's memory."""
    params: PyTree | Callable[[PyTree], PyTree] = REPLICATED
    """One spec, a tree of specs, or a function from the parameters' shapes to a tree of specs."""

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on every device."""
        return NamedSharding(self.mesh, REPLICATED)

    def filled(self, rows: int) -> int:
        """Rows of a batch of at least ``rows`` that divides among the devices."""
        return -(-rows // self.rows) * self.rows

    @property
    def rows(self) -> int:
        """Parts into which the rows of a batch are dealt out."""
        return math.prod(self.mesh.shape[axis] for axis in self._row_axes)

    @property
    def _row_axes(self) -> tuple[str, ...]:
        return names(self.batch[0]) if len(self.batch) else ()

    def batches(self) -> NamedSharding:
        """The sharding of a batch, the same for each of its arrays."""
        return NamedSharding(self.mesh, self.batch)

    def parameters(self, shapes: PyTree) -> PyTree:
        """Returns the sharding of each parameter, given arrays or shapes."""
        specs = self.params(shapes) if callable(self.params) else self.params
        if isinstance(specs, jax.P):
            specs = jax.tree.map(lambda _, spec=specs: spec, shapes)
        return jax.tree.map(lambda _, spec: NamedSharding(self.mesh, spec), shapes, specs)

    def state(self, state: TrainState, optimizer: optax.GradientTransformation) -> TrainState:
        """Returns the shardings of ``state`` (arrays or shapes): optimizer state lies where its parameter lies."""
        params = self.parameters(state.params)

        def beside(leaf, param, sharding):
            # An array that is not trained has no state.
            if isinstance(leaf, optax.MaskedNode):
                return leaf
            if leaf.shape == param.shape:
                return sharding
            # Factored moments have a parameter's path and the axes before its last two, as experts.
            before = len(param.shape) - 2
            own = leaf.shape in (param.shape[:-1], without_rows(param.shape))
            return NamedSharding(self.mesh, jax.P(*sharding.spec[:before])) if own else self.replicated

        opt_state = optax.tree_utils.tree_map_params(
            optimizer,
            beside,
            state.opt_state,
            state.params,
            params,
            transform_non_params=lambda _: self.replicated,
            is_leaf=lambda node: isinstance(node, optax.MaskedNode),
        )
        return TrainState(
            step=self.replicated,
            params=params,
            opt_state=opt_state,
            ema=None if state.ema is None else params,
            carry=jax.tree.map(lambda _: NamedSharding(self.mesh, self.carry), state.carry),
            loss_scale=jax.tree.map(lambda _: self.replicated, state.loss_scale),
            key=self.replicated,
        )

    def put(self, state: TrainState, optimizer: optax.GradientTransformation) -> TrainState:
        """Returns ``state`` where it belongs; a step given one that lies elsewhere would compile a second time."""
        return jax.device_put(state, self.state(state, optimizer))

    def feed(self, batch):
        """Returns ``batch`` as the step takes it: untouched in one process, a global array where there are several."""
        if jax.process_count() == 1:
            return batch
        return {name: jax.make_array_from_process_local_data(self.batches(), x) for name, x in batch.items()}

    def check_batch(self, batch, accumulation: int) -> None:
        """Raises a ValueError unless every array of ``batch`` divides over the microbatches and the devices.

        Args:
          batch: what this process feeds to one step.
          accumulation: microbatches per step.
        """
        devices, processes = self.rows, jax.process_count()
        if devices % processes:
            raise ValueError(
                f"each of {processes} processes feeds whole rows of its own, so mesh axes {', '.join(self._row_axes)} must "
                f"deal rows out to a multiple of as many, got {devices}"
            )
        sizes = {name: x.shape[0] if x.ndim else 0 for name, x in batch.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"every array of a batch needs the same leading batch axis; got {sizes}")
        rows = next(iter(sizes.values())) * processes
        if rows == 0 or rows % (accumulation * devices):
            raise ValueError(
                f"a batch of {rows} rows does not divide into {accumulation} microbatches over {devices} devices "
                f"(mesh axes {', '.join(self._row_axes)}): batch_size must be a multiple of {accumulation * devices}"
            )
