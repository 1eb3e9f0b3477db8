"""The position-wise network between attentions."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.nn.dropout import drop
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.stretches import over_stretches
from efficient_attn.precision import Precision

Activation = Literal["quick_gelu", "gelu", "gelu_tanh", "relu"]
Network = Literal["plain", "gated"]
"""``FeedForward`` or ``GatedFeedForward``."""


def quick_gelu(x: jax.Array) -> jax.Array:
    """``x * sigmoid(1.702 x)``, the Sparse Transformer's and Image GPT's approximation of GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {
        "quick_gelu": quick_gelu,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
        "relu": jax.nn.relu,
    }
)


class FeedForward(nnx.Module):
    """``W2 f(W1 x + b1) + b2``, or without biases; ``stretch`` tokens at a time, or all."""

    dropout: float = 0.0
    """Probability of dropping a hidden feature, in a block that drops features."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        init: Initialization,
        precision: Precision,
        *,
        stretch: int | None = None,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        formats = {"dtype": jnp.dtype(precision.compute), "param_dtype": jnp.dtype(precision.parameters)}
        formats |= {"use_bias": bias, "rngs": rngs}
        self.activation, self.stretch = activation, stretch
        self.expand = nnx.Linear(width, hidden, kernel_init=init.expand(width), **formats)
        self.contract = nnx.Linear(hidden, width, kernel_init=init.contract(hidden), **formats)

    def __call__(
        self, x: Float[Array, "B T D"], dropout: float = 0.0, key: jax.Array | None = None
    ) -> Float[Array, "B T D"]:
        """The network on every token alike, with dropout of its hidden features; ``key`` None is without."""
        if self.stretch is not None and key is not None and dropout:
            raise ValueError(f"dropout of hidden features needs all tokens at once, got stretch={self.stretch}")
        network = lambda x: self.contract(drop(self._hidden(x), dropout, key))  # noqa: E731
        return over_stretches(network, self.stretch, x)

    def _hidden(self, x: Float[Array, "B T D"]) -> Float[Array, "B T F"]:
        return ACTIVATIONS[self.activation](self.expand(x))


class GatedFeedForward(FeedForward):
    """``W2 (f(W1 x) * V x)``; arguments and biases as of ``FeedForward``.

    Reference:
      Shazeer, "GLU Variants Improve Transformer", 2020, section 2.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        init: Initialization,
        precision: Precision,
        **options: Any,
    ):
        super().__init__(width, hidden, activation, init, precision, **options)
        project = functools.partial(nnx.Linear, use_bias=self.expand.use_bias, rngs=options["rngs"])
        formats = {"dtype": self.expand.dtype, "param_dtype": self.expand.param_dtype}
        self.gate = project(width, hidden, kernel_init=init.expand(width), **formats)

    def _hidden(self, x: Float[Array, "B T D"]) -> Float[Array, "B T F"]:
        return super()._hidden(x) * self.gate(x)


NETWORKS: Mapping[str, type[FeedForward]] = MappingProxyType({"plain": FeedForward, "gated": GatedFeedForward})
