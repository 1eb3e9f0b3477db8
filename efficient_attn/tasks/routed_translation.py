"""Translation by an encoder-decoder with mixtures of experts: the cross-entropy, what balances the experts, and their load."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Functional, Seq2Seq, Seq2SeqConfig
from efficient_attn.tasks.language_modelling import cross_entropy
from efficient_attn.tasks.routing_terms import RoutingTerms
from efficient_attn.tasks.translation import texts

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class RoutedTranslation:
    """The training objective of an encoder-decoder with experts: ``"loss"``, mean cross-entropy over the tokens of all targets of a
    batch, and the ``RoutingTerms`` of each stack, whose names begin with ``encoder/`` and ``decoder/``.

    Args:
      model: an encoder-decoder's form.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
      config: of the model, with ``experts``.
      z_loss: as in ``Translation``; that of the routing is the experts' own.
    """

    model: Functional[Seq2Seq]
    label_smoothing: float
    mean: Any
    config: Seq2SeqConfig
    z_loss: float = 0.0

    @property
    def stacks(self) -> tuple[RoutingTerms, RoutingTerms]:
        """The terms of the encoder's mixtures and of the decoder's."""
        experts = self.config.experts
        assert experts is not None
        depths = {"encoder/": self.config.encoder_depth, "decoder/": self.config.decoder_depth}
        encoder, decoder = (RoutingTerms(experts, experts.layers(depth), name) for name, depth in depths.items())
        return encoder, decoder

    @property
    def observed(self) -> frozenset[str]:
        """Terms that are no part of the loss."""
        encoder, decoder = self.stacks
        return encoder.observed | decoder.observed

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Tokens of targets, their ends included, and the counts of the routing terms."""
        encoder, decoder = self.stacks
        source, target = (jnp.asarray(batch[f"{name}_segments"]) > 0 for name in ("source", "target"))
        return {"loss": jnp.sum(target, dtype=jnp.float32)} | encoder.counts(source) | decoder.counts(target)

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The terms, and the carry as it came."""
        source, target = texts(batch, "source"), texts(batch, "target")
        model = self.model.module(params)
        hidden, seen = model.routed(source, target, key)
        losses = cross_entropy(model.logits(hidden), target.tokens, self.label_smoothing, self.z_loss)
        sums = {"loss": jnp.sum(jnp.where(target.segments > 0, losses, 0.0))}
        for stack, some in zip(self.stacks, seen, strict=True):
            assert some is not None
            sums |= stack.sums(some)
        counts = self.counts(batch)
        return {name: self.mean(total, counts[name]) for name, total in sums.items()}, carry
