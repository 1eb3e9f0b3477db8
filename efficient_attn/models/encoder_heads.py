"""What an encoder's tokens become: logits of tokens, of classes, of the ends of an answer, or of choices; or links of mentions.

References:
  Devlin et al., "BERT", 2019, section 4, and Liu et al., "RoBERTa", 2019: their released heads.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from efficient_attn.models.coreference import CoreferenceHead
from efficient_attn.nn.attention import linear
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import ACTIVATIONS, Activation, FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.precision import Precision

HeadName = Literal[
    "none",
    "masked_lm",
    "pooled_classification",
    "classification",
    "activated_classification",
    "question_answering",
    "residual_question_answering",
    "token_classification",
    "multiple_choice",
    "evidence",
    "coreference",
]
# Heads that read the pooler's result.
POOLED: frozenset[str] = frozenset({"pooled_classification", "multiple_choice"})

Results = dict[str, jax.Array]


class NoHead(nnx.Module):
    """Nothing beside the tokens."""

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """No result."""
        del x, table, key
        return {}


class MaskedLMHead(nnx.Module):
    """``logits = norm(f(W x + b)) E^T + c`` with the token table ``E``."""

    def __init__(self, width: int, vocab: int, activation: Activation, epsilon: float, precision: Precision, rngs):
        self.dense = _project(width, width, precision, rngs)
        self.norm = nnx.LayerNorm(width, epsilon=epsilon, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((vocab,), jnp.dtype(precision.parameters)))
        self.activation, self.format = activation, precision.compute

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of the token at each slot, ``[B, T, V]`` float32."""
        del key
        x = self.norm(ACTIVATIONS[self.activation](self.dense(x))).astype(self.format)
        logits = jnp.einsum("btd,vd->btv", x, table.astype(self.format), preferred_element_type=jnp.float32)
        return {"logits": logits + self.bias[...]}


class TokenHead(nnx.Module):
    """A projection of every token: its class."""

    def __init__(self, width: int, labels: int, dropout: float, precision: Precision, rngs: nnx.Rngs):
        self.project, self.dropout = _project(width, labels, precision, rngs), dropout

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of every token, ``[B, T, labels]`` float32."""
        return {"logits": self.project(drop(x, self.dropout, key)).astype(jnp.float32)}


class AnswerHead(nnx.Module):
    """A projection of every token: whether an answer begins or ends there."""

    def __init__(self, width: int, precision: Precision, rngs: nnx.Rngs):
        self.project = _project(width, 2, precision, rngs)

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of both, each ``[B, T]`` float32."""
        ends = self.project(x).astype(jnp.float32)
        return {"start_logits": ends[..., 0], "end_logits": ends[..., 1]}


class ResidualAnswerHead(AnswerHead):
    """An ``AnswerHead`` after a feed-forward with its own residual and norm, as BigBird has it."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        dropout: float,
        epsilon: float,
        precision: Precision,
        rngs,
    ):
        super().__init__(width, precision, rngs)
        self.feedforward = FeedForward(width, hidden, activation, Initialization("bert", 1), precision, rngs=rngs)
        self.norm, self.dropout = nnx.LayerNorm(width, epsilon=epsilon, rngs=rngs), dropout

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of both, each ``[B, T]`` float32."""
        keys = (None, None) if key is None else jax.random.split(key)
        hidden = drop(self.feedforward(drop(x, self.dropout, keys[0])), self.dropout, keys[1])
        return super().__call__(self.norm(x + hidden.astype(x.dtype)), table, None)


class EvidenceHead(AnswerHead):
    """An ``AnswerHead`` with the kind of the answer, from the first token, and for every token whether what it marks is evidence.

    The last is by a hidden layer; it has a number for titles and one for sentences.
    """

    def __init__(self, width: int, kinds: int, activation: Activation, precision: Precision, rngs: nnx.Rngs):
        super().__init__(width, precision, rngs)
        self.kind = _project(width, kinds, precision, rngs)
        self.dense, self.evidence = _project(width, width, precision, rngs), _project(width, 2, precision, rngs)
        self.activation = activation

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of both ends ``[B, T]``, of the kind ``[B, kinds]`` and of evidence ``[B, T, 2]``, float32."""
        marked = self.evidence(ACTIVATIONS[self.activation](self.dense(x))).astype(jnp.float32)
        kind = self.kind(x[:, :1])[:, 0].astype(jnp.float32)
        return super().__call__(x, table, key) | {"logits": kind, "evidence_logits": marked}


class ClassificationHead(nnx.Module):
    """The class of a text from its first token, by a hidden layer."""

    def __init__(
        self,
        width: int,
        labels: int,
        dropout: float,
        precision: Precision,
        rngs: nnx.Rngs,
        activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    ):
        self.dense, self.activation = _project(width, width, precision, rngs), activation
        self.project, self.dropout = _project(width, labels, precision, rngs), dropout

    def __call__(self, x: Float[Array, "B T D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of the text, ``[B, labels]`` float32."""
        keys = (None, None) if key is None else jax.random.split(key)
        hidden = self.activation(self.dense(drop(x[:, :1], self.dropout, keys[0])))
        return {"logits": self.project(drop(hidden, self.dropout, keys[1]))[:, 0].astype(jnp.float32)}


class PooledHead(nnx.Module):
    """A projection of the pooled text: its class, or with one result its score among choices."""

    def __init__(self, width: int, labels: int, dropout: float, precision: Precision, rngs: nnx.Rngs):
        self.project, self.dropout = _project(width, labels, precision, rngs), dropout

    def __call__(self, x: Float[Array, "B D"], table: Float[Array, "V D"], key: jax.Array | None) -> Results:
        """Logits of the text, ``[B, labels]`` float32."""
        return {"logits": self.project(drop(x[:, None], self.dropout, key))[:, 0].astype(jnp.float32)}


class Pooler(nnx.Module):
    """``tanh(W x + b)`` of the first token."""

    def __init__(self, width: int, precision: Precision, rngs: nnx.Rngs):
        self.dense = _project(width, width, precision, rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        """The text as one vector, float32."""
        return jnp.tanh(self.dense(x[:, 0])).astype(jnp.float32)


def without_question(results: Results, question: Bool[Array, "B T"]) -> Results:
    """Logits of the ends of an answer, which are not in the question; the first token, which stands for no answer, may be."""
    barred = question.at[:, 0].set(False)
    return {name: logits - 1e6 * barred for name, logits in results.items()}


def _project(width: int, results: int, precision: Precision, rngs: nnx.Rngs) -> nnx.Linear:
    return linear(precision, True, rngs)(width, results, kernel_init=Initialization("bert", 1).weight(width))


# From an ``EncoderConfig`` and randomness.
HEADS: Mapping[str, Callable[..., nnx.Module]] = MappingProxyType(
    {
        "none": lambda c, rngs: NoHead(),
        "masked_lm": lambda c, rngs: MaskedLMHead(
            c.width, c.vocab, c.head_activation, c.norm_epsilon, c.precision, rngs
        ),
        "pooled_classification": lambda c, rngs: PooledHead(c.width, len(c.labels), c.head_dropout, c.precision, rngs),
        "classification": lambda c, rngs: ClassificationHead(c.width, len(c.labels), c.head_dropout, c.precision, rngs),
        "activated_classification": lambda c, rngs: ClassificationHead(
            c.width, len(c.labels), c.head_dropout, c.precision, rngs, ACTIVATIONS[c.head_activation]
        ),
        "question_answering": lambda c, rngs: AnswerHead(c.width, c.precision, rngs),
        "residual_question_answering": lambda c, rngs: ResidualAnswerHead(
            c.width, c.ff_width, c.activation, c.dropout, c.norm_epsilon, c.precision, rngs
        ),
        "token_classification": lambda c, rngs: TokenHead(c.width, len(c.labels), c.head_dropout, c.precision, rngs),
        "multiple_choice": lambda c, rngs: PooledHead(c.width, 1, c.head_dropout, c.precision, rngs),
        "evidence": lambda c, rngs: EvidenceHead(c.width, len(c.labels), c.head_activation, c.precision, rngs),
        "coreference": lambda c, rngs: CoreferenceHead(c.width, c.linking, c.precision, rngs),
    }
)
