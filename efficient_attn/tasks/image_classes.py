"""Telling the classes of images, and going on to learn the images themselves.

Reference:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, sections 2.3 and 4.6: what is learned
  is the sum of both losses.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.models import Functional, ImageReader
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ClassAndPixels:
    """The training objective of two terms.

    ``"loss"``, mean nats of the classes, and ``"generative"``, the mean over images of the mean nats of the tokens of each that are
    ``told``, times its weight.

    Args:
      model: the form of an ImageReader with labels.
      generative: weight of the second term; 0: it is not computed.
      mean: makes a term of its sum and count.
    """

    model: Functional[ImageReader]
    generative: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Images, in both."""
        images = jnp.float32(batch["targets"].shape[0])
        return {"loss": images} | ({"generative": images} if self.generative else {})

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The terms, and the carry as it came."""
        module, counts = self.model.module(params), self.counts(batch)
        if not self.generative:
            losses = cross_entropy(module(batch["inputs"], key), batch["targets"])
            return {"loss": self.mean(losses.sum(), counts["loss"])}, carry
        tokens, classes = module.both(batch["inputs"], key)
        told, losses = _token_nats(tokens, batch), cross_entropy(classes, batch["targets"])
        return {
            "loss": self.mean(losses.sum(), counts["loss"]),
            "generative": self.mean(self.generative * told.sum(), counts["generative"]),
        }, carry


def _token_nats(logits: Float[Array, "B T V"], batch: Batch) -> Float[Array, " B"]:
    """Of each image the mean over its tokens that are told."""
    losses = jnp.where(batch["told"], cross_entropy(logits, batch["tokens"]), 0.0)
    return losses.sum(1) / jnp.maximum(batch["told"].sum(1), 1)


def image_class_step(
    model: Functional[ImageReader], rows: Any = None, whole: Any = None
) -> Callable[[Any, Batch], dict[str, jax.Array]]:
    """A jitted function from parameters and a batch to ``found``, the likeliest class of each image, the ``nats`` of its class, and
    the mean nats of its ``tokens`` where the model has logits for them.

    Args:
      model: the form of an ImageReader with labels.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> dict[str, jax.Array]:
        module = model.module(params)
        tokens, classes = module.both(batch["inputs"])
        found = {"found": jnp.argmax(classes, axis=1), "nats": cross_entropy(classes, batch["targets"])}
        generative = {"tokens": _token_nats(tokens, batch)} if module.config.decoder.logits != "tied" else {}
        return found | generative | {"scored": batch["scored"]}

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
