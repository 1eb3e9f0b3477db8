"""Parameters out of the checkpoints of a run: to evaluate it, or to begin another from it."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from efficient_attn import training
from efficient_attn.pretrained import load_pretrained
from efficient_attn.recipe import Recipe, defaults, plain


def restore(config: Recipe, workdir: str, shardings: Callable[[Any], Any] | None = None) -> tuple[Any, int]:
    """The parameters to evaluate of the last checkpoint, or the average of the last ones, and the last step.

    Args:
      config: the experiment.
      workdir: where it was trained; or a checkpoint's folder as of ``load_pretrained``, whose step is 0.
      shardings: from the parameters' shapes to where each is to lie; None: all on the first device.

    Raises:
      ValueError: if they are those of another model, or there are fewer checkpoints than are to be averaged.
      FileNotFoundError: if there is no checkpoint.
    """
    if _is_pretrained(Path(workdir).expanduser()):
        params = _shaped(config.form.shapes(), _loaded(workdir, config.model, config.scored), workdir)
        return jax.device_put(params, None if shardings is None else shardings(config.form.shapes())), 0
    with _last(workdir) as (checkpoints, step):
        learned = checkpoints.metadata(step).get("config", {})
        saved = learned.get("model")
        # A field that an earlier version did not have was, in effect, at its default.
        before = config.parametrised(defaults(type(config.model)) | (saved or {}))
        mine = config.parametrised(plain(config.model))
        differing = [k for k in mine if json.dumps(mine[k]) != json.dumps(before[k])] + config.unlike(learned)
        if saved is not None and differing:
            raise ValueError(
                f"{workdir} was trained with another model: {', '.join(differing)} differ; name the config of that run, with "
                "what was changed on the command line written into it"
            )
        return _average(checkpoints, config.average_last, shardings), step


def _average(checkpoints: training.Checkpoints, count: int, shardings: Callable[[Any], Any] | None) -> Any:
    """The mean of the parameters of the last ``count`` checkpoints."""
    steps = checkpoints.steps()[-count:]
    if len(steps) < count:
        raise ValueError(f"average_last={count} checkpoints are to be averaged, and there are {len(steps)}: {steps}")
    total = checkpoints.restore_params(steps[0], shardings)
    for step in steps[1:]:
        total = jax.tree.map(jax.numpy.add, total, checkpoints.restore_params(step, shardings))
    return total if count == 1 else jax.tree.map(lambda x: (x / count).astype(x.dtype), total)


def begun(config: Recipe, workdir: str, placement: training.Placement) -> Any:
    """The parameters to start from, of a run or of a pretrained model; of a run that has gone on already, how it began is of no
    account.

    Raises:
      FileNotFoundError: if that run has no checkpoint.
      ValueError: if its parameters are not of the model's shapes, or a pretrained model is another than the config's.
    """
    with contextlib.suppress(FileNotFoundError), _last(workdir):
        return config.form.init
    if _is_pretrained(Path(config.start).expanduser()):
        params = _loaded(config.start, config.origin, config.inherited)
    else:
        with _last(config.start) as (checkpoints, step):
            params = checkpoints.restore_params(step, placement.parameters)
            head = (checkpoints.metadata(step).get("config", {}).get("model") or {}).get("head")
        # Masked language modelling has no global tokens, so that their projections have learned nothing.
        params = _with_globals(params) if head == "masked_lm" else params
    try:
        return _shaped(config.form.shapes(), config.completed(params))
    except ValueError as error:
        raise ValueError(f"start={config.start} has parameters of other shapes than the model's: {error}") from None


def _is_pretrained(folder: Path) -> bool:
    # A workdir has a config.json of its own.
    return (folder / "config.json").is_file() and not (folder / "checkpoints").is_dir()


def _loaded(folder: str, wanted: Any, compared: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """The parameters of a checkpoint's folder, as of ``load_pretrained``.

    Args:
      folder: the checkpoint's.
      wanted: the config of the model that it should hold.
      compared: of a model's fields, as JSON, those that should agree.

    Raises:
      ValueError: if it holds another model.
    """
    model = load_pretrained(folder)
    kinds = [type(getattr(model, "config", None)), type(wanted)]
    if kinds[0] is not kinds[1]:
        raise ValueError(f"{folder} holds a model of {kinds[0].__name__}, and {kinds[1].__name__} is wanted")
    there, here = (compared(plain(x)) for x in (model.config, wanted))
    differing = [f"{k} {there.get(k)} there, {here[k]} here" for k in here if there.get(k) != here[k]]
    if differing:
        raise ValueError(f"{folder} holds another model: {'; '.join(differing)}")
    return nnx.to_pure_dict(nnx.split(model)[1])


def _with_globals(params: Any) -> Any:
    """A Longformer's parameters with the global projections as copies of the local ones; others as they are."""
    if not isinstance(params, dict):
        return params
    local = {name: params.get(str(name).removesuffix("_global"), part) for name, part in params.items()}
    return {name: _with_globals(part) for name, part in local.items()}


def _shaped(shapes: Any, found: Any, name: str = "") -> Any:
    """``found`` with the keys of ``shapes``, which a checkpoint keeps as text, where all agree."""
    if not isinstance(shapes, dict):
        if getattr(found, "shape", None) != shapes.shape:
            raise ValueError(f"{name} should be {shapes.shape}, and is {getattr(found, 'shape', 'not one array')}")
        return found
    if not isinstance(found, dict) or set(map(str, shapes)) != set(map(str, found)):
        raise ValueError(f"{name or 'the model'} has not the same parts")
    by_text = {str(key): value for key, value in found.items()}
    return {key: _shaped(part, by_text[str(key)], f"{name}/{key}".lstrip("/")) for key, part in shapes.items()}


@contextlib.contextmanager
def _last(workdir: str) -> Iterator[tuple[training.Checkpoints, int]]:
    """The checkpoints of a run and the step of the last.

    Raises:
      FileNotFoundError: if there is none.
    """
    directory = Path(workdir) / "checkpoints"
    if not directory.is_dir():
        raise FileNotFoundError(f"{workdir} has no checkpoints: train first, with train.py CONFIG --workdir {workdir}")
    with training.Checkpoints(directory) as checkpoints:
        steps = checkpoints.steps()
        if not steps:
            raise FileNotFoundError(
                f"{directory} has no complete checkpoint: train first, with train.py CONFIG --workdir {workdir}"
            )
        yield checkpoints, steps[-1]
