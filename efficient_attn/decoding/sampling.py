"""Sampling: one compiled loop that reads the prompt and then draws token after token, over a cache."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.models import Decoder, Functional


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How a token is drawn from its distribution."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most probable token."""
    top_k: int | None = None
    """Only the k most probable tokens; None: all."""
    top_p: float | None = None
    """Only the most probable tokens that together have this probability, the first always; None: all."""

    def __post_init__(self):
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")


def draw(logits: Float[Array, "B V"], options: SamplingOptions, key: jax.Array) -> Int[Array, " B"]:
    """One token for each row."""
    if options.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = logits / options.temperature
    if options.top_k is not None:
        least = jax.lax.top_k(logits, min(options.top_k, logits.shape[-1]))[0][:, -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if options.top_p is not None:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        before = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1) - jax.nn.softmax(ordered, axis=-1)
        least = jnp.min(jnp.where(before < options.top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return jax.random.categorical(key, logits, axis=-1).astype(jnp.int32)


def sample(
    model: Functional[Decoder], params, prompt: Int[Array, "B P"], length: int, options: SamplingOptions, key: jax.Array
) -> Int[Array, "B L"]:
    """Continues ``prompt`` to ``length`` tokens.

    Args:
      model: a decoder's form.
      params: its parameters.
      prompt: the tokens that are given; may have no columns.
      length: tokens in all.
      options: how a token is drawn.
      key: randomness; token ``t`` is drawn with ``fold_in(key, t)``.

    Returns:
      The prompt and what follows it.

    Raises:
      ValueError: if the prompt is longer than ``length``, or holds a token outside the vocabulary.
    """
    vocab = nnx.eval_shape(lambda: model.make(jax.random.key(0))).config.vocab
    given = prompt.shape[1]
    if given > length:
        raise ValueError(f"the prompt has {given} tokens, more than the {length} asked for in all")
    if prompt.size and not 0 <= int(prompt.min()) <= int(prompt.max()) < vocab:
        raise ValueError(f"the prompt holds token {int(prompt.max())}, but the vocabulary has {vocab}")
    padded = jnp.zeros((prompt.shape[0], length), jnp.int32).at[:, :given].set(prompt)
    return _sample(model, options, params, padded, jnp.asarray(given), key)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(model: Functional[Decoder], options: SamplingOptions, params, tokens, given, key):
    decoder = model.module(params)
    length = tokens.shape[1]

    def body(position, state):
        tokens, caches = state
        before = tokens[:, jnp.maximum(position - 1, 0)]
        logits, caches = decoder.step(before, position, caches, length)
        drawn = draw(logits, options, jax.random.fold_in(key, position))
        now = jnp.where(position < given, tokens[:, position], drawn)
        return tokens.at[:, position].set(now), caches

    return jax.lax.fori_loop(0, length, body, (tokens, decoder.init_cache(tokens.shape[0], length)))[0]
