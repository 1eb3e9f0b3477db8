"""The one clock of all measurements."""

import time
from collections.abc import Callable

import jax
import numpy as np


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median wall clock of ``run`` after one call that is not counted; what it returns is waited for."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
