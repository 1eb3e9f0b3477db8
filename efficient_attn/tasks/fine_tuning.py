"""What an encoder with a head is trained for on labelled text, and what it says of texts that it is scored on.

A loss gives a number for each row of a batch, and says how much each row counts.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.models import Encoder, EncoderOutput, Functional, Layout, Longformer
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]


@runtime_checkable
class Loss(Protocol):
    """How far off an encoder's results are."""

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """The sum over what counts in each row."""
        ...

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """How much counts in each row."""
        ...

    def results(self, output: EncoderOutput, batch: Batch) -> dict[str, jax.Array]:
        """What the encoder says of each row."""
        ...


class SaysLogits:
    """A loss of logits that say themselves what the encoder says."""

    def results(self, output: EncoderOutput, batch: Batch) -> dict[str, jax.Array]:
        """All logits that there are."""
        del batch
        logits = {name: getattr(output, name) for name in ("logits", "start_logits", "end_logits")}
        return {name: value for name, value in logits.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class ClassLoss(SaysLogits):
    """Nats of the class, or of the right choice, ``targets`` ``[B]``."""

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        return cross_entropy(output.logits, batch["targets"])

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """Every row once."""
        return jnp.ones(batch["targets"].shape[0])


@dataclasses.dataclass(frozen=True)
class NumberLoss(ClassLoss):
    """The squared distance from the number ``targets`` ``[B]``."""

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        return jnp.square(output.logits[:, 0] - batch["targets"])


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """The training objective: the mean loss over what counts, one term, ``"loss"``.

    Args:
      model: an encoder's form, with the head of the task.
      loss: of its results.
      mean: makes a term of its sum and count.
    """

    model: Functional[Encoder]
    loss: Loss
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """What counts in all rows."""
        return {"loss": self.loss.counts(batch).sum()}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        losses = self.loss(outputs(self.model, params, batch, key), batch)
        return {"loss": self.mean(losses.sum(), self.counts(batch)["loss"])}, carry


def outputs(model: Functional[Encoder], params: Any, batch: Batch, key: jax.Array | None = None) -> EncoderOutput:
    """What an encoder makes of a batch of texts.

    Global tokens are the first ``shared`` ``[B]``, or those whose ``marks`` ``[B, T]`` are not 0, or the encoder's own choice. Of
    documents with ``edges`` and the other fields of ``Layout`` mentions are linked.
    """
    module = model.module(params)
    types = batch["types"] if module.config.token_types > 1 else None
    masks = {"global_attention_mask": _globals(batch)} if isinstance(module.config.attention, Longformer) else {}
    output = module(batch["tokens"], batch["valid"], **masks, token_type_ids=types, key=key)
    return _linked(module.head, output, batch, key) if "edges" in batch else output


def _linked(head: Any, output: EncoderOutput, batch: Batch, key: jax.Array | None) -> EncoderOutput:
    """The same with the links of mentions, in documents whose layout a batch has."""
    layout = Layout(**{field.name: batch[field.name] for field in dataclasses.fields(Layout)})
    # The second half of its key is the head's in the encoder too.
    own = None if key is None else jax.random.split(key)[1]
    return dataclasses.replace(output, links=head.link(output.last_hidden_state, layout, own))


def _globals(batch: Batch) -> jax.Array | None:
    """The global tokens that a batch names."""
    if "shared" in batch:
        return (jnp.arange(batch["tokens"].shape[-1]) < batch["shared"][:, None, None]) & batch["valid"]
    return batch["marks"] > 0 if "marks" in batch else None


def results_step(
    model: Functional[Encoder], loss: Loss, rows: Any = None, whole: Any = None
) -> Callable[[Any, Batch], dict[str, jax.Array]]:
    """A jitted function from parameters and a batch of ``data.every_example`` to the results, its losses and their counts.

    Args:
      model: an encoder's form.
      loss: of its results; losses are left out of a batch without ``targets``.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> dict[str, jax.Array]:
        output = outputs(model, params, batch)
        found = loss.results(output, batch) | {"scored": batch["scored"]}
        return found | ({"loss": loss(output, batch), "count": loss.counts(batch)} if "targets" in batch else {})

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
