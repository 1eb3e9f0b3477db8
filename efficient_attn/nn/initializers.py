"""The two initialisations of the Sparse Transformer: as its paper writes them, and as its code has them.

The paper's weights are ``N(0, 0.125 / sqrt(fan_in))``. Read as a standard deviation that is 2.8 times smaller than the code's
``sqrt(0.125 / fan_in)``, which is the default here because it produced the published results.

References:
  Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 6.
"""

import dataclasses
import math
from typing import Literal

from flax import nnx


@dataclasses.dataclass(frozen=True)
class Initialization:
    """Standard deviations of a model's parameters."""

    scheme: Literal["code", "paper"]
    depth: int
    """Residual blocks: projections back into the residual stream shrink with it."""

    def weight(self, fan_in: int) -> nnx.Initializer:
        """A projection out of the residual stream."""
        return nnx.initializers.normal(self._weight(fan_in))

    def residual(self, fan_in: int) -> nnx.Initializer:
        """A projection back into the residual stream: smaller by ``sqrt(2 * depth)``."""
        return nnx.initializers.normal(self._weight(fan_in) / math.sqrt(2 * self.depth))

    def token(self, width: int) -> nnx.Initializer:
        """The token table and the start vector."""
        return nnx.initializers.normal(0.013 if self.scheme == "code" else 0.125 / math.sqrt(width))

    def position(self, width: int, tables: int) -> nnx.Initializer:
        """One of ``tables`` position tables that are summed."""
        std = 0.007 / math.sqrt(tables) if self.scheme == "code" else 0.125 / math.sqrt(width * tables)
        return nnx.initializers.normal(std)

    def _weight(self, fan_in: int) -> float:
        return math.sqrt(0.125 / fan_in) if self.scheme == "code" else 0.125 / math.sqrt(fan_in)
