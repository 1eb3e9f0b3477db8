"""Greedy and random writing of targets: one compiled loop over the cache of an encoder-decoder."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from efficient_attn.decoding.beam_search import check_alone
from efficient_attn.decoding.sampling import SamplingOptions, draw
from efficient_attn.models import Functional, Seq2Seq, Sequence


def sample_targets(
    model: Functional[Seq2Seq], params: Any, source: Sequence, longest: int, options: SamplingOptions, key: jax.Array
) -> Int[Array, "B L"]:
    """One target for each source, each token drawn from its distribution.

    Args:
      model: an encoder-decoder's form.
      params: its parameters.
      source: one text a row.
      longest: tokens of a target at most, its end included.
      options: how a token is drawn.
      key: randomness; token ``t`` is drawn with ``fold_in(key, t)``.

    Returns:
      The targets with their end, then padding.

    Raises:
      ValueError: if a row has more than one text, or texts are longer than the model takes.
    """
    check_alone(source)
    return _sample(model, longest, options, params, source, key)


def greedy(model: Functional[Seq2Seq], params: Any, source: Sequence, longest: int) -> Int[Array, "B L"]:
    """One target for each source, each token the most probable one; arguments and errors as in ``sample_targets``."""
    return sample_targets(model, params, source, longest, SamplingOptions(temperature=0.0), jax.random.key(0))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _sample(
    model: Functional[Seq2Seq],
    longest: int,
    options: SamplingOptions,
    params: Any,
    source: Sequence,
    key: jax.Array,
) -> Int[Array, "B L"]:
    seq2seq = model.module(params)
    config, batch = seq2seq.config, source.tokens.shape[0]

    def more(state):
        position, _, done, _ = state
        return (position < longest) & ~done.all()

    def one(state):
        position, tokens, done, cache = state
        before = jnp.where(position == 0, config.bos_token, tokens[:, jnp.maximum(position - 1, 0)])
        logits, cache = seq2seq.step(before, position, cache, longest)
        drawn = draw(logits, options, jax.random.fold_in(key, position))
        drawn = jnp.where(done, config.pad_token, drawn)
        return position + 1, tokens.at[:, position].set(drawn), done | (drawn == config.eos_token), cache

    tokens = jnp.full((batch, longest), config.pad_token, jnp.int32)
    cache = seq2seq.init_cache(seq2seq.encode(source), source, longest)
    return jax.lax.while_loop(more, one, (jnp.asarray(0), tokens, jnp.zeros((batch,), bool), cache))[1]
