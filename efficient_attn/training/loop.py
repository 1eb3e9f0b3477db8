"""The loop: feed the step, and at fixed steps log, evaluate and save. A stopped run goes on bit for bit.

Everything that decides a step is in its state (checkpointed) or follows from its number (its batch, its randomness), so
a run that was stopped, or killed, and started again gives the parameters of one that never was.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import optax

from efficient_attn.training.checkpoints import Checkpoints, Keep
from efficient_attn.training.metrics import TensorBoardChoice, closing, open_sinks
from efficient_attn.training.objective import Batch, Objective
from efficient_attn.training.profiling import Profile, Profiler
from efficient_attn.training.report import Report
from efficient_attn.training.sharding import Placement
from efficient_attn.training.state import TrainState
from efficient_attn.training.step import StepOptions, make_train_step
from efficient_attn.training.stopping import Agreement, NonFinite, Stopped, StopSignal

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long a run is, and what happens beside the steps."""

    steps: int
    """Updates in all, those before a restart included."""
    seed: int = 0
    step: StepOptions = dataclasses.field(default_factory=StepOptions)
    log_every: int = 50
    eval_every: int | None = None
    """Steps between evaluations; ``None``: only after the last step."""
    checkpoint_every: int = 1000
    keep: Keep = dataclasses.field(default_factory=Keep)
    profile: Profile | None = None
    tensorboard: TensorBoardChoice = "auto"

    def __post_init__(self):
        for name in ("steps", "log_every", "checkpoint_every", "eval_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is a number of steps, at least 1; got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is trained."""

    objective: Objective
    optimizer: optax.GradientTransformation
    params: Callable[[jax.Array], PyTree] | PyTree
    """Initial parameters: a function of a key, compiled so that they are born sharded, or a tree."""
    batches: Callable[[int], Iterator[Batch]]
    """``batches(n)`` yields the batches of steps n, n + 1, ..., counted from 0; this process's rows of each."""
    carry: Callable[[], PyTree] = tuple
    """The objective's initial memory."""
    reshape_carry: Callable[[PyTree, PyTree], PyTree] | None = None
    """From parameters and a carry to the carry that the next step takes, whose shapes may differ: a step is compiled for each
    shape that occurs. Called after every step; it waits for that step's parameters."""
    evaluate: Callable[[TrainState], dict[str, float]] | None = None
    """Scores of a state, by name; logged under ``eval/``."""
    placement: Placement = dataclasses.field(default_factory=Placement)
    tokens: str | None = None
    """The term whose count is tokens (for tokens per second, and bits per token); ``None``: the only term, where there is one;
    empty: none."""
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON saved in every checkpoint: the config, the data's fingerprint."""


def fit(program: Program, options: TrainOptions, workdir: str | os.PathLike) -> TrainState:
    """Trains to ``options.steps`` from the last checkpoint in ``workdir``, or from the start.

    Args:
      program: what is trained.
      options: how.
      workdir: where ``checkpoints``, ``metrics.jsonl``, ``tensorboard`` and ``profile`` are.

    Returns:
      The state after the last step, which is saved.

    Raises:
      Stopped: after SIGTERM or SIGINT, once the state is saved; uncaught, the process ends with status 0.
      NonFinite: at a loss or gradient that is not finite, unless the options skip such updates.
      CheckpointError: if a checkpoint cannot be written or read.
      ValueError: if a batch does not divide over microbatches and devices, the data ends early, or the checkpoint
        does not fit the program.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with (
        StopSignal() as stop,
        jax.set_mesh(program.placement.mesh),
        Checkpoints(workdir / "checkpoints", options.keep, program.metadata) as checkpoints,
    ):
        state, start = begin(program, options, checkpoints)
        with (
            closing(open_sinks(workdir, options.tensorboard, options.steps, start)) as sinks,
            Profiler(options.profile, workdir / "profile") as profiler,
        ):
            report = Report(
                sinks, every=options.log_every, options=options.step, params=state.params, tokens=program.tokens
            )
            agreement = Agreement(stop, program.placement.mesh)
            try:
                return _train(program, options, _Run(checkpoints, report, agreement, profiler), state, start)
            except NonFinite as error:
                checkpoints.wait()
                saved = checkpoints.steps()
                last = f"step {saved[-1]} in {checkpoints.directory}" if saved else "none was saved yet"
                raise NonFinite(f"{error}; last good checkpoint: {last}") from None


def begin(program: Program, options: TrainOptions, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """Returns the state to go on from and its step: the last checkpoint, on this run's mesh, or the initial state.

    Raises:
      ValueError: if the last checkpoint is beyond the run's last step.
    """
    init_key, step_key = jax.random.split(jax.random.key(options.seed))
    made = callable(program.params)

    def create(source):
        return TrainState.create(
            program.params(source) if made else source,
            program.optimizer,
            step_key,
            carry=program.carry(),
            average=options.step.ema is not None,
            loss_scale=options.step.loss_scale,
        )

    source = init_key if made else program.params
    shapes = jax.eval_shape(create, source)
    shardings = program.placement.state(shapes, program.optimizer)
    saved = checkpoints.steps()
    if not saved:
        return jax.jit(create, out_shardings=shardings)(source), 0
    if saved[-1] > options.steps:
        raise ValueError(f"{checkpoints.directory} is at step {saved[-1]}, beyond steps={options.steps}")
    if program.reshape_carry is not None:
        shapes = dataclasses.replace(shapes, carry=checkpoints.carry_shapes(shapes.carry, saved[-1]))
    wanted = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)
    return checkpoints.restore(wanted, saved[-1]), saved[-1]


@dataclasses.dataclass(frozen=True)
class _Run:
    checkpoints: Checkpoints
    report: Report
    agreement: Agreement
    profiler: Profiler


def _train(program: Program, options: TrainOptions, run: _Run, state: TrainState, start: int) -> TrainState:
    train_step = make_train_step(program.objective, program.optimizer, options.step, program.placement, state)
    stream = iter(program.batches(start))
    run.report.restart_clock()
    for step in range(start + 1, options.steps + 1):
        batch = _next(stream, step, options.steps)
        if step == start + 1:
            program.placement.check_batch(batch, options.step.accumulation)
        run.profiler.before(step)
        state, metrics = train_step(state, program.placement.feed(batch))
        if program.reshape_carry is not None:
            carry = program.reshape_carry(state.params, state.carry)
            if carry is not state.carry:
                state = program.placement.put(dataclasses.replace(state, carry=carry), program.optimizer)
        run.report.push(step, metrics)
        run.profiler.after(step, metrics)
        _pause(program, options, run, state, step)
    return state


def _next(stream: Iterator[Batch], step: int, steps: int) -> Batch:
    try:
        return next(stream)
    except StopIteration:
        raise ValueError(f"the data ended before step {step} of {steps}; batches(n) must yield to the end") from None


def _pause(program: Program, options: TrainOptions, run: _Run, state: TrainState, step: int) -> None:
    """Evaluates and saves if ``step`` is one of those, and stops if a signal came."""
    last, stopping = step == options.steps, run.agreement.after_step()
    evaluates = program.evaluate and (last or (options.eval_every and step % options.eval_every == 0))
    saves = last or stopping or step % options.checkpoint_every == 0
    if not (evaluates or saves):
        return
    run.report.flush()
    scores = {name: float(value) for name, value in program.evaluate(state).items()} if evaluates else {}
    if scores:
        run.report.write(step, {f"eval/{name}": value for name, value in scores.items()})
    if saves:
        run.checkpoints.save(step, state, scores)
    if last or stopping:
        run.checkpoints.wait()
    run.report.restart_clock()
    if stopping and not last:
        raise Stopped(step, stopping)
