"""Beam search on cases worked by hand, against all targets of a small vocabulary, and apart from the rest of a batch."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.decoding import BeamOptions, SamplingOptions, beam_search, greedy, sample_targets
from efficient_attn.models import Functional, Seq2Seq, Seq2SeqConfig, Sequence, seq2seq_of

pytestmark = pytest.mark.fast

PAD, EOS, A, B = 0, 1, 2, 3
SIZES = {"width": 8, "ff_width": 8, "heads": 2, "encoder_depth": 1, "decoder_depth": 1, "longest": 64}


class Chain(Seq2Seq):
    """A model whose token depends on the one before alone: row ``[source's first token, token before]`` of a table."""

    def __init__(self, vocab, key):
        del key
        self.config = Seq2SeqConfig(vocab=vocab, pad_token=PAD, bos_token=PAD, eos_token=EOS, **SIZES)

    def encode(self, source, key=None):
        return jnp.zeros((*source.tokens.shape, 8))

    def init_cache(self, encoded, source, length, beams=1):
        return Rows(jnp.repeat(source.tokens[:, 0], beams))

    def step(self, token, position, caches, length):
        return self.table[caches.source, token], caches


@jax.tree_util.register_pytree_node_class
class Rows:
    def __init__(self, source):
        self.source = source

    def chosen(self, rows):
        return Rows(self.source[rows])

    def tree_flatten(self):
        return (self.source,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


class ChainForm(Functional):
    def module(self, params):
        chain = self.make(jax.random.key(0))
        chain.table = params
        return chain


def chain(*tables):
    """The form and the log-probabilities of a chain for each source."""
    vocab = len(tables[0])
    form = ChainForm(lambda key: Chain(vocab, key))
    return form, jnp.log(jnp.asarray(tables))


def sources(*firsts):
    return Sequence.of(jnp.asarray(firsts)[:, None] + jnp.zeros((1, 3), jnp.int32), PAD - 1)


# After the start, a is likelier than b; but b is likelier to be the end of it.
TRAP = [[0, 0, 0.6, 0.4], [0, 1, 0, 0], [0, 0.3, 0.4, 0.3], [0, 0.9, 0.05, 0.05]]
PLAIN = BeamOptions(beams=2, length_penalty=0.0, longest=6)


def test_what_greed_overlooks():
    form, params = chain(TRAP)
    found = beam_search(form, params, sources(0), PLAIN)
    np.testing.assert_array_equal(found.tokens[0], [[B, EOS, PAD, PAD, PAD, PAD], [A, EOS, PAD, PAD, PAD, PAD]])
    np.testing.assert_allclose(np.exp(found.scores[0]), [0.36, 0.18], rtol=1e-5)
    np.testing.assert_array_equal(greedy(form, params, sources(0), 4), [[A, A, A, A]])


@pytest.mark.parametrize("penalty, power", [("gnmt", 1.0), ("mean", 1.0), ("mean", 0.5), ("gnmt", 0.6)])
def test_scores_are_divided_by_the_penalty(penalty, power):
    form, params = chain(TRAP)
    options = BeamOptions(beams=2, penalty=penalty, length_penalty=power, longest=3)
    found = beam_search(form, params, sources(0), options)
    for tokens, score in zip(np.asarray(found.tokens[0]), found.scores[0], strict=True):
        written = tokens[tokens != PAD].tolist()
        sum_ = sum(math.log(TRAP[a][b]) for a, b in itertools.pairwise([0, *written]))
        divisor = len(written) ** power if penalty == "mean" else ((5 + len(written)) / 6) ** power
        assert float(score) == pytest.approx(sum_ / divisor, rel=1e-5)


# The end is 0.5 likely at each token, and both others 0.25.
EVEN = [[0, 0.5, 0.25, 0.25]] * 4


def test_when_a_search_stops():
    form, params = chain(EVEN)
    best, worst = (
        beam_search(form, params, sources(0), BeamOptions(beams=3, length_penalty=0.0, longest=6, early_stop=stop))
        for stop in ("best", "worst")
    )
    # At the first token the best has ended: no other can pass it, and the rest of the set is never filled.
    np.testing.assert_allclose(best.scores[0], [math.log(0.5), -1e9, -1e9], rtol=1e-5)
    np.testing.assert_allclose(np.exp(worst.scores[0]), [0.5, 0.125, 0.125], rtol=1e-5)
    # With a reward for length that outweighs the loss of a token, the set that is full first is not the best.
    sure = [[0, 0.4, 0.6, 0], [0, 1, 0, 0], [0, 0.05, 0.95, 0], [0, 1, 0, 0]]
    form, params = chain(sure)
    rules = {"penalty": "mean", "length_penalty": 1.0, "beams": 1, "longest": 20, "finishing": "beams"}
    full, all_ = (
        beam_search(form, params, sources(0), BeamOptions(early_stop=stop, **rules)) for stop in ("full", "worst")
    )
    assert float(all_.scores[0, 0]) == pytest.approx((math.log(0.6) + 19 * math.log(0.95)) / 20, rel=1e-5)
    np.testing.assert_array_equal(all_.tokens[0, 0], [A] * 20)
    assert float(full.scores[0, 0]) == float(all_.scores[0, 0])


def test_what_is_cut_at_the_greatest_length():
    never = [[0, 0, 0.6, 0.4]] * 4
    form, params = chain(never)
    found = beam_search(form, params, sources(0), BeamOptions(beams=2, longest=3))
    np.testing.assert_array_equal(found.tokens[0, 0], [A, A, A])
    np.testing.assert_allclose(found.scores[0, 0], 3 * math.log(0.6), rtol=1e-5)
    counted = beam_search(form, params, sources(0), BeamOptions(beams=2, longest=3, penalty="mean", finishing="beams"))
    np.testing.assert_allclose(counted.scores[0, 0], 3 * math.log(0.6) / 3**0.6, rtol=1e-5)
    # A source of three tokens, and at most two more.
    short = beam_search(form, params, sources(0), BeamOptions(beams=2, longest=9, extra=2))
    np.testing.assert_array_equal(short.tokens[0, 0], [A] * 5 + [PAD] * 4)


@pytest.mark.parametrize("stop", ["best", "worst", "present", "full"])
def test_sources_do_not_know_of_each_other(stop):
    rest = np.random.default_rng(0).dirichlet(np.ones(6), size=(4, 6))
    form, params = chain(*rest)
    options = BeamOptions(beams=3, longest=9, early_stop=stop)
    together = beam_search(form, params, sources(0, 1, 2, 3), options)
    alone = [beam_search(form, params, sources(n), options) for n in range(4)]
    np.testing.assert_array_equal(together.tokens, np.concatenate([x.tokens for x in alone]))
    np.testing.assert_allclose(together.scores, np.concatenate([x.scores for x in alone]), rtol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"encoder_depth": 2, "decoder_depth": 2, "decoder_order": "ssff"}])
def test_enough_beams_find_the_best_of_all_targets(changes):
    longest, vocab = 4, 4
    form = seq2seq_of(Seq2SeqConfig(**SIZES | changes, vocab=vocab, initialization="unit_scaling"))
    params = form.init(jax.random.key(3))
    others = [token for token in range(vocab) if token != EOS]
    targets = [(*text, EOS) for length in range(longest) for text in itertools.product(others, repeat=length)]
    tokens = jnp.asarray([target + (PAD,) * (longest - len(target)) for target in targets])
    target = Sequence.of(tokens, -1)
    source = Sequence.of(jnp.asarray([[2, 3, 2, 1, 0]]), PAD)
    repeated = jax.tree.map(lambda x: jnp.repeat(x, len(targets), axis=0), source)
    logp = jax.nn.log_softmax(form.module(params)(repeated, target))
    lengths = np.asarray([len(target) for target in targets])
    each = np.take_along_axis(np.asarray(logp), np.asarray(tokens)[..., None], axis=2)[..., 0]
    scores = (each * (np.arange(longest) < lengths[:, None])).sum(1) / ((5 + lengths) / 6) ** 0.6
    # Of two continuations for each beam, none is left out.
    beams = 2 * len(others) ** (longest - 1)
    found = beam_search(form, params, source, BeamOptions(beams=beams, longest=longest))
    order = np.argsort(-scores)
    np.testing.assert_allclose(found.scores[0, : len(order)], scores[order], rtol=1e-5)
    np.testing.assert_array_equal(found.tokens[0, :5], tokens[order[:5]])


def test_sampling_stops_at_the_end_and_follows_its_distribution():
    form, params = chain(EVEN)
    found = np.asarray(sample_targets(form, params, sources(*[0] * 2000), 4, SamplingOptions(), jax.random.key(0)))
    assert (np.diff((found == EOS).cumsum(axis=1) - (found == PAD), axis=1) <= 1).all()
    assert (found[:, 0] == EOS).mean() == pytest.approx(0.5, abs=0.04)
    after = np.maximum.accumulate(found == EOS, axis=1)[:, :-1]
    assert (found[:, 1:][after] == PAD).all()


def test_refusals():
    form, params = chain(TRAP)
    with pytest.raises(ValueError, match="beams must be at least 1, got 0"):
        BeamOptions(beams=0)
    with pytest.raises(ValueError, match="length_penalty must be a number of at least 0, got -1"):
        BeamOptions(length_penalty=-1.0)
    with pytest.raises(ValueError, match="extra must be at least 1 token, or None; got 0"):
        BeamOptions(extra=0)
    texts = Sequence(tokens=jnp.ones((1, 2), int), segments=jnp.asarray([[1, 2]]), positions=jnp.zeros((1, 2), int))
    with pytest.raises(ValueError, match="a row each, got a row with 2 texts"):
        beam_search(form, params, texts, PLAIN)
