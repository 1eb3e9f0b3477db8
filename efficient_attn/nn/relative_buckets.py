"""A bias of the attention scores for each bucket of offsets, which layers share.

Reference:
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, section 2.1.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from flax import nnx

from efficient_attn.kernels import RelativeBias
from efficient_attn.ops.positions import earlier_buckets, relative_buckets

Directions = Literal["both", "earlier"]

_BUCKETS: Mapping[Directions, Callable[[np.ndarray, int, int], np.ndarray]] = MappingProxyType(
    {"both": relative_buckets, "earlier": earlier_buckets}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelativeBuckets:
    """Scores have a learned bias for each bucket of offsets, the same in all layers, as in T5 and MPNet."""

    buckets: int = 32
    """Of both directions together, or of the one that a decoder has."""
    longest: int = 128
    """The offset from which on all share a bucket."""

    @property
    def length(self) -> None:
        """Texts may have any length."""
        return


class BucketedBias(nnx.Module):
    """A bias of the attention scores, learned for each head and bucket of offsets; all layers share one.

    Args:
      scheme: how many buckets, and which offset begins the last.
      heads: of the attention.
      draw: of the table.
      directions: where the keys are that a query may see, before it and after it or before it alone.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        scheme: RelativeBuckets,
        heads: int,
        draw: nnx.Initializer,
        *,
        directions: Directions = "both",
        rngs: nnx.Rngs,
    ):
        self.scheme, self.directions = scheme, directions
        self.table = nnx.Param(draw(rngs.params(), (scheme.buckets, heads)))

    def __call__(self, tokens: int) -> RelativeBias:
        """The bias of a text of so many tokens: a column for each offset, never one for each pair."""
        first = 1 - tokens if self.directions == "both" else 0
        rows = _BUCKETS[self.directions](np.arange(first, tokens), self.scheme.buckets, self.scheme.longest)
        return RelativeBias(self.table[...][rows].T, first=first)
