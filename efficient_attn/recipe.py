"""What every experiment says of its training, whatever it trains."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import optax

from efficient_attn import training
from efficient_attn.models import Functional
from efficient_attn.models.dimensions import parameter_specs
from efficient_attn.nn.stack import matrices
from efficient_attn.training.metrics import TensorBoardChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
    """Devices along each mesh axis."""

    data: int = -1
    """Batch rows; -1: all devices that the other axes leave."""
    expert: int = 1
    """Experts of a mixture, and batch rows."""
    model: int = 1
    """Heads, hidden features and vocabulary."""
    sequence: int = 1
    """Tokens: a model's length must divide."""
    fsdp: bool = False
    """Whether parameters, and what the optimizer keeps of them, are split over ``data`` too, and gathered where they are used."""

    def __post_init__(self):
        for name in ("expert", "model", "sequence"):
            if getattr(self, name) < 1:
                raise ValueError(f"mesh.{name} must be at least 1 device, got {getattr(self, name)}")

    def placement(self, devices: Sequence[Any] | None = None) -> training.Placement:
        """Where a run's arrays lie, over ``devices`` or all that there are."""
        mesh = training.make_mesh(
            data=self.data, expert=self.expert, model=self.model, sequence=self.sequence, devices=devices
        )
        return training.Placement(mesh=mesh, params=lambda shapes: parameter_specs(shapes, mesh, self.fsdp))


# Fields that decide how an experiment runs. All others decide what is learned, and may not change within a workdir.
_RUNS = (
    "steps",
    "mesh",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "keep",
    "profile_steps",
    "tensorboard",
    "eval_batch_size",
    "average_last",
    "decoding",
    "resamples",
    "longest_output",
)


@runtime_checkable
class Reading(Protocol):
    """How a model reads its data in training and evaluation. A split is what the experiment's source loads."""

    def batches(self, split: Any, /) -> Any:
        """The batches of every step, this process's rows of them: an object with ``at`` and ``iterate``."""
        ...

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        ...

    def constraint(self) -> Callable[[Any], Any] | None:
        """What parameters must obey after every update; None: nothing."""
        ...

    def evaluator(self, placement: training.Placement) -> Callable[[Any, Any], dict[str, Any]]:
        """From parameters and a split to scores."""
        ...

    def yardstick(self, split: Any, /) -> dict[str, Any]:
        """What stands beside the scores of a split."""
        ...


@runtime_checkable
class Predicting(Reading, Protocol):
    """A reading that says something of each example."""

    def check(self, split: Any, /) -> None:
        """A ValueError if a split cannot be scored."""
        ...

    def predictor(self, placement: training.Placement) -> Callable[[Any, Any], Any]:
        """From parameters and a split to ``scores``, and ``write``, which takes a path."""
        ...


# Fields of models that say how they are trained, and nothing of what they are.
TRAINED = (
    *("remat", "ff_stretch", "logits_stretch", "precision", "initialization"),
    *("dropout", "attention_dropout", "ff_dropout", "head_dropout", "end_dropout"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(abc.ABC):
    """A model, its data and its training; subclasses say which, in fields ``model`` and ``source``."""

    model: Any
    source: Any
    batch_size: int
    """Rows in a step, over all devices."""
    steps: int
    """Updates in all."""
    start: str | None = None
    """A workdir, from whose last checkpoint the parameters are taken to begin with, or a folder as of ``load_pretrained``; None:
    they are drawn."""
    schedule: training.Schedule
    optimizer: training.Optimizer = dataclasses.field(default_factory=training.AdamW)
    clip_norm: float | None = 1.0
    """Greatest global norm of the gradient; None: no limit."""
    seed: int = 0
    accumulation: int = 1
    """Microbatches in a step."""
    ema: training.EMA | None = None
    loss_scale: training.DynamicLossScale | None = None
    on_nonfinite: Literal["stop", "skip"] = "stop"
    eval_batch_size: int | None = None
    """Rows in an evaluation batch; None: ``batch_size``."""
    average_last: int = 1
    """Checkpoints, the last ones that were kept, over which parameters are averaged to evaluate them after training."""
    mesh: Mesh = Mesh()
    log_every: int = 20
    eval_every: int | None = None
    """Steps between evaluations; None: only at the end."""
    checkpoint_every: int = 1000
    keep: training.Keep = dataclasses.field(default_factory=training.Keep)
    profile_steps: training.Profile | None = None
    tensorboard: TensorBoardChoice = "auto"

    def __post_init__(self):
        for name in ("batch_size", "steps", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.average_last <= self.keep.last:
            raise ValueError(f"average_last must be in 1..keep.last ({self.keep.last}), got {self.average_last}")

    @property
    @abc.abstractmethod
    def form(self) -> Functional[Any]:
        """The model without its arrays."""

    @property
    @abc.abstractmethod
    def reading(self) -> Reading:
        """How the model reads its data."""

    def parametrised(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that its parameters depend on."""
        return model

    @property
    def origin(self) -> Any:
        """The model that a pretrained one to start from must be."""
        return self.model

    def inherited(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that a pretrained one to start from must agree with: not how it is trained."""
        return {name: value for name, value in self.parametrised(model).items() if name not in TRAINED}

    def scored(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that a pretrained one must agree with to be scored as it is."""
        return self.inherited(model)

    def completed(self, params: dict[str, Any]) -> dict[str, Any]:
        """What a run begins with, of the parameters it starts from: all of them."""
        return params

    def unlike(self, learned: dict[str, Any]) -> list[str]:
        """What, beside the model, gave the parameters of a run another meaning, by its ``learned`` fields."""
        del learned
        return []

    def update(self) -> optax.GradientTransformation:
        """What makes an update of a gradient: clipping, the optimizer at its rate, and what parameters must obey."""
        return training.chain(
            self.optimizer.build(self.schedule.build(self.steps), matrices),
            clip_norm=self.clip_norm,
            constraint=self.reading.constraint(),
            trained=self.form.trained(),
        )

    def fields(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is learned and how it runs, as JSON objects."""
        whole = {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {k: v for k, v in whole.items() if k not in _RUNS}, {k: v for k, v in whole.items() if k in _RUNS}


def plain(value: Any) -> Any:
    """A config as JSON: dataclasses become objects that name their type."""
    if dataclasses.is_dataclass(value):
        return {
            "type": type(value).__name__,
            **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)},
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def defaults(config: type[Any]) -> dict[str, Any]:
    """The fields of a config that have a default, as JSON."""
    made = {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(config)
    }
    return {name: plain(value) for name, value in made.items() if value is not dataclasses.MISSING}
