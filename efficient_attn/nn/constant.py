"""Arrays that belong to a model and that training leaves as they were drawn."""

from flax import nnx


class Constant(nnx.Variable):
    """Saved and restored like a parameter, without a gradient, without optimizer state, and not counted as one."""
