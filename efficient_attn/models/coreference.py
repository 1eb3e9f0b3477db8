"""What speaks of the same thing in a document: spans that may be mentions, and for each the spans before it that it may go back to.

A span is ``g = [x_first; x_last; width; head]``, the head being a mean of its tokens weighted by attention. Its mention score is
``s(i) = f(g_i) + f'(width)``, and the best spans of which no two cross are kept. Of each the antecedents are those before it with
the highest coarse scores ``s(i) + s(j) + g_i W g_j + d(i - j)``, to which finer ones add ``f(g_i, g_j, g_i * g_j, features)``; no
antecedent scores 0. With a greater depth spans are blended with what they are expected to go back to, and are scored again.

Each network's first layer is a sum of projections of the parts of its input, so that a token's and a span's own are computed once,
and not once for every span and pair that they are in. Widths and antecedents are gone through one after the other, and computed
again in the backward pass: the memory is that of ``T`` hidden layers, and not of ``T W``.

Where we differ from released code: candidates begin and end with words, and hold no special token.

References:
  Lee, He, Zettlemoyer, "Higher-order Coreference Resolution with Coarse-to-fine Inference", 2018.
  Joshi, Levy, Zettlemoyer, Weld, "BERT for Coreference Resolution: Baselines and Analysis", 2019, and its released code.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.nn.attention import linear
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.spans import distance_bucket, head_means, kept_spans
from efficient_attn.precision import Precision

BEGINS, ENDS = 1, 2
"""What ``Layout.edges`` says of a token: a word begins there, a word ends there, or both, 3."""
NEVER = -1e9
"""Score of what is no antecedent: far below any, and finite."""

_DISTANCES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linking:
    """How the head ``coreference`` finds mentions and links them."""

    widest: int = 30
    """The most tokens of a mention."""
    share: float = 0.4
    """Spans that are kept, for each token of a document."""
    antecedents: int = 50
    """How many of a span are scored finely."""
    depth: int = 1
    """Times that spans are scored finely: each time but the last they are then blended with their antecedents."""
    hidden: int = 3000
    """Size of the hidden layer of each network."""
    feature: int = 20
    """Size of the embedding of a width, a distance, a genre, and so on."""
    dropout: float = 0.3
    """Probability of dropping a hidden feature, and one of these embeddings."""
    genres: tuple[str, ...] = ("bc", "bn", "mz", "nw", "pt", "tc", "wb")
    """Kinds of documents that are told apart."""
    parts: int = 1
    """Distances between the parts of a document that are told apart, the last with all that are greater."""

    def __post_init__(self):
        for name in ("widest", "antecedents", "depth", "hidden", "feature", "parts"):
            if getattr(self, name) < 1:
                raise ValueError(f"linking.{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"linking.share must be in (0, 1], got {self.share}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"linking.dropout must be in [0, 1), got {self.dropout}")
        if not self.genres:
            raise ValueError("linking.genres needs at least one name, got none")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where words, sentences and speakers lie in documents that are read in ``P`` parts of ``T`` tokens."""

    sentences: Any
    """int ``[B, P, T]``: of each token, from 0; -1: it is special, or fills up."""
    speakers: Any
    """int ``[B, P, T]``: of each token, as any numbers."""
    edges: Any
    """int ``[B, P, T]``: ``BEGINS``, ``ENDS``, the sum of both, or 0."""
    genres: Any
    """int ``[B]``: of each document, from 0."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Links:
    """The spans of each document that may be mentions, in its order, and how likely each goes back to which."""

    starts: Any
    """int ``[B, M]``: first tokens, counted over all parts."""
    ends: Any
    """int ``[B, M]``: last tokens."""
    valid: Any
    """bool ``[B, M]``: whether there is a span in a place; those without are last."""
    antecedents: Any
    """int ``[B, M, A]``: places of spans before each."""
    scores: Any
    """float32 ``[B, M, 1 + A]``: of no antecedent, 0, and of each; ``NEVER`` where it is none."""


class Network(nnx.Module):
    """``v . relu(sum_p W_p x_p + b) + c`` of some parts, which are projected by themselves."""

    def __init__(self, parts: Sequence[int], linking: Linking, precision: Precision, rngs: nnx.Rngs):
        self.parts = nnx.List([_linear(size, linking.hidden, precision, rngs, not n) for n, size in enumerate(parts)])
        self.score, self.dropout = _linear(linking.hidden, 1, precision, rngs), linking.dropout

    def __call__(self, projected: Float[Array, "*batch F"], key: jax.Array | None) -> Float[Array, "*batch"]:
        """The score of the sum of all projected parts, float32."""
        return self.score(drop(jax.nn.relu(projected), self.dropout, key))[..., 0].astype(jnp.float32)


class CoreferenceHead(nnx.Module):
    """The networks and tables of mentions and of their links."""

    def __init__(self, width: int, linking: Linking, precision: Precision, rngs: nnx.Rngs):
        self.linking = linking
        init, format = Initialization("bert", 1), jnp.dtype(precision.parameters)
        table = lambda rows: nnx.Param(init.token(1)(rngs.params(), (rows, linking.feature), format))  # noqa: E731
        span, feature = 3 * width + linking.feature, linking.feature
        self.attention = _linear(width, 1, precision, rngs)
        self.widths, self.width_priors = table(linking.widest), table(linking.widest)
        self.mention = Network((width, width, width, feature), linking, precision, rngs)
        self.width_score = Network((feature,), linking, precision, rngs)
        self.coarse = _linear(span, span, precision, rngs)
        self.distance_priors, self.distance_score = table(_DISTANCES), _linear(feature, 1, precision, rngs)
        self.same_speaker, self.genres = table(2), table(len(linking.genres))
        self.distances, self.part_distances = table(_DISTANCES), table(linking.parts)
        self.pair = Network((span, span, span, 4 * feature), linking, precision, rngs)
        self.blend = _linear(2 * span, span, precision, rngs) if linking.depth > 1 else None

    def __call__(
        self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """No result: a document may be of several texts, and its layout tells more; see ``link``."""
        del x, table, key
        return {}

    def link(self, x: Float[Array, "B parts T D"], layout: Layout, key: jax.Array | None) -> Links:
        """The spans of documents that may be mentions, and what they may go back to.

        Args:
          x: what the encoder makes of each part.
          layout: of the documents.
          key: randomness of the dropout; None is evaluation.

        Cost: O(T F (D + W)) time for mentions of ``T`` tokens and a hidden layer ``F``, O(M^2 D + M A D F) for links of ``M`` spans
        and ``A`` antecedents; O(T (F + W D) + M^2 + M F) memory, each document.
        """
        if key is None:
            return jax.vmap(lambda x, layout: self._linked(x, layout, None))(x, layout)
        return jax.vmap(self._linked)(x, layout, jax.random.split(key, x.shape[0]))

    def _linked(self, x: Float[Array, "parts T D"], layout: Layout, key: jax.Array | None) -> Links:
        parts, length, _ = x.shape
        x, flat = x.reshape(parts * length, -1), jax.tree.map(jnp.ravel, layout)
        keys = [None] * 5 if key is None else list(jax.random.split(key, 5))
        widths = drop(self.widths[...], self.linking.dropout, keys[0])
        means = head_means(x, self.attention(x)[:, 0].astype(jnp.float32), self.linking.widest)
        scores = self._mention_scores(x, means, widths, keys[1])
        part = jnp.arange(parts * length) // length
        text = flat.sentences >= 0
        room = max(1, int(self.linking.share * parts * length))
        count = jnp.floor(self.linking.share * text.sum()).astype(jnp.int32)
        entry, valid = kept_spans(scores, self._allowed(flat, part), count, room)
        start, width = jnp.divmod(entry, self.linking.widest)
        end = start + width
        spans = jnp.concatenate([x[start], x[end], means[width, start], widths[width].astype(x.dtype)], axis=-1)
        kept = scores.ravel()[entry]
        chosen, coarse = self._coarse(spans, kept, valid, keys[2])
        told = flat.speakers[start], part[start], flat.genres[0]
        features = self._features(told, chosen, keys[3])
        fine = self._fine(spans, features, chosen, coarse, keys[4])
        return Links(starts=start, ends=end, valid=valid, antecedents=chosen, scores=fine)

    def _mention_scores(self, x, means, widths, key) -> Float[Array, "T widths"]:
        """The mention score of every span, one width after the other."""
        begin, end, mean, width = self.mention.parts
        begins, ends, widths = begin(x), end(x), width(widths)
        priors = self.width_score(self.width_score.parts[0](self.width_priors[...]), key)

        @jax.checkpoint
        def of_width(place, head, feature):
            own = None if key is None else jax.random.fold_in(key, place)
            return self.mention(begins + jnp.roll(ends, -place, axis=0) + mean(head) + feature, own)

        places = jnp.arange(self.linking.widest)
        scores = jax.lax.map(lambda args: of_width(*args), (places, means, widths))
        return (scores + priors[:, None]).T

    def _allowed(self, flat: Layout, part: Int[Array, " T"]) -> Bool[Array, "T widths"]:
        """The spans of whole words within one sentence and one part."""
        first = jnp.arange(len(part))[:, None]
        last = first + jnp.arange(self.linking.widest)
        inside, last = last < len(part), jnp.minimum(last, len(part) - 1)
        together = (flat.sentences[first] == flat.sentences[last]) & (part[first] == part[last])
        words = (flat.edges[first] & BEGINS > 0) & (flat.edges[last] & ENDS > 0)
        return inside & together & words & (flat.sentences[first] >= 0)

    def _coarse(
        self, spans, mentions, valid, key
    ) -> tuple[Int[Array, "spans antecedents"], Float[Array, "spans antecedents"]]:
        """The best antecedents of each span by a cheap score, and this score; ``NEVER`` where there are not so many."""
        rate, place = self.linking.dropout, jnp.arange(len(spans))
        keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
        source, target = drop(self.coarse(spans), rate, keys[0]), drop(spans, rate, keys[1]).astype(spans.dtype)
        scores = jnp.einsum("id,jd->ij", source, target.astype(source.dtype), preferred_element_type=jnp.float32)
        priors = self.distance_score(drop(self.distance_priors[...], rate, keys[2]))[:, 0].astype(jnp.float32)
        distance = place[:, None] - place
        scores = scores + mentions[:, None] + mentions + priors[distance_bucket(distance)]
        scores = jnp.where((distance > 0) & valid, scores, NEVER)
        best, chosen = jax.lax.top_k(scores, min(self.linking.antecedents, len(spans)))
        return chosen, best

    def _features(
        self, told, chosen: Int[Array, "spans antecedents"], key
    ) -> Float[Array, "spans antecedents features"]:
        """What is known of each span and each of its antecedents beside their words: of the speakers, the genre, the distances."""
        speakers, parts, genre = told
        same = (speakers[:, None] == speakers[chosen]).astype(jnp.int32)
        apart = jnp.clip(parts[:, None] - parts[chosen], 0, self.linking.parts - 1)
        distance = distance_bucket(jnp.arange(len(chosen))[:, None] - chosen)
        tables = (self.same_speaker, same), (self.distances, distance), (self.part_distances, apart)
        found = [table[...][place] for table, place in tables]
        found.append(jnp.broadcast_to(self.genres[...][genre], found[0].shape))
        return drop(jnp.concatenate(found, axis=-1), self.linking.dropout, key)

    def _fine(self, spans, features, chosen, coarse, key) -> Float[Array, "spans scores"]:
        """The scores of no antecedent and of each, after all blending."""
        depth = self.linking.depth
        keys = [None] * depth if key is None else list(jax.random.split(key, depth))
        scores = self._scores(spans, features, chosen, coarse, keys[0])
        for own in keys[1:]:
            spans = self._blended(spans, chosen, jax.nn.softmax(scores, axis=-1))
            scores = self._scores(spans, features, chosen, coarse, own)
        return scores

    def _scores(self, spans, features, chosen, coarse, key) -> Float[Array, "spans scores"]:
        """The scores of no antecedent and of each, of spans as they are."""
        fine = self._pair_scores(spans, features, chosen, key)
        there = jnp.where(coarse > NEVER, coarse + fine, NEVER)
        return jnp.concatenate([jnp.zeros((len(spans), 1)), there], axis=-1)

    def _pair_scores(
        self, spans, features, chosen: Int[Array, "spans antecedents"], key
    ) -> Float[Array, "spans antecedents"]:
        """A network's score of each span with each of its antecedents, one antecedent after the other."""
        one, other, both, told = self.pair.parts
        ones, others = one(spans), other(spans)

        @jax.checkpoint
        def of_place(place, antecedent, feature):
            own = None if key is None else jax.random.fold_in(key, place)
            return self.pair(ones + others[antecedent] + both(spans * spans[antecedent]) + told(feature), own)

        places = jnp.arange(chosen.shape[1])
        return jax.lax.map(lambda args: of_place(*args), (places, chosen.T, jnp.swapaxes(features, 0, 1))).T

    def _blended(
        self, spans, chosen: Int[Array, "spans antecedents"], weights: Float[Array, "spans scores"]
    ) -> Float[Array, "spans features"]:
        """Spans with what they are expected to go back to, themselves where that is nothing."""
        rows = jnp.arange(len(spans))
        whole = jnp.diag(weights[:, 0]).at[rows[:, None], chosen].add(weights[:, 1:])
        expected = (whole @ spans.astype(jnp.float32)).astype(spans.dtype)
        share = jax.nn.sigmoid(self.blend(jnp.concatenate([spans, expected], axis=-1))).astype(spans.dtype)
        return share * expected + (1 - share) * spans


def _linear(width: int, results: int, precision: Precision, rngs: nnx.Rngs, bias: bool = True) -> nnx.Linear:
    return linear(precision, bias, rngs)(width, results, kernel_init=Initialization("bert", 1).weight(width))
