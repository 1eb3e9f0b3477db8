"""Language modelling by a decoder with mixtures of experts: the cross-entropy, what balances the experts, and their load."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Decoder, DecoderConfig, Functional
from efficient_attn.nn.stretches import over_stretches
from efficient_attn.tasks.language_modelling import cross_entropy
from efficient_attn.tasks.routing_terms import RoutingTerms

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class RoutedModelling:
    """The training objective of a decoder with experts: ``"loss"``, mean cross-entropy over the valid tokens, and ``RoutingTerms``.

    Args:
      model: a decoder's form.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
      config: of the decoder, with ``experts``.
    """

    model: Functional[Decoder]
    label_smoothing: float
    mean: Any
    config: DecoderConfig

    @property
    def routing(self) -> RoutingTerms:
        """The terms of the mixtures."""
        assert self.config.experts is not None
        return RoutingTerms(self.config.experts, self.config.mixtures)

    @property
    def observed(self) -> frozenset[str]:
        """Terms that are no part of the loss."""
        return self.routing.observed

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Valid tokens, and the counts of ``RoutingTerms``."""
        valid = jnp.asarray(batch["valid"])
        return {"loss": jnp.sum(valid, dtype=jnp.float32)} | self.routing.counts(valid)

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The terms, and the carry as it came."""
        decoder, valid = self.model.module(params), batch["valid"]
        hidden, seen = decoder.routed(batch["tokens"], valid, key)
        nats = lambda hidden, targets: cross_entropy(decoder.logits(hidden), targets, self.label_smoothing)  # noqa: E731
        losses = over_stretches(nats, self.config.logits_stretch, hidden, batch["tokens"])
        sums = {"loss": jnp.sum(jnp.where(valid, losses, 0.0))} | self.routing.sums(seen)
        counts = self.counts(batch)
        return {name: self.mean(total, counts[name]) for name, total in sums.items()}, carry
