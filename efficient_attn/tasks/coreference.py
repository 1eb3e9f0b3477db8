"""Which mentions speak of the same thing: the loss, and clusters from what each mention goes back to.

References:
  Lee, He, Lewis, Zettlemoyer, "End-to-end Neural Coreference Resolution", 2017, section 2.
  Joshi, Levy, Zettlemoyer, Weld, "BERT for Coreference Resolution: Baselines and Analysis", 2019.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models import EncoderOutput, Links
from efficient_attn.models.coreference import NEVER
from efficient_attn.tasks.fine_tuning import Batch

NOTHING = -1
"""In place of a span or an antecedent: there is none."""


@dataclasses.dataclass(frozen=True)
class CoreferenceLoss:
    """Nats of going back to any right antecedent, or to none where there is no right one, summed over a document's spans.

    Batches are those of ``CoreferenceReading``: ``targets`` ``[B, mentions, 3]`` are the first token, the last and the cluster of
    each mention, -1 where there is none.
    """

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        links = _of(output)
        right = _right(links, batch["targets"])
        meant = jax.nn.logsumexp(jnp.where(right, links.scores, NEVER), axis=-1)
        nats = jax.nn.logsumexp(links.scores, axis=-1) - meant
        return jnp.where(links.valid, nats, 0.0).sum(-1)

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """Every document once."""
        return jnp.ones(batch["targets"].shape[0])

    def results(self, output: EncoderOutput, batch: Batch) -> dict[str, jax.Array]:
        """First and last tokens of each document's spans, and the place of the likeliest antecedent of each, or -1."""
        del batch
        links = _of(output)
        best = jnp.argmax(links.scores, axis=-1)
        found = jnp.take_along_axis(links.antecedents, jnp.maximum(best - 1, 0)[..., None], axis=-1)[..., 0]
        nothing = ~links.valid | (best == 0)
        return {"starts": links.starts, "ends": links.ends, "antecedents": jnp.where(nothing, NOTHING, found)}


def _of(output: EncoderOutput) -> Links:
    if output.links is None:
        raise ValueError("documents are resolved by an encoder with the head 'coreference', and this one has no links")
    return output.links


def _right(links: Links, targets: Int[Array, "B mentions 3"]) -> Bool[Array, "B spans scores"]:
    """Whether it is right for a span to go back to nothing, and to each antecedent."""
    start, end, cluster = jnp.moveaxis(targets, -1, 0)
    same = (links.starts[..., None] == start[:, None]) & (links.ends[..., None] == end[:, None])
    # A span is one mention at most.
    own = jnp.where(same & (cluster >= 0)[:, None], cluster[:, None] + 1, 0).max(-1)
    theirs = jax.vmap(lambda of, places: of[places])(own, links.antecedents)
    right = (own[..., None] == theirs) & (theirs > 0) & (links.scores[..., 1:] > NEVER)
    return jnp.concatenate([~right.any(-1, keepdims=True), right], axis=-1)


def clusters_of(antecedents: Int[np.ndarray, " spans"]) -> list[list[int]]:
    """The clusters of a document's spans, each of two or more, from the antecedent of each, a place before its own or -1."""
    cluster: dict[int, list[int]] = {}
    found = []
    for place, antecedent in enumerate(antecedents.tolist()):
        if antecedent == NOTHING:
            continue
        if antecedent not in cluster:
            cluster[antecedent] = [antecedent]
            found.append(cluster[antecedent])
        cluster[antecedent].append(place)
        cluster[place] = cluster[antecedent]
    return found
