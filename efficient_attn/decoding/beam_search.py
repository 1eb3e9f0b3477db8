"""Beam search: the best targets of each source that keeping a few at every length finds, in one compiled loop.

    score(y) = log p(y | x) / penalty(|y|),   penalty(n) = ((5 + n) / 6)^a  (gnmt)   or   n^a  (mean)

``n`` counts the tokens that are written, the end included. Two sets of ``beams`` targets are kept: the live ones, by
log-probability, and those that ended, by score. Each step takes the ``2 * beams`` best continuations, so that at least ``beams``
are left to live on however many end. A source whose search has stopped keeps its result while others of the batch go on.

References:
  Wu et al., "Google's Neural Machine Translation System", 2016, equation 14 (the penalty, without coverage).
  Vaswani et al., "Attention Is All You Need", 2017, section 6.1, and released code (the two sets; stopping at the best).
  Wolf et al., "Transformers", 2020, released code (``finishing="beams"``; stopping at ``"full"`` and at ``"present"``).
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models import Functional, Seq2Seq, Sequence

Stop = Literal["worst", "best", "present", "full"]

# Below any score, and finite: products with 0 stay numbers.
_NEVER = -1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """How a search goes and when it ends; the defaults are those of the paper's base model, and of Flax's example."""

    beams: int = 4
    """Targets that are kept, and returned, for each source."""
    penalty: Literal["gnmt", "mean"] = "gnmt"
    """What log-probabilities are divided by; ``mean`` is Hugging Face's."""
    length_penalty: float = 0.6
    """The power ``a``; 0 is without a penalty."""
    early_stop: Stop = "worst"
    """A source's search ends when no live target could, at full length, pass the worst of a full set of ended ones; ``best``: pass
    the best of them, which leaves that one as it is, but maybe not those behind; ``present``: pass the worst at the present length,
    Hugging Face's ``early_stopping=False``; ``full``: when the set is full, its ``True``. Its ``"never"`` is ``worst``."""
    finishing: Literal["candidates", "beams"] = "candidates"
    """Which continuations may end: any of the ``2 * beams`` best, and what is cut at the greatest length is returned, without a
    penalty, only where nothing ended. Or the ``beams`` best alone, and what is cut counts as ended: Hugging Face's rule."""
    longest: int = 256
    """Tokens of a target at most, its end included."""
    extra: int | None = None
    """Tokens of a target at most beyond those of its source, 50 in the paper; None: no such limit."""

    def __post_init__(self):
        for name in ("beams", "longest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.length_penalty < float("inf"):
            raise ValueError(f"length_penalty must be a number of at least 0, got {self.length_penalty}")
        if self.extra is not None and self.extra < 1:
            raise ValueError(f"extra must be at least 1 token, or None; got {self.extra}")

    def within(self, width: int) -> "BeamOptions":
        """The same search of sources of at most ``width`` tokens, with no room for targets that are never so long."""
        longest = self.longest if self.extra is None else min(self.longest, width + self.extra)
        return dataclasses.replace(self, longest=longest)

    def divisor(self, tokens: Any) -> Any:
        """What the log-probability of a target of so many tokens is divided by."""
        return ((5.0 + tokens) / 6.0 if self.penalty == "gnmt" else 1.0 * tokens) ** self.length_penalty


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """Targets of each source, the best first."""

    tokens: Int[Array, "B beams L"]
    """With their end, then padding."""
    scores: Float[Array, "B beams"]
    """Minus 1e9 where there are fewer targets."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    position: Int[Array, ""]
    live: Hypotheses
    ended: Hypotheses
    done: Bool[Array, " B"]
    cache: Any
    """The model's."""


def beam_search(model: Functional[Seq2Seq], params: Any, source: Sequence, options: BeamOptions) -> Hypotheses:
    """The targets that a beam search finds.

    Args:
      model: an encoder-decoder's form.
      params: its parameters.
      source: one text a row.
      options: of the search.

    Returns:
      ``beams`` targets for each source; they do not depend on the rest of the batch.

    Raises:
      ValueError: if a row has more than one text, or texts are longer than the model takes.

    Cost: at most ``longest`` steps of ``B * beams`` targets, one compilation for each shape; memory for their cache, twice.
    """
    check_alone(source)
    return _search(model, options, params, source)


def check_alone(source: Sequence) -> None:
    """A ValueError if a row has more than one text; what is traced cannot be looked at."""
    if isinstance(source.segments, jax.core.Tracer):
        return
    most = int(np.max(source.segments, initial=0))
    if most > 1:
        raise ValueError(f"sources that are decoded need a row each, got a row with {most} texts")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _search(model: Functional[Seq2Seq], options: BeamOptions, params: Any, source: Sequence) -> Hypotheses:
    seq2seq = model.module(params)
    config, length = seq2seq.config, options.longest
    batch = source.tokens.shape[0]
    limits = jnp.full((batch,), length)
    if options.extra is not None:
        limits = jnp.minimum(limits, (source.segments > 0).sum(axis=1) + options.extra)
    nothing = jnp.full((batch, options.beams, length), config.pad_token, jnp.int32)
    never = jnp.full((batch, options.beams), _NEVER)

    def more(state: _State) -> jax.Array:
        return (state.position < length) & ~state.done.all()

    def one(state: _State) -> _State:
        before = jnp.where(
            state.position == 0, config.bos_token, state.live.tokens[:, :, jnp.maximum(state.position - 1, 0)]
        )
        logits, cache = seq2seq.step(before.reshape(-1), state.position, state.cache, length)
        return _advance(dataclasses.replace(state, cache=cache), logits, limits, config.eos_token, options)

    state = _State(
        position=jnp.asarray(0),
        live=Hypotheses(tokens=nothing, scores=never.at[:, 0].set(0.0)),
        ended=Hypotheses(tokens=nothing, scores=never),
        done=jnp.zeros((batch,), bool),
        cache=seq2seq.init_cache(seq2seq.encode(source), source, length, options.beams),
    )
    state = jax.lax.while_loop(more, one, state)
    return _where(state.ended.scores[:, 0] > _NEVER / 2, state.ended, state.live)


def _advance(
    state: _State, logits: Float[Array, "rows V"], limits: Int[Array, " B"], eos: int, options: BeamOptions
) -> _State:
    """The state one token later, from the logits of each live target."""
    beams, written = options.beams, state.position + 1
    origin, best = _continued(state, logits, options)
    ends, cut = best.tokens[:, :, state.position] == eos, (written == limits)[:, None]
    live, kept = _top(_scored(best, jnp.where(ends, _NEVER, best.scores)), beams)
    leaves = ends if options.finishing == "candidates" else (ends | cut) & (jnp.arange(2 * beams) < beams)
    # Divided by a long text's penalty, what never was a target could pass for one.
    leaves = leaves & (best.scores > _NEVER / 2)
    leaving = _scored(best, jnp.where(leaves, best.scores / options.divisor(written), _NEVER))
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), state.ended, leaving)
    ended, _ = _top(both, beams)
    going = ~state.done
    live, ended = _where(going, live, state.live), _where(going, ended, state.ended)
    rows = jnp.arange(len(limits))[:, None] * beams + jnp.take_along_axis(origin, kept, axis=1)
    return _State(
        position=written,
        live=live,
        ended=ended,
        done=state.done | cut[:, 0] | _unbeatable(live, ended, limits, written, options),
        cache=state.cache.chosen(rows.reshape(-1)),
    )


def _continued(
    state: _State, logits: Float[Array, "rows V"], options: BeamOptions
) -> tuple[Int[Array, "B candidates"], Hypotheses]:
    """The ``2 * beams`` best continuations of each source by log-probability, and which live target each continues."""
    batch, beams = state.live.scores.shape
    vocab = logits.shape[-1]
    sums = jax.nn.log_softmax(logits, axis=-1).reshape(batch, beams, vocab) + state.live.scores[:, :, None]
    scores, places = jax.lax.top_k(sums.reshape(batch, -1), 2 * beams)
    origin, token = places // vocab, (places % vocab).astype(jnp.int32)
    tokens = jnp.take_along_axis(state.live.tokens, origin[:, :, None], axis=1)
    return origin, Hypotheses(tokens=tokens.at[:, :, state.position].set(token), scores=scores)


def _unbeatable(
    live: Hypotheses, ended: Hypotheses, limits: jax.Array, written: jax.Array, options: BeamOptions
) -> Bool[Array, " B"]:
    """Where no live target could change what the search is for."""
    if options.early_stop == "full":
        return ended.scores[:, -1] > _NEVER / 2
    # Longer targets have lower log-probabilities and, divided by more, higher scores: no score of theirs passes this one.
    best = live.scores[:, 0] / options.divisor(written if options.early_stop == "present" else limits)
    bar = ended.scores[:, 0 if options.early_stop == "best" else -1]
    return (bar > _NEVER / 2) & (bar >= best)


def _top(some: Hypotheses, count: int) -> tuple[Hypotheses, Int[Array, "B beams"]]:
    """The best of each source, and where they were."""
    scores, places = jax.lax.top_k(some.scores, count)
    return Hypotheses(tokens=jnp.take_along_axis(some.tokens, places[:, :, None], axis=1), scores=scores), places


def _scored(some: Hypotheses, scores: jax.Array) -> Hypotheses:
    return dataclasses.replace(some, scores=scores)


def _where(chosen: Bool[Array, " B"], yes: Hypotheses, no: Hypotheses) -> Hypotheses:
    """``yes`` of some sources, ``no`` of the others."""
    return Hypotheses(
        tokens=jnp.where(chosen[:, None, None], yes.tokens, no.tokens),
        scores=jnp.where(chosen[:, None], yes.scores, no.scores),
    )
