"""The encoder-decoder Transformer, with any of the attentions of ``nn/seq2seq_mechanisms.py`` at its three places,
with mixtures of experts, and with the sublayers of either stack in any order.

References:
  Vaswani et al., "Attention Is All You Need", 2017, section 3; its released code, and the translation example of Flax.
  Correia, Niculae, Martins, "Adaptively Sparse Transformers", 2019 (entmax at all three places).
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020 (self-attentions alone).
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020 (T5: buckets of offsets).
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding", 2020 (experts).
  Press, Smith, Levy, "Improving Transformer Models by Reordering their Sublayers", 2020, section 5 (orders).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.models.seq2seq_stacks import decoder_stack, encoder_stack
from efficient_attn.models.sequence import Sequence
from efficient_attn.nn.cache import Cache, cache_for, slots
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import Routed
from efficient_attn.nn.norm import Norm, make_norm
from efficient_attn.nn.pair_embedding import PairEmbedding
from efficient_attn.nn.relative_buckets import BucketedBias, Directions, RelativeBuckets
from efficient_attn.nn.routed_text_block import Sums, add_among, add_over
from efficient_attn.nn.sublayer_stack import AnyCaches
from efficient_attn.nn.text_block import Rates


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetCache:
    """What a decoder remembers while it writes targets of some sources."""

    own: AnyCaches
    """Keys and values of the targets, as in ``nn/cache.py``."""
    memory: AnyCaches
    """Keys and values of the sources, a ``Memory`` for each layer that looks at them: projected once."""
    segments: Int[Array, "B S"]
    """0 where the source is padding."""

    def chosen(self, rows: Int[Array, " B"]) -> "TargetCache":
        """The cache where each target goes on from another of the same source; ``rows`` says from which."""
        own = jax.tree.map(lambda cache: cache.chosen(rows), self.own, is_leaf=lambda x: isinstance(x, Cache))
        return dataclasses.replace(self, own=own)


class Seq2Seq(nnx.Module):
    """A conditional language model: each target token's distribution given the source and the target's tokens before it.

    Args:
      config: sizes and choices.
      key: randomness of the initial parameters.
    """

    def __init__(self, config: Seq2SeqConfig, *, key: jax.Array):
        self.config = config
        self.rates = Rates(features=config.dropout, weights=config.attention_dropout, hidden=config.ff_dropout)
        embedding_key, encoder_key, decoder_key, norm_key = jax.random.split(key, 4)
        self.embedding = PairEmbedding(
            config.vocab,
            config.width,
            config.positions,
            config.embedding,
            config.sharing,
            config.precision,
            source_vector=config.source_vector,
            rngs=nnx.Rngs(embedding_key),
        )
        self.encoder, self.decoder = encoder_stack(config, encoder_key), decoder_stack(config, decoder_key)
        rngs = nnx.Rngs(norm_key)
        norm = lambda: make_norm(config.norm_kind, config.width, config.norm_epsilon, rngs)  # noqa: E731
        self.encoder_norm, self.decoder_norm = (norm(), norm()) if config.norm == "pre" else (None, None)
        self.encoder_bias, self.decoder_bias = _bias(config, "both", rngs), _bias(config, "earlier", rngs)

    def __call__(self, source: Sequence, target: Sequence, key: jax.Array | None = None) -> Float[Array, "B T V"]:
        """Logits of every target token given its source and the tokens before it, float32.

        Args:
          source: the sources; text ``n`` of a row belongs to text ``n`` of the target's row.
          target: the tokens that are predicted; the shift to the right happens here, text by text.
          key: randomness of the dropout; None is without.

        Returns:
          Logits; those at padding mean nothing, but are finite.

        Raises:
          ValueError: if rows are longer than the model takes, or not as many.
        """
        return self.logits(self.hidden(source, target, key))

    def encode(self, source: Sequence, key: jax.Array | None = None) -> Float[Array, "B S D"]:
        """What the encoder makes of sources, float32; arguments as in ``__call__``."""
        return self._encoded(source, key)[0]

    def _encoded(self, source: Sequence, key: jax.Array | None) -> Sums:
        """``encode``, and what was seen of routing."""
        self.config.check_length(source.tokens.shape[1], "source")
        keys = (None, None) if key is None else jax.random.split(key)
        given = _given(source, self.encoder_bias)
        x = drop(self.embedding.of_source(source.tokens, source.positions), self.rates.features, keys[0])
        each = lambda block, pattern, state, key: add_among(state, block, pattern, given, self.rates, key)  # noqa: E731
        x, seen = self.encoder.run((x, self._unseen()), keys[1], each)
        return self._end(x, self.encoder_norm, keys[1]), seen

    def hidden(self, source: Sequence, target: Sequence, key: jax.Array | None = None) -> Float[Array, "B T D"]:
        """What ``logits`` makes the logits of; arguments as in ``__call__``."""
        return self.routed(source, target, key)[0]

    def routed(
        self, source: Sequence, target: Sequence, key: jax.Array | None = None
    ) -> tuple[Float[Array, "B T D"], tuple[Routed | None, Routed | None]]:
        """``hidden``, and what was seen of routing in encoder and decoder: None without experts. Padding is not routed."""
        self.config.check_length(target.tokens.shape[1], "target")
        if len(source.tokens) != len(target.tokens):
            raise ValueError(f"source and target need as many rows, got {len(source.tokens)} and {len(target.tokens)}")
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        encoded, in_encoder = self._encoded(source, keys[0])
        given, segments = _given(target, self.decoder_bias), (target.segments, source.segments)
        x = self.embedding.of_target(shifted(target, self.config.bos_token), target.positions)
        x = drop(x, self.rates.features, keys[1])
        looked = (given, encoded, segments, self.rates)
        each = lambda block, pattern, state, key: add_over(state, block, pattern, *looked, key)  # noqa: E731
        x, in_decoder = self.decoder.run((x, self._unseen()), keys[2], each)
        return self._end(x, self.decoder_norm, keys[2]), (in_encoder, in_decoder)

    def logits(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of all tokens, float32, from the end of the residual stream."""
        return self.embedding.logits(hidden)

    def init_cache(self, encoded: Float[Array, "B S D"], source: Sequence, length: int, beams: int = 1) -> TargetCache:
        """The cache of empty targets.

        Args:
          encoded: of ``encode``, without dropout.
          source: the sources, one text a row.
          length: tokens that will be written at most.
          beams: targets of each source, which follow each other.

        Raises:
          ValueError: if the targets are longer than the model takes.
        """
        self.config.check_length(length, "target")
        batch = encoded.shape[0] * beams
        empty = lambda layer, pattern: cache_for(pattern, length, lambda count: layer.empty_cache(batch, count))  # noqa: E731
        memory = self.decoder.of_blocks(lambda block: block.cross.remembered(encoded))
        return TargetCache(own=self.decoder.init_caches(empty), memory=memory, segments=source.segments)

    def step(
        self, token: Int[Array, " B"], position: Int[Array, ""], caches: TargetCache, length: int
    ) -> tuple[Float[Array, "B V"], TargetCache]:
        """Logits of the token at ``position`` of each target, given the token before it and the cache of all earlier ones.

        Args:
          token: those at ``position - 1``; ``bos_token`` at position 0.
          position: which token is predicted.
          caches: what ``init_cache`` or the step before gave.
          length: as in ``init_cache``.

        Returns:
          Logits, equal to that row of ``__call__`` (with experts: where they had room for every choice), and the new cache.

        Cost: a product with each parameter of the decoder, and with all experts unless they drop nothing; attention over the slots
        of the cache and the source.
        """
        x = self.embedding.of_target(token[:, None], jnp.full((token.shape[0], 1), position, jnp.int32))
        sources, bias = caches.segments, None if self.decoder_bias is None else self.decoder_bias(length)
        # A source that is all padding shows nothing, as in training.
        asking = jnp.ones((sources.shape[0], token.shape[0] // sources.shape[0]), sources.dtype)

        def each(layer, x, pattern, cache, position, slot):
            block, memory = layer
            return block.step_over(x, pattern, cache, position, slot, memory, (asking, sources), bias)

        now = tuple(jnp.asarray(slots(p, length)[0])[position] for p in self.decoder.patterns)
        x, own = self.decoder.step_each(each, x, caches.own, position, now, caches.memory)
        return self.logits(self._end(x, self.decoder_norm, None))[:, 0], dataclasses.replace(caches, own=own)

    def _unseen(self) -> Routed | None:
        """Sums of routing before the first layer."""
        return None if self.config.experts is None else Routed.nothing(self.config.experts.number)

    def _end(self, x: Float[Array, "B T D"], norm: Norm | None, key: jax.Array | None) -> Float[Array, "B T D"]:
        """The end of a stack; ``key`` is the stack's own."""
        x = x if norm is None else norm(x)
        return drop(x, self.config.end_dropout, None if key is None else jax.random.fold_in(key, 1))


def shifted(target: Sequence, bos: int) -> Int[Array, "B T"]:
    """What goes in where each token is predicted: the token before it, and ``bos`` where a text begins."""
    return jnp.where(target.positions == 0, bos, jnp.roll(target.tokens, 1, axis=1))


def _given(texts: Sequence, bias: BucketedBias | None) -> Given:
    spread = None if bias is None else bias(texts.tokens.shape[1])
    return Given(segments=texts.segments, positions=texts.positions, bias=spread)


def _bias(config: Seq2SeqConfig, directions: Directions, rngs: nnx.Rngs) -> BucketedBias | None:
    if not isinstance(config.positions, RelativeBuckets):
        return None
    draw = Initialization(config.initialization, 1).position(config.width, 1)
    return BucketedBias(config.positions, config.heads, draw, directions=directions, rngs=rngs)
