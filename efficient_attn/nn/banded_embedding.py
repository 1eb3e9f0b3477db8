"""Words in bands by how frequent they are: rarer bands have fewer features, at both ends of a model.

Going in, a word of band ``b`` is looked up among ``width / factor^b`` features and projected to the width. Coming out, its
probability is that of its band, which the head gives beside the probabilities of the most frequent words, times that within the
band, from the same table and the same projection, transposed. The head reads the residual stream without a projection.

Time and memory: the logits of all bands are computed for every token, ``width * V_0 + sum_b (width + V_b) * width / factor^b``
multiply-adds, where released code computes those of a rare band only for its own tokens; ``logits_stretch`` bounds the memory.

References:
  Baevski, Auli, "Adaptive Input Representations for Neural Language Modeling", 2018, section 3; its released code.
  Grave, Joulin, Cisse, Grangier, Jegou, "Efficient softmax approximation for GPUs", 2016 (the bands of the softmax).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.dropout import drop
from efficient_attn.nn.embedding import Embedding, Positions, position_tables
from efficient_attn.nn.initializers import Initialization


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bands:
    """Which words are together, and how many features they have; words are numbered from the most frequent to the rarest."""

    starts: tuple[int, ...] = (20_000, 60_000)
    """The first word of each band but the first."""
    factor: int = 4
    """How many times fewer features a band has than the one before."""
    dropout: float = 0.2
    """Probability of dropping a feature of a rarer band before its logits."""

    def __post_init__(self):
        if (
            not self.starts
            or self.starts[0] < 1
            or any(b <= a for a, b in zip(self.starts, self.starts[1:], strict=False))
        ):
            raise ValueError(f"bands.starts must be one or more words, each after the one before, got {self.starts}")
        if self.factor < 1:
            raise ValueError(f"bands.factor must be at least 1, got {self.factor}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"bands.dropout must be in [0, 1), got {self.dropout}")

    def check(self, vocab: int, width: int) -> None:
        """A ValueError if the last band has no word, or a width does not divide."""
        if self.starts[-1] >= vocab:
            raise ValueError(f"bands.starts must be below vocab={vocab}, got {self.starts}")
        if width % self.factor ** len(self.starts):
            raise ValueError(
                f"width must divide by bands.factor {len(self.starts)} times, got width={width}, factor={self.factor}"
            )

    def edges(self, vocab: int) -> list[tuple[int, int]]:
        """The first word of each band and the one after its last."""
        return list(zip((0, *self.starts), (*self.starts, vocab), strict=True))


class BandedEmbedding(Embedding):
    """``Embedding`` of words in bands, with the logits tied to it.

    Args:
      bands: which words are together.
      vocab: distinct words.
      width: size of the residual stream.
      positions: of the slots.
      init: of the start vector and of positions; tables begin at ``1 / sqrt(features)``, projections as ``glorot``, as published.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self, bands: Bands, vocab: int, width: int, positions: Positions, init: Initialization, *, rngs: nnx.Rngs
    ):
        self.positions, self.slots, self.width, self.edges = positions, "given", width, tuple(bands.edges(vocab))
        self.dropout = bands.dropout
        widths = [width // bands.factor**band for band in range(len(self.edges))]
        drawn = nnx.initializers.normal(1.0)
        projected = nnx.initializers.glorot_uniform()
        self.bands = nnx.List(
            [
                nnx.Param(drawn(rngs.params(), (end - first, size)) / math.sqrt(size))
                for (first, end), size in zip(self.edges, widths, strict=True)
            ]
        )
        self.projections = nnx.List([nnx.Param(projected(rngs.params(), (size, width))) for size in widths])
        self.clusters = nnx.Param(projected(rngs.params(), (width, len(widths) - 1)))
        self.start = nnx.Param(init.token(width)(rngs.params(), (width,)))
        self.tables = nnx.List(position_tables(positions, width, init, rngs))

    def logits(self, x: Float[Array, "B T D"], key: jax.Array | None = None) -> Float[Array, "B T V"]:
        """Log-probabilities of the next word, float32; ``key`` is the randomness of dropout, None without."""
        head = jnp.concatenate([self._weights(self.bands[0], x).T, self._weights(self.clusters, x)], axis=1)
        first = jax.nn.log_softmax(_product(x, head))
        found = [first[..., : self.edges[0][1]]]
        for band in range(1, len(self.edges)):
            own = None if key is None else jax.random.fold_in(key, band)
            inner = drop(x @ self._weights(self.projections[band], x).T, self.dropout, own)
            within = jax.nn.log_softmax(_product(inner, self._weights(self.bands[band], x).T))
            found.append(within + first[..., self.edges[0][1] + band - 1, None])
        return jnp.concatenate(found, axis=-1)

    def _of(self, tokens: Int[Array, "*shape"]) -> Float[Array, "*shape D"]:
        found = jnp.zeros((*tokens.shape, self.width), jnp.float32)
        for (first, end), table, projection in zip(self.edges, self.bands, self.projections, strict=True):
            # A word of another band reads some row of this one, which is not taken.
            row = table[...][jnp.clip(tokens - first, 0, end - first - 1)]
            inside = (first <= tokens) & (tokens < end)
            found = jnp.where(inside[..., None], row @ projection[...], found)
        return found * math.sqrt(self.width)

    def _weights(self, param: nnx.Param, x: jax.Array) -> jax.Array:
        return param[...].astype(x.dtype)


def _product(x: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.einsum("btd,dv->btv", x, weights, preferred_element_type=jnp.float32)
