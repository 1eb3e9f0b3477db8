"""Loading a model from a checkpoint folder, and saving one."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from flax import nnx

from efficient_attn.files import replacing
from efficient_attn.models.functional import Functional
from efficient_attn.pretrained.architecture import Architecture, Tensor
from efficient_attn.pretrained.bert import BERT
from efficient_attn.pretrained.big_bird import BIG_BIRD
from efficient_attn.pretrained.image_gpt import IMAGE_GPT
from efficient_attn.pretrained.longformer import LONGFORMER
from efficient_attn.pretrained.mpnet import MPNET
from efficient_attn.pretrained.reformer import REFORMER
from efficient_attn.pretrained.roberta import ROBERTA
from efficient_attn.pretrained.t5 import T5
from efficient_attn.pretrained.weights import read_pickle, read_tensors, write_tensors

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "bert": BERT,
        "big_bird": BIG_BIRD,
        "imagegpt": IMAGE_GPT,
        "longformer": LONGFORMER,
        "mpnet": MPNET,
        "reformer": REFORMER,
        "roberta": ROBERTA,
        "t5": T5,
    }
)

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_CONVERT = (
    'python -c \'import transformers as t; t.{name}.from_pretrained("{folder}").save_pretrained("{folder}", '
    "safe_serialization=True)'"
)


def load_pretrained(directory: str | Path) -> nnx.Module:
    """The model of a folder that ``transformers`` or ``save_pretrained`` wrote, in float32.

    Args:
      directory: holds ``config.json`` and ``model.safetensors``, whole or in shards. It is read, never run: pickled weights
        are read by torch's restricted reader where torch is installed, and refused where it is not.

    Returns:
      A module whose ``config`` says what it is.

    Warns:
      UserWarning: if the file has parameters that the model has no place for, with their names.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if the config or a tensor is not what the architecture has.
      NotImplementedError: if the architecture, or a choice of its config, is not offered here.
    """
    folder = Path(directory).expanduser()
    fields = _read_json(folder / "config.json")
    kind = fields.get("model_type")
    if kind not in ARCHITECTURES:
        raise NotImplementedError(
            f"{folder} holds a model of type {kind!r}; those offered are {', '.join(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[kind]
    stored = _stored(folder, fields)
    try:
        config = architecture.read_config(fields, stored)
    except KeyError as error:
        raise ValueError(f"{folder / 'config.json'} lacks the field {error}") from error
    form = Functional(lambda key: architecture.build(config, key=key))
    params = form.shapes()
    _fill(folder, params, stored, architecture, config)
    return form.module(params)


def save_pretrained(model: nnx.Module, directory: str | Path) -> None:
    """Writes ``config.json`` and ``model.safetensors``, which ``transformers`` and ``load_pretrained`` read.

    Raises:
      ValueError: if the model is of no architecture that is offered.
    """
    architecture, params = _architecture_of(model), nnx.to_pure_dict(nnx.split(model)[1])
    zeros = {name: np.zeros(shape, np.float32) for name, shape in architecture.zeros(model.config).items()}
    written = [(n, value) for t, value in _written(architecture, model.config, params) for n in (t.name, *t.also)]
    folder = Path(directory).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / _WEIGHTS, zeros | dict(written))
    with replacing(folder / "config.json") as partial:
        partial.write_text(json.dumps(architecture.write_config(model.config), indent=2) + "\n")


def tensors_of(model: nnx.Module, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A tree with the form of the model's parameters, such as its gradients, by the names and in the layout of the file."""
    return {tensor.name: value for tensor, value in _written(_architecture_of(model), model.config, tree)}


def _written(architecture: Architecture, config: Any, tree: Mapping[str, Any]) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Each tensor and what the file has of it."""
    for first, *others in _by_name(architecture.tensors(config)):
        parts = [
            t.layout.write(np.asarray(_at(tree, t.path))[... if t.row is None else t.row]) for t in (first, *others)
        ]
        yield first, np.concatenate(parts, axis=first.joined) if others else parts[0]


def _by_name(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors, those that the file has as one together."""
    groups: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.name, []).append(tensor)
    return list(groups.values())


def _architecture_of(model: nnx.Module) -> Architecture:
    found = [a for a in ARCHITECTURES.values() if isinstance(model, a.model) and a.holds(model.config)]
    if not found:
        raise ValueError(
            f"a checkpoint of transformers holds one of {', '.join(ARCHITECTURES)}; this {type(model).__name__} is none: "
            f"{getattr(model, 'config', 'it has no config')}"
        )
    (architecture,) = found
    return architecture


def _stored(folder: Path, fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All tensors of a folder."""
    if (folder / _WEIGHTS).is_file():
        return read_tensors(folder / _WEIGHTS)
    if (folder / _INDEX).is_file():
        shards = sorted(set(_read_json(folder / _INDEX)["weight_map"].values()))
        # A name is a file of this folder, wherever the index points.
        return {name: x for shard in shards for name, x in read_tensors(folder / Path(shard).name).items()}
    if pickles := sorted(folder.glob("pytorch_model*.bin")):
        name = (fields.get("architectures") or ["AutoModel"])[0]
        try:
            return {name: x for path in pickles for name, x in read_pickle(path).items()}
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{folder} holds its weights as a pickle, and torch, whose restricted reader would not run what is in it, is "
                f"not installed. Where transformers is, convert it: {_CONVERT.format(name=name, folder=folder)}"
            ) from error
    raise FileNotFoundError(f"{folder} has no {_WEIGHTS}")


def _fill(
    folder: Path,
    params: dict[str, Any],
    stored: Mapping[str, np.ndarray],
    architecture: Architecture,
    config: Any,
) -> None:
    """Puts the stored tensors where the shapes of the parameters are."""
    _check_names(folder, stored, architecture, config)
    for group in _by_name(architecture.tensors(config)):
        name, *copies = [n for n in group[0].names if n in stored]
        for copy in copies:
            if not np.array_equal(stored[name], stored[copy]):
                raise ValueError(f"tensors {name} and {copy} of {folder} should be the same, and differ")
        places = [_place(params, tensor) for tensor in group]
        shapes = [tensor.layout.write(place).shape for tensor, place in zip(group, places, strict=True)]
        axis = group[0].joined or 0
        ends = [int(end) for end in np.cumsum([shape[axis] for shape in shapes])]
        expected = (*shapes[0][:axis], ends[-1], *shapes[0][axis + 1 :])
        if stored[name].shape != expected:
            raise ValueError(
                f"tensor {name} of {folder} should be {expected} by config.json, and is {stored[name].shape}"
            )
        for tensor, place, piece in zip(group, places, np.split(stored[name], ends[:-1], axis=axis), strict=True):
            place[...] = tensor.layout.read(piece)


def _place(params: dict[str, Any], tensor: Tensor) -> np.ndarray:
    """Where the numbers of a tensor go: a view of its parameter, which is made if it is a shape yet."""
    *above, last = tensor.path
    parent = _at(params, above)
    if not isinstance(parent[last], np.ndarray):
        parent[last] = np.empty(parent[last].shape, parent[last].dtype)
    return parent[last][... if tensor.row is None else tensor.row]


def _check_names(folder: Path, stored: Mapping[str, np.ndarray], architecture: Architecture, config: Any) -> None:
    """A ValueError if the tensors are not those of the model; a warning if some are left out."""
    tensors = architecture.tensors(config)
    missing = [t.name for t in tensors if not any(name in stored for name in t.names)]
    known = {name for t in tensors for name in t.names} | set(architecture.zeros(config))
    unknown = [name for name in stored if name not in known and not name.endswith(architecture.ignored)]
    unused = [name for name in unknown if name.startswith(architecture.unused)]
    unknown = [name for name in unknown if name not in unused]
    if missing or unknown:
        raise ValueError(f"{folder} {_listed('lacks', missing)}{_listed('has beside its model', unknown)}".rstrip())
    if unused:
        warnings.warn(f"{folder} {_listed('has beside its model, and they are left out:', unused)}", stacklevel=4)


def _at(tree: Any, path: Sequence[str | int]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _listed(verb: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{verb} {shown}; " if names else ""


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: a checkpoint is a folder with config.json and {_WEIGHTS}")
    try:
        fields = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} should be a JSON object, got {type(fields).__name__}")
    return fields
