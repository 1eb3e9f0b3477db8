"""The trainer's tests run on the CPU: what they check is exactness, not speed."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
