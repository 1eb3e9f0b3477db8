"""A small model with everything that can go wrong in a trainer: uneven counts, dropout, a memory, two terms.

Run as a script it trains in a process of its own: ``python toy.py WORKDIR '{"steps": 20}'``.
"""

import dataclasses
import hashlib
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn import training
from efficient_attn.training import Mean

ROWS, LENGTH, WIDTH, HIDDEN = 16, 3, 5, 7


@dataclasses.dataclass(frozen=True)
class Regression:
    """Masked regression whose memory mixes the previous batch into this one."""

    dropout: float = 0.0
    dtype: str = "float32"

    def counts(self, batch):
        """Returns valid positions, and rows."""
        return {"squares": batch["valid"].sum(), "penalty": jnp.asarray(batch["x"].shape[0])}

    def __call__(self, params, batch, key, carry):
        """Returns the squared error and the mean size of the hidden layer."""
        cast = lambda x: x.astype(self.dtype)  # noqa: E731
        hidden = jnp.tanh(cast(batch["x"]) @ cast(params["first"]["kernel"]) + cast(params["first"]["bias"]))
        hidden = hidden + cast(carry["memory"])[:, None]
        if key is not None and self.dropout:
            hidden = hidden * jax.random.bernoulli(key, 1 - self.dropout, hidden.shape) / (1 - self.dropout)
        error = (hidden @ cast(params["second"]["kernel"]))[..., 0].astype(jnp.float32) - batch["y"]
        squares = Mean((error**2 * batch["valid"]).sum(), batch["valid"].sum())
        penalty = Mean(0.01 * (hidden.astype(jnp.float32) ** 2).mean((1, 2)).sum(), jnp.asarray(1.0 * len(hidden)))
        memory = 0.5 * jax.lax.stop_gradient(hidden.astype(jnp.float32).mean(1))
        return {"squares": squares, "penalty": penalty}, {"memory": memory}


def memory():
    """Returns the initial carry."""
    return {"memory": jnp.zeros((ROWS, HIDDEN))}


def params(key):
    """Returns the initial parameters."""
    first, second = jax.random.split(key)
    return {
        "first": {"kernel": jax.random.normal(first, (WIDTH, HIDDEN)), "bias": jnp.zeros(HIDDEN)},
        "second": {"kernel": jax.random.normal(second, (HIDDEN, 1))},
    }


def batch(step):
    """Returns the batch of one step: the first rows have one valid position, the last all."""
    rng = np.random.default_rng(step)
    valid = (np.arange(LENGTH) <= np.arange(ROWS)[:, None] * LENGTH // ROWS).astype(np.float32)
    x = rng.normal(size=(ROWS, LENGTH, WIDTH)).astype(np.float32)
    return {"x": x, "y": x.sum(-1), "valid": valid}


def batches(start, *, seconds=0.0):
    """Yields the batches from ``start``."""
    step = start
    while True:
        time.sleep(seconds)
        yield batch(step)
        step += 1


def optimizer(steps=100):
    """Returns AdamW with clipping, warm-up and decay over ``steps``."""
    rate = training.Schedule(peak=3e-2, warmup_steps=4).build(steps)
    return training.chain(training.AdamW(weight_decay=0.1).build(rate), clip_norm=1.0)


def program(**changes):
    """Returns the toy program with ``changes``."""
    parts = {
        "objective": Regression(dropout=0.1),
        "optimizer": optimizer(),
        "params": params,
        "batches": batches,
        "carry": memory,
        "placement": training.Placement(mesh=training.make_mesh()),
        "tokens": "squares",
    }
    return training.Program(**(parts | changes))


def options(steps, **changes):
    """Returns options with an average and accumulation, that log every step."""
    step = training.StepOptions(ema=training.EMA(decay=0.9), accumulation=2)
    parts = {"steps": steps, "log_every": 1, "checkpoint_every": 5, "step": step, "tensorboard": "off"}
    return training.TrainOptions(**(parts | changes))


def digest(tree):
    """Returns a hash of every bit of ``tree``."""
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(tree))).hexdigest()


def losses(workdir):
    """Returns the losses of ``metrics.jsonl``, by step."""
    rows = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def main():
    """Trains in ``argv[1]`` and prints one JSON line: the hash of the state and the parameters."""
    changes = json.loads(sys.argv[2])
    seconds, dropout = changes.pop("seconds", 0.0), changes.pop("dropout", 0.1)
    feed = lambda start: batches(start, seconds=seconds)  # noqa: E731
    state = training.fit(program(batches=feed, objective=Regression(dropout)), options(**changes), sys.argv[1])
    leaves = [np.asarray(x).ravel().tolist() for x in jax.tree.leaves(state.params)]
    print(json.dumps({"digest": digest(state), "params": leaves, "devices": jax.device_count()}))


if __name__ == "__main__":
    main()
