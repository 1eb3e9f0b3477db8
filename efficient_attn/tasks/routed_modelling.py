"""Language modelling by a decoder with mixtures of experts: the cross-entropy, what balances the experts, and their load."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Decoder, DecoderConfig, Functional
from efficient_attn.nn.moe import Experts
from efficient_attn.nn.stretches import over_stretches
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class RoutedModelling:
    """The training objective of a decoder with experts.

    Learned: ``"loss"``, mean cross-entropy over the valid tokens; ``"auxiliary"`` and ``"z"``, the router's losses times their
    coefficients, mean over groups and summed over layers. Observed: ``"dropped"``, choices without room per choice of a valid
    token; ``"load/e"``, the share of first choices that go to expert ``e``.

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
    def experts(self) -> Experts:
        """How tokens are routed."""
        assert self.config.experts is not None
        return self.config.experts

    @property
    def observed(self) -> frozenset[str]:
        """Terms that are no part of the loss."""
        return frozenset({"dropped", *self._loads()})

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Valid tokens; groups; and, in all mixtures, choices and first choices of valid tokens."""
        valid = jnp.sum(batch["valid"], dtype=jnp.float32)
        rows, tokens = batch["tokens"].shape
        groups = jnp.float32(rows * self.experts.groups(tokens)[0])
        first = valid * self.config.mixtures
        counts = {"loss": valid, "auxiliary": groups, "z": groups, "dropped": first * self.experts.choices}
        return counts | dict.fromkeys(self._loads(), first)

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The terms, and the carry as it came."""
        decoder, valid = self.model.module(params), batch["valid"]
        hidden, seen = decoder.routed(batch["tokens"], valid, key)
        nats = lambda hidden, targets: cross_entropy(decoder.logits(hidden), targets, self.label_smoothing)  # noqa: E731
        losses = over_stretches(nats, self.config.logits_stretch, hidden, batch["tokens"])
        sums = {
            "loss": jnp.sum(jnp.where(valid, losses, 0.0)),
            "auxiliary": self.experts.auxiliary * seen.auxiliary,
            "z": self.experts.z * seen.z,
            "dropped": seen.dropped,
            **dict(zip(self._loads(), seen.load, strict=True)),
        }
        counts = self.counts(batch)
        return {name: self.mean(total, counts[name]) for name, total in sums.items()}, carry

    def _loads(self) -> list[str]:
        """Names of the terms of the experts' load."""
        return [f"load/{expert}" for expert in range(self.experts.number)]
