"""Tags of words: the loss, and the scores of the names that tags stand for, as CoNLL's scorer gives them.

Reference:
  Tjong Kim Sang, De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003, and its script ``conlleval``.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.fine_tuning import Batch, SaysLogits
from efficient_attn.tasks.language_modelling import cross_entropy


@dataclasses.dataclass(frozen=True)
class TagLoss(SaysLogits):
    """Nats of the tags ``targets`` ``[B, T]``; -1 where a token has none."""

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """The sum over a row's tags."""
        losses = cross_entropy(output.logits, jnp.maximum(batch["targets"], 0))
        return jnp.where(batch["targets"] >= 0, losses, 0.0).sum(-1)

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """Tags of each row."""
        found: jax.Array = jnp.sum(batch["targets"] >= 0, axis=-1, dtype=jnp.float32)
        return found


def spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The names in a sentence: kind, first and last word.

    ``B-x`` begins a name of kind x, and ``I-x`` goes on with one, or begins one after another kind or none.
    """
    found: set[tuple[str, int, int]] = set()
    begin, kind = 0, None
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, of = tag.partition("-")
        if kind is not None and (prefix != "I" or of != kind):
            found.add((kind, begin, place - 1))
            kind = None
        if prefix != "O" and kind is None:
            begin, kind = place, of
    return found


def tag_scores(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` of names that are right in kind and in all words, and ``accuracy`` of tags."""
    pairs = [(spans(one), spans(other)) for one, other in zip(found, right, strict=True)]
    same, said, meant = (sum(map(len, sets)) for sets in zip(*[(a & b, a, b) for a, b in pairs], strict=True))
    words = [a == b for one, other in zip(found, right, strict=True) for a, b in zip(one, other, strict=True)]
    return {
        "precision": same / said if said else 0.0,
        "recall": same / meant if meant else 0.0,
        "f1": 2 * same / (said + meant) if same else 0.0,
        "accuracy": sum(words) / len(words),
    }
