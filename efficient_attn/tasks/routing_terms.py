"""Terms that mixtures of experts add to an objective: what balances them, and their load."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from efficient_attn.nn.groups import Groups
from efficient_attn.nn.moe import Experts, Routed


@dataclasses.dataclass(frozen=True)
class RoutingTerms:
    """The terms of a stack's mixtures.

    Learned: ``"auxiliary"`` and ``"z"``, the router's losses times their coefficients, mean over groups and summed over layers.
    Observed: ``"dropped"``, choices without room per choice of a valid token; ``"load"``, the shares of first choices that go to
    each expert.

    Args:
      experts: how tokens are routed.
      layers: mixtures of the stack.
      stack: what the names begin with.
    """

    experts: Experts
    layers: int
    stack: str = ""

    @property
    def observed(self) -> frozenset[str]:
        """Terms that are no part of the loss."""
        return frozenset({f"{self.stack}dropped", f"{self.stack}load"})

    def counts(self, valid: Bool[Array, "B T"]) -> dict[str, jax.Array]:
        """Groups; and, in all mixtures, choices and first choices of valid tokens.

        Args:
          valid: False of padding.
        """
        rows, tokens = valid.shape
        groups = jnp.float32(Groups(rows, tokens, self.experts.group_size(tokens)).number)
        first = jnp.sum(valid, dtype=jnp.float32) * self.layers
        each = jnp.full(self.experts.number, first)
        return self._named({"auxiliary": groups, "z": groups, "dropped": first * self.experts.choices, "load": each})

    def sums(self, seen: Routed) -> dict[str, jax.Array]:
        """What was seen in all mixtures, as terms."""
        learned = {"auxiliary": self.experts.auxiliary * seen.auxiliary, "z": self.experts.z * seen.z}
        return self._named(learned | {"dropped": seen.dropped, "load": seen.load})

    def _named(self, terms: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {self.stack + name: term for name, term in terms.items()}
