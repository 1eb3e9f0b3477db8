"""A stack whose backward pass rebuilds the activations: two residual streams, memory that does not grow with depth.

    y1 = x1 + attention(norm(x2)),   y2 = x2 + feedforward(norm(y1)),   both streams start as the embedding

It holds the blocks of ``Stack``, with the same parameters, and returns the streams side by side, as released code does.

Reference:
  Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, section 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.nn.block import Block
from efficient_attn.nn.cache import AnyCache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.given import NOTHING, Given
from efficient_attn.nn.stack import Caches, Stack
from efficient_attn.ops.reversible import Branch, reversible_stack
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.sharding import STREAM, constrain, fitting

Streams = tuple[jax.Array, jax.Array]


class ReversibleStack(Stack):
    """``Stack`` over two streams; its blocks have norms before their sublayers."""

    def __call__(
        self,
        x: Float[Array, "B T D"],
        dropout: float,
        key: jax.Array | None,
        given: Given = NOTHING,
        patterns: tuple[Pattern, ...] | None = None,
    ) -> Float[Array, "B T 2*D"]:
        """Both streams after all blocks.

        Args:
          x: the embedding.
          dropout: probability of dropping a feature of a sublayer's output.
          key: randomness of dropout and of what mechanisms draw; None is without.
          given: masks and rotations.
          patterns: the cycle, where it depends on the length; None: that of the stack.
        """
        patterns = self.patterns if patterns is None else patterns
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        streams = (wide, wide)
        depth = self._cycles() * len(patterns) + len(self.rest)
        cycled, rest = self._split(None if key is None else jax.random.split(key, depth))
        if self.cycle:
            places = [None if cycled is None else cycled[:, place] for place in range(len(patterns))]
            streams = _run(list(self.cycle), places, patterns, dropout, streams, given)
        if self.rest:
            alone = [jax.tree.map(lambda a: a[None], block) for block in self.rest]
            places = [None if rest is None else rest[place][None] for place in range(len(alone))]
            streams = _run(alone, places, patterns, dropout, streams, given)
        return jnp.concatenate(streams, axis=-1)

    def step(
        self, x: Float[Array, "B 1 D"], caches: Caches, position: Int[Array, ""], slots: tuple
    ) -> tuple[Float[Array, "B 1 2*D"], Caches]:
        """All blocks on one token, as in ``Stack``."""
        streams, caches = self.step_each(_step, (x, x), caches, position, slots)
        return jnp.concatenate(streams, axis=-1), caches


def _run(
    blocks: list[Block],
    keys: list[jax.Array | None],
    patterns: tuple[Pattern, ...],
    dropout: float,
    streams: Streams,
    given: Given,
) -> Streams:
    """Blocks of one cycle, each a stack of its repetitions, with the keys of those."""
    branches: list[Branch] = []
    parameters: list[Any] = []
    for block, key, pattern in zip(blocks, keys, patterns, strict=False):
        attention, feedforward = _split_keys(key)
        branches += [_attention(pattern, dropout), _feedforward(dropout)]
        # Parts of a block, and not the block, so that no branch has gradients of the other's parameters.
        parameters.append((block.attention_norm, block.attention, attention))
        parameters.append((block.feedforward_norm, block.feedforward, feedforward))
    return reversible_stack(branches, parameters, streams, (given.key_mask, given.rotations))


def _split_keys(keys: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
    """Keys of the attentions and of the feed-forwards, as ``Block`` splits them."""
    if keys is None:
        return None, None
    halves = jax.vmap(jax.random.split)(keys)
    return halves[:, 0], halves[:, 1]


def _attention(pattern: Pattern, dropout: float) -> Branch:
    def branch(parameters: Any, x: jax.Array, shared: Any, memo: Any) -> tuple[jax.Array, Any]:
        (norm, attention, key), (mask, rotations) = parameters, shared
        own = None if key is None else jax.random.fold_in(key, 1)
        mixed, memo = attention.recalled(norm(x), pattern, own, Given(key_mask=mask, rotations=rotations), memo)
        return _lying(drop(mixed, dropout, key)), memo

    return branch


def _feedforward(dropout: float) -> Branch:
    def branch(parameters: Any, x: jax.Array, shared: Any, memo: None) -> tuple[jax.Array, None]:
        norm, feedforward, key = parameters
        return _lying(drop(feedforward(norm(x)), dropout, key)), None

    return branch


def _lying(update: jax.Array) -> jax.Array:
    """An update of a stream where the stream lies."""
    return constrain(update, fitting(STREAM, update.shape))


def _step(
    block: Block, streams: Streams, pattern: Pattern, cache: AnyCache, position: jax.Array, slot: jax.Array
) -> tuple[Streams, AnyCache]:
    first, second = streams
    mixed, cache = block.attention.step(block.attention_norm(second), pattern, cache, position, slot)
    first = first + mixed.astype(first.dtype)
    return (first, second + block.feedforward(block.feedforward_norm(first)).astype(second.dtype)), cache
