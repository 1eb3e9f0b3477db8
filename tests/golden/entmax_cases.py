"""The rows on which entmax is compared with the published package: drawn here, so that only answers are stored."""

import numpy as np

ROWS, SHORT, LONG = 1000, 13, 509


def drawn(rows: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, gradients of the result, and alphas ``[rows, 1]``, all float32.

    Alpha lies in [1.05, 2.5]; of each four rows one is rounded so that scores tie, one is masked in places by minus infinity,
    one is of a magnitude between 1e-5 and 1e4, and one is as attention scores are.
    """
    random = np.random.default_rng(seed)
    z = random.normal(size=(rows, length)) * 2
    z[0::4] = np.round(z[0::4] * 2) / 2
    z[1::4] = np.where(random.random(z[1::4].shape) < 0.4, -np.inf, z[1::4])
    z[1::4, 0] = 0.0
    z[2::4] *= 10 ** random.uniform(-5, 4, size=(len(z[2::4]), 1))
    g = random.normal(size=z.shape)
    alpha = random.uniform(1.05, 2.5, size=(rows, 1))
    return z.astype(np.float32), g.astype(np.float32), alpha.astype(np.float32)
