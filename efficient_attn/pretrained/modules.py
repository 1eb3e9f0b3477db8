"""The tensors of common modules, and where a layer of a stack keeps its own."""

from collections.abc import Mapping
from types import MappingProxyType

from efficient_attn.nn.feedforward import Activation
from efficient_attn.pretrained.architecture import SAME, TRANSPOSED, Tensor

Path = tuple[str | int, ...]

_ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "quick_gelu": "quick_gelu"}
)


def read_activation(theirs: str) -> Activation:
    """Our name of a ``hidden_act``.

    Raises:
      NotImplementedError: if it is not offered.
    """
    if theirs not in _ACTIVATIONS:
        raise NotImplementedError(f"hidden_act {theirs!r}; those offered are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[theirs]


def write_activation(ours: Activation) -> str:
    """The reverse.

    Raises:
      NotImplementedError: if ``transformers`` has no name for it here.
    """
    for theirs, known in _ACTIVATIONS.items():
        if known == ours:
            return theirs
    raise NotImplementedError(
        f"activation {ours!r} in a checkpoint; those offered are {', '.join(_ACTIVATIONS.values())}"
    )


def layer_place(number: int, cycle: int, depth: int, stack: str = "stack") -> tuple[Path, int | None]:
    """Where a ``Stack`` of this name keeps layer ``number`` of ``depth``: the path of its block, and its row there."""
    stacked = depth // cycle * cycle
    row, place = divmod(number, cycle) if number < stacked else (None, number - stacked)
    return (stack, "cycle" if number < stacked else "rest", place), row


def kernel(name: str, path: Path, row: int | None = None) -> Tensor:
    """The weight of a linear map."""
    return Tensor(name=f"{name}.weight", path=(*path, "kernel"), row=row, layout=TRANSPOSED)


def linear(name: str, path: Path, row: int | None = None) -> list[Tensor]:
    """A linear map with a bias."""
    return [kernel(name, path, row), Tensor(name=f"{name}.bias", path=(*path, "bias"), row=row, layout=SAME)]


def norm(name: str, path: Path, row: int | None = None) -> list[Tensor]:
    """A layer norm, of which the first checkpoints of BERT call the parts as TensorFlow did."""
    parts = {"weight": ("scale", "gamma"), "bias": ("bias", "beta")}
    return [
        Tensor(name=f"{name}.{theirs}", aliases=(f"{name}.{older}",), path=(*path, ours), row=row)
        for theirs, (ours, older) in parts.items()
    ]
