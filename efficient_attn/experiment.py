"""An experiment: a config of everything, and what it becomes. The only file that knows data, models, tasks and trainer alike."""

import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn import data, training
from efficient_attn.decoding import SamplingOptions, sample
from efficient_attn.models import AdaptiveSpan, DecoderConfig, Functional, decoder_of
from efficient_attn.models.decoder_config import RECOMPUTED
from efficient_attn.models.functional import count
from efficient_attn.models.segment_decoder import limits_of
from efficient_attn.nn.lsh_attention import Hashing
from efficient_attn.nn.mechanisms import check_sequence
from efficient_attn.patterns.local import looks_ahead
from efficient_attn.reading import Windows, reading_of
from efficient_attn.recipe import Predicting, Reading, Recipe
from efficient_attn.restoring import begun, restore

Source = (
    data.StandardLibrary
    | data.TextFiles
    | data.WikipediaExcerpt
    | data.Enwik8
    | data.Text8
    | data.WikiText
    | data.LM1B
    | data.TFDSText
    | data.TFDSImages
    | data.ImageArray
    | data.ImageFolder
    | data.CroppedImages
    | data.PaletteImages
    | data.GreyDigits
    | data.AudioFiles
    | data.Copying
    | data.Words
    | data.TokenizedText
)


# Fields of a model's attention that decide how tokens are brought together: the same parameters may be evaluated with others.
_HASHING = tuple(field.name for field in dataclasses.fields(Hashing))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(Recipe):
    """A language model, its data and its training."""

    model: DecoderConfig
    source: Source
    context: int
    """Tokens in a training window."""
    label_smoothing: float = 0.0
    eval_scored: int | None = None
    """Tokens that each evaluation window scores after the first; None: all of a window, side by side."""

    def __post_init__(self):
        super().__post_init__()
        if self.context < 1:
            raise ValueError(f"context must be at least 1, got {self.context}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.eval_scored is not None and not 1 <= self.eval_scored <= self.context:
            raise ValueError(f"eval_scored must be in 1..context ({self.context}), got {self.eval_scored}")
        self.model.check_context(self.context)
        parts = {"model": (self.model.value_heads, "key heads"), "sequence": (self.context, "tokens of the context")}
        for axis, (number, what) in parts.items():
            if number % getattr(self.mesh, axis):
                raise ValueError(f"mesh.{axis} must divide the {number} {what}, got {getattr(self.mesh, axis)}")
        check_sequence(self.model.attention, self.model.heads, self.mesh.model, self.mesh.sequence)

    @property
    def form(self) -> Functional[Any]:
        """The decoder without its arrays."""
        return decoder_of(self.model)

    @property
    def reading(self) -> Windows:
        """How the model reads its data."""
        names = ("model", "context", "batch_size", "seed", "label_smoothing", "eval_scored", "eval_batch_size")
        return reading_of(**{name: getattr(self, name) for name in names})

    def parametrised(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that its parameters depend on."""
        kept = {k: v for k, v in model.items() if k not in RECOMPUTED}
        return kept | {"attention": {k: v for k, v in kept["attention"].items() if k not in _HASHING}}


def load_config(path: str) -> Recipe:
    """The experiment ``FILE.py``, which is a Python module of the user's own, or its variant ``FILE.py:NAME``.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it has no ``CONFIG``, one of another type, or no variant of that name.
    """
    stem, colon, name = path.partition(".py:")
    variants = load_variants(stem + ".py" if colon else path)
    if name not in variants:
        named = ", ".join(filter(None, variants)) or "none"
        raise ValueError(f"{stem}.py has no variant {name!r}; those in its VARIANTS: {named}")
    return variants[name]


def load_variants(path: str) -> dict[str, Recipe]:
    """All experiments of a config file: its ``CONFIG``, without a name, and its ``VARIANTS``, if it has some, by theirs."""
    module = _imported(path)
    variants = {"": getattr(module, "CONFIG", None), **getattr(module, "VARIANTS", {})}
    for name, config in variants.items():
        if not isinstance(config, Recipe):
            what = f"VARIANTS[{name!r}]" if name else "CONFIG"
            raise ValueError(f"{path} must define {what}, an Experiment; got {type(config).__name__}")
    return variants


def _imported(path: str) -> ModuleType:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no config file {path}; configs/ has those that come with the library")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"a config is a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{path} is not a config: {error}") from error
    return module


def load_language_model(path: str) -> Experiment:
    """As ``load_config``, of a language model only."""
    return language_model(load_config(path), path)


def language_model(config: Recipe, path: str) -> Experiment:
    """``config``, which ``path`` names.

    Raises:
      ValueError: if it is of no language model.
    """
    if not isinstance(config, Experiment):
        raise ValueError(
            f"a config of a language model is needed, and that of {path} is of type {type(config).__name__}"
        )
    return config


def train(config: Recipe, workdir: str) -> dict[str, Any]:
    """Trains in ``workdir``, going on from its last checkpoint, and returns the final scores on the validation split."""
    learned, runs = config.fields()
    stream = config.source.load("train")
    held_out = config.source.load("validation")
    placement = config.mesh.placement()
    reading, options = config.reading, _options(config)
    batches = reading.batches(stream)
    update = config.update()
    # All that can be refused is refused before the workdir is claimed: a corrected command may then use it.
    _check(config, reading.program(), batches.at(0), placement)
    if isinstance(reading, Predicting):
        reading.check(held_out)
    begin = config.form.init if config.start is None else begun(config, workdir, placement)
    learned["fingerprint"] = config.source.fingerprint()
    training.check_workdir(workdir, learned, runs)
    evaluate = _Scorer(reading, held_out, placement)
    program = training.Program(
        **reading.program(),
        batches=batches.iterate,
        optimizer=update,
        params=begin,
        evaluate=evaluate,
        placement=placement,
        metadata={"config": learned, "data": stream.description},
    )
    state = training.fit(program, options, workdir)
    return {**evaluate.of(state), "step": int(state.step), "workdir": str(workdir)}


def _check(config: Recipe, program: dict[str, Any], batch: data.Batch, placement: training.Placement) -> None:
    """Traces the loss of one batch on the mesh, without computing it.

    Raises:
      ValueError: if the batch or the parameters do not divide among the devices, or the model cannot run on the mesh.
    """
    placement.check_batch(batch, config.accumulation)
    shapes = config.form.shapes()
    placement.parameters(shapes)
    carry = jax.eval_shape(program.get("carry", tuple))
    try:
        with jax.set_mesh(placement.mesh):
            jax.eval_shape(program["objective"], shapes, batch, jax.random.key(0), carry)
    except NotImplementedError as error:
        raise ValueError(f"the model does not run on the mesh {dict(placement.mesh.shape)}: {error}") from error


class _Scorer:
    """Scores states on a held-out split, and remembers the last, which is both logged and reported."""

    def __init__(self, reading: Reading, split: Any, placement: training.Placement):
        self.evaluate, self.split, self.mesh = reading.evaluator(placement), split, placement.mesh
        self.last: tuple[int, dict[str, Any]] | None = None

    def __call__(self, state: training.TrainState) -> dict[str, Any]:
        self.last = int(state.step), self.score(state.evaluated)
        return self.last[1]

    def score(self, params: Any) -> dict[str, Any]:
        """The scores of parameters that lie on the mesh."""
        with jax.set_mesh(self.mesh):
            return self.evaluate(params, self.split)

    def of(self, state: training.TrainState) -> dict[str, Any]:
        """The scores of ``state``, which a run that was complete already has not computed."""
        return self.last[1] if self.last and self.last[0] == int(state.step) else self(state)


def _options(config: Recipe) -> training.TrainOptions:
    step = training.StepOptions(
        accumulation=config.accumulation, ema=config.ema, loss_scale=config.loss_scale, on_nonfinite=config.on_nonfinite
    )
    return training.TrainOptions(
        steps=config.steps,
        seed=config.seed,
        step=step,
        log_every=config.log_every,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        keep=config.keep,
        profile=config.profile_steps,
        tensorboard=config.tensorboard,
    )


def evaluate(config: Recipe, workdir: str, split: data.Split, predictions: str | None = None) -> dict[str, Any]:
    """Scores the last checkpoint of ``workdir`` on a whole split.

    Args:
      config: the experiment.
      workdir: where it was trained.
      split: the part of its data.
      predictions: a file to write what the model says of each example, or a folder where there are several tasks; the split need
        have no labels then.

    Raises:
      ValueError: if the workdir was trained with another model, or there is nothing to score or to write.
      FileNotFoundError: if it has no checkpoint.
    """
    placement, reading = config.mesh.placement(), config.reading
    if predictions is not None and not isinstance(reading, Predicting):
        raise ValueError(f"predictions are written of labelled texts, and {type(config).__name__} has none")
    params, step = restore(config, workdir, placement.parameters)
    stream = config.source.load(split)
    if predictions is None or not isinstance(reading, Predicting):
        report = _Scorer(reading, stream, placement).score(params)
    else:
        with jax.set_mesh(placement.mesh):
            found = reading.predictor(placement)(params, stream)
        if jax.process_index() == 0:
            found.write(Path(predictions))
        report = found.scores
    return {**report, **reading.yardstick(stream), "step": step, "split": split, "data": stream.description}


def draw(config: Experiment, workdir: str, prompts: np.ndarray, length: int, options: SamplingOptions, seed: int):
    """Continues each of ``prompts`` ``[B, P]`` to ``length`` tokens with the model of ``workdir``: uint8 ``[B, L]``, or uint16."""
    check_continues(config)
    params, _ = restore(config, workdir)
    attention = config.model.attention
    limits = limits_of(config.model, params) if isinstance(attention, AdaptiveSpan) else None
    decoder, tokens = decoder_of(config.model, limits), jnp.asarray(prompts, jnp.int32)
    drawn = sample(decoder, params, tokens, length, options, jax.random.key(seed))
    return np.asarray(drawn).astype(np.min_scalar_type(config.model.vocab - 1))


def check_continues(config: Experiment) -> None:
    """A ValueError if the model cannot draw one token of a text after another."""
    if not isinstance(config.model, DecoderConfig):
        raise ValueError(f"only a decoder continues a text, got a model of type {type(config.model).__name__}")
    if any(looks_ahead(pattern, config.context) for pattern in config.model.attention.parsed()):
        raise ValueError(f"tokens that see those after them cannot be drawn in turn; got {config.model.attention}")


def parameters(config: Recipe) -> dict[str, Any]:
    """How many parameters the model has, in all and by part; nothing is allocated."""
    shapes, trained = config.form.shapes(), config.form.trained()
    parts = {name: count(part, trained[name]) for name, part in shapes.items()}
    return {"parameters": sum(parts.values()), "parts": parts}
