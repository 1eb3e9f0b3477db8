"""Which dimensions each parameter has, and over which mesh axes they are split.

Tensor parallelism splits heads, hidden features and the vocabulary over ``model``; expert parallelism the experts over ``expert``;
with ``fsdp`` the model width is split over ``data`` too, and the compiler gathers a layer's parameters where they are used.

References:
  Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2019, section 3.
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding", 2020, section 3.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax

from efficient_attn.nn.stack import is_stacked

# Letters of a parameter by the end of its path: D width, N and K features of query heads and of key heads, F hidden features, E
# experts, V vocabulary, L positions, H features of one head. Parameters that are not here are small and lie whole on every device.
_DIMENSIONS: Mapping[str, str] = MappingProxyType(
    {
        "query/kernel": "DN",
        "query/bias": "N",
        "query_key/kernel": "DN",
        "key/kernel": "DK",
        "key/bias": "K",
        "value/kernel": "DK",
        "value/bias": "K",
        "output/kernel": "ND",
        "relative/kernel": "DN",
        "expand/kernel": "EDF",
        "expand/bias": "F",
        "gate/kernel": "DF",
        "gate/bias": "F",
        "contract/kernel": "EFD",
        "embedding/tokens": "VD",
        "target/tokens": "VD",
        "source/tokens": "VD",
        "head/tokens": "VD",
        "embedding/head": "DV",
        "embedding/bands": "VD",
        "embedding/projections": "HD",
        "embedding/tables": "LD",
        "embedding/source_tables": "LD",
        "embedding/target_tables": "LD",
        "embedding/positions": "LD",
        "random/table": "NLL",
        "fixed_random/table": "NLL",
        "dense/hidden": "DNH",
        "dense/outward": "NHL",
        "factorized_dense/hidden": "DNH",
    }
)
_AXES: Mapping[str, str] = MappingProxyType({"N": "model", "K": "model", "F": "model", "V": "model", "E": "expert"})


def parameter_specs(shapes: Any, mesh: jax.sharding.Mesh, fsdp: bool = False) -> Any:
    """Returns the spec of each parameter.

    Args:
      shapes: the parameters of a model, or their shapes.
      mesh: the mesh, of axes ``data``, ``expert`` and ``model`` among others.
      fsdp: whether the model width is split over ``data``.

    Raises:
      ValueError: if heads, hidden features or experts do not divide among the devices of their axis.
    """
    axes = dict(_AXES) | ({"D": "data"} if fsdp else {})
    sizes = {letter: mesh.shape[axis] for letter, axis in axes.items()}

    def spec(path: tuple[Any, ...], x: Any) -> jax.P:
        letters = _letters(path, x)
        split = [axes.get(letter) if x.ndim and _divides(path, letter, n, sizes) else None for letter, n in letters]
        return jax.P(*split)

    return jax.tree_util.tree_map_with_path(spec, shapes)


def _letters(path: tuple[Any, ...], x: Any) -> list[tuple[str, int]]:
    """A letter and the size of each dimension; a dot where a dimension has no letter."""
    keys = [name for name in map(_name, path) if not name.isdigit()]
    letters = _DIMENSIONS.get("/".join(keys[-2:]), "")
    # A plain network has the letters of a mixture but for the experts; layers side by side come before all.
    own = letters[max(0, len(letters) - (x.ndim - is_stacked(path))) :]
    return list(zip(own.rjust(x.ndim, "."), x.shape, strict=True))


def _divides(path: tuple[Any, ...], letter: str, size: int, sizes: Mapping[str, int]) -> bool:
    """Whether a dimension is split; a width or a vocabulary that does not divide stays whole."""
    devices = sizes.get(letter, 1)
    if devices > 1 and size % devices and letter not in "DV":
        name = "/".join(map(_name, path))
        raise ValueError(
            f"dimension {letter} of {name}, {size}, does not divide among {devices} devices of mesh axis {_AXES[letter]}"
        )
    return devices > 1 and size % devices == 0


def _name(part: Any) -> str:
    """One step of a path: the key of a dictionary or the index of a list."""
    return str(getattr(part, "key", getattr(part, "idx", part)))
