"""The tests run on eight virtual CPU devices: what they check is exactness and sharding, not speed."""

import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

# Before anything makes an array: the number of devices is fixed by the first use of the backend.
jax.config.update("jax_num_cpu_devices", 8)

# The pattern strategies are drawn by the fuzzers of the kernels too, whose folders are collected first.
sys.path.append(str(Path(__file__).parent / "patterns"))
