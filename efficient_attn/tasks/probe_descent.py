"""A linear probe by stochastic gradient descent, for more images than L-BFGS can take at once.

Reference:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, appendix A.1: momentum 0.9 and
  a rate that falls to 0 as a cosine, on ImageNet.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from efficient_attn.tasks.linear_probe import Fit, Labelled, Predict, best, standardised

_MOMENTUM, _BATCH = 0.9, 128


def gradient_descent(rates: Sequence[float], steps: int, seed: int = 0) -> Fit:
    """Softmax regression on features of mean 0 and variance 1, in batches of 128.

    Args:
      rates: the first learning rates; that with the best validation accuracy is taken.
      steps: updates.
      seed: order of the batches.

    Raises:
      ValueError: no rates, or one that is not positive, or no steps.
    """
    if not rates or min(rates) <= 0 or steps < 1:
        raise ValueError(f"rates must be positive, and steps at least 1; got {rates} and {steps}")

    def fitted(train: Labelled, rate: float) -> Predict:
        every, labels, scaled = standardised(train)
        rng, batches = np.random.default_rng(seed), (len(labels) + _BATCH - 1) // _BATCH
        optimizer = optax.sgd(optax.cosine_decay_schedule(rate, steps), _MOMENTUM)
        update = _update(optimizer)
        weights = jnp.zeros((every.shape[1] + 1, labels.max() + 1))
        state = optimizer.init(weights)
        for step in range(steps):
            if step % batches == 0:
                order = rng.permutation(len(labels))
            chosen = np.resize(order[step % batches * _BATCH :][:_BATCH], _BATCH)
            weights, state = update(weights, state, _framed(scaled(every[chosen])), labels[chosen])
        found = np.asarray(weights)
        return lambda features: np.argmax(_framed(scaled(features)) @ found, axis=1)

    return lambda train, validation: best((fitted(train, rate) for rate in rates), validation)


def _framed(features: np.ndarray) -> np.ndarray:
    """Features, and a 1 for the bias."""
    return np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float32)


def _update(optimizer: optax.GradientTransformation) -> Any:
    def loss(weights: jax.Array, features: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(features @ weights, labels).mean()

    @jax.jit
    def update(weights: jax.Array, state: Any, features: jax.Array, labels: jax.Array):
        changes, state = optimizer.update(jax.grad(loss)(weights, features, labels), state)
        return optax.apply_updates(weights, changes), state

    return update
