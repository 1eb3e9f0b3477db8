"""A mixture of experts with a capacity and without one, beside the dense expansion of the same products and a network that costs a
token the same."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.bench.timing import median_ms
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import Experts, MoE
from efficient_attn.ops import routing
from efficient_attn.precision import Precision

ROWS, TOKENS, EXPERTS = 8, 1024, 64
WIDTHS = (64, 128)
_INIT = Initialization("code", 1)
_BALANCED = Experts(number=EXPERTS, group=TOKENS)
_DROPLESS = dataclasses.replace(_BALANCED, capacity="dropless")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One layer at one width."""

    layer: str
    width: int
    forward_ms: float
    both_ms: float
    """Forward, and gradients by the parameters and the tokens."""
    mib: float
    """Temporaries of both, as compiled."""
    dropped: float
    """Share of choices."""


class Expanded(MoE):
    """The same results by XLA's ragged product, which computes every expert on every row where it has no kernel for it."""

    def _of_all(
        self, spec: jax.P | None, x: Float[Array, "G S D"], choices: routing.Choices
    ) -> tuple[jax.Array, jax.Array]:
        experts = self.experts.number
        blocks = routing.place_in_blocks(choices, experts, 1)
        rows = routing.dispatch_to_blocks(x, blocks, 1)
        hidden = jax.nn.relu(jax.lax.ragged_dot(rows, self.expand.matrices, blocks.counts))
        rows = jax.lax.ragged_dot(hidden, self.contract.matrices, blocks.counts)
        return routing.combine_from_blocks(rows, choices, blocks), jnp.zeros(())


def layers(width: int) -> dict[str, Callable[[], nnx.Module]]:
    """What is compared: two experts of a token have half the hidden layer of the dense network each."""
    mixture = lambda kind, experts: kind(experts, width, 2 * width, "relu", _INIT, Precision(), rngs=nnx.Rngs(0))  # noqa: E731
    return {
        "dense network": lambda: FeedForward(width, 4 * width, "relu", _INIT, Precision(), rngs=nnx.Rngs(0)),
        "capacity, paper": lambda: mixture(MoE, _BALANCED),
        "dropless": lambda: mixture(MoE, _DROPLESS),
        "dense expansion": lambda: mixture(Expanded, _DROPLESS),
    }


def rows(widths: tuple[int, ...] = WIDTHS) -> Iterator[Row]:
    """All layers at all widths, float32."""
    for width in widths:
        for name, make in layers(width).items():
            yield measure(name, make(), width)


def measure(name: str, layer: nnx.Module, width: int, tokens: int = TOKENS) -> Row:
    """A layer on random tokens."""
    graph, state = nnx.split(layer)
    x = jax.random.normal(jax.random.key(0), (ROWS, tokens, width))
    run = lambda state, x: nnx.merge(graph, state)(x)  # noqa: E731
    forward = jax.jit(run).lower(state, x).compile()
    both = jax.jit(jax.grad(lambda state, x: jnp.sin(run(state, x)).sum(), (0, 1))).lower(state, x).compile()
    asked = ROWS * tokens * layer.experts.choices if isinstance(layer, MoE) else 1
    dropped = float(layer.routed(x, None, None)[1].dropped) / asked if isinstance(layer, MoE) else 0.0
    return Row(
        layer=name,
        width=width,
        forward_ms=median_ms(lambda: forward(state, x), 5),
        both_ms=median_ms(lambda: both(state, x), 5),
        mib=both.memory_analysis().temp_size_in_bytes / 2**20,
        dropped=dropped,
    )
