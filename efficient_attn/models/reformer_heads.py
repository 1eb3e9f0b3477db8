"""What a Reformer's two streams become: nothing more, logits of tokens, of classes, or of the ends of an answer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

HeadName = Literal["none", "language_modelling", "classification", "question_answering"]


class NoHead(nnx.Module):
    """The streams as they are."""

    def __call__(self, x: Float[Array, "B T W"]) -> Float[Array, "B T W"]:
        """``x``."""
        return x


class TokenHead(nnx.Module):
    """One projection of every token: logits of tokens, or of the beginning and the end of an answer."""

    def __init__(self, width: int, results: int, rngs: nnx.Rngs):
        self.project = nnx.Linear(width, results, rngs=rngs)

    def __call__(self, x: Float[Array, "B T W"]) -> Float[Array, "B T V"]:
        """Logits of every token."""
        return self.project(x)


class ClassificationHead(nnx.Module):
    """Logits of classes from the first token, by a hidden layer with tanh."""

    def __init__(self, width: int, hidden: int, labels: int, rngs: nnx.Rngs):
        self.dense = nnx.Linear(width, hidden, rngs=rngs)
        self.project = nnx.Linear(hidden, labels, rngs=rngs)

    def __call__(self, x: Float[Array, "B T W"]) -> Float[Array, "B labels"]:
        """Logits of the text."""
        return self.project(jnp.tanh(self.dense(x[:, 0])))


# From the width of a stream, the vocabulary, the number of classes and randomness.
HEADS: Mapping[HeadName, Callable[[int, int, int, nnx.Rngs], nnx.Module]] = MappingProxyType(
    {
        "none": lambda width, vocab, labels, rngs: NoHead(),
        "language_modelling": lambda width, vocab, labels, rngs: TokenHead(2 * width, vocab, rngs),
        "classification": lambda width, vocab, labels, rngs: ClassificationHead(2 * width, width, labels, rngs),
        "question_answering": lambda width, vocab, labels, rngs: TokenHead(2 * width, 2, rngs),
    }
)
