"""Time of a training step of several experiments, taken in turns, so that a machine whose speed drifts is the same for all."""

import time
from collections.abc import Mapping

import jax
import numpy as np

from efficient_attn import training
from efficient_attn.experiment import Experiment, parameters
from efficient_attn.pair_experiment import PairExperiment

Timed = Experiment | PairExperiment
"""Those whose rows have ``context`` tokens, of a text or of a target."""


class Trainer:
    """The trainer's own compiled step of an experiment, on the first batch of its data again and again."""

    def __init__(self, config: Timed):
        program, update = config.reading.program(), config.update()
        placement = training.Placement()
        state = training.TrainState.create(
            config.form.init(jax.random.key(0)), update, jax.random.key(1), carry=program.get("carry", tuple)()
        )
        self.state = placement.put(state, update)
        self.batch = placement.feed(config.reading.batches(config.source.load("train")).at(0))
        options = training.StepOptions(accumulation=config.accumulation)
        self.step = training.make_train_step(program["objective"], update, options, placement, self.state)

    def run(self, steps: int) -> float:
        """Seconds that ``steps`` steps take."""
        start = time.perf_counter()
        for _ in range(steps):
            self.state, metrics = self.step(self.state, self.batch)
        jax.block_until_ready((self.state.params, metrics))
        return time.perf_counter() - start


def step_times(configs: Mapping[str, Timed], *, turns: int = 5, steps: int = 3) -> dict[str, tuple[int, float, float]]:
    """For each experiment its parameters, the median over ``turns`` of the milliseconds of a step, and tokens per second."""
    trainers = {name: Trainer(config) for name, config in configs.items()}
    for trainer in trainers.values():
        trainer.run(1)
    times = [[trainer.run(steps) / steps for trainer in trainers.values()] for _ in range(turns)]
    medians = dict(zip(trainers, np.median(times, axis=0), strict=True))
    return {
        name: (
            parameters(config)["parameters"],
            1e3 * medians[name],
            config.batch_size * config.context / medians[name],
        )
        for name, config in configs.items()
    }
