"""Features dealt out to heads, and put side by side again."""

from jaxtyping import Array, Shaped


def split_heads(x: Shaped[Array, "B T F"], heads: int) -> Shaped[Array, "B T N H"]:
    """Features dealt out to heads."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)


def join_heads(x: Shaped[Array, "B T N H"]) -> Shaped[Array, "B T F"]:
    """The heads' features side by side: the inverse of ``split_heads``."""
    return x.reshape(*x.shape[:2], -1)
