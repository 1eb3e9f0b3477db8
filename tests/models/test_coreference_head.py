"""The head that links mentions, against its equations written out span by span and pair by pair."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import Layout, Linking
from efficient_attn.models.coreference import NEVER, CoreferenceHead
from efficient_attn.ops.spans import distance_bucket
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast

WIDTH, PARTS, TOKENS = 5, 2, 9
LINKING = Linking(
    **{"widest": 3, "share": 0.5, "antecedents": 3, "hidden": 7, "feature": 2, "dropout": 0.3},
    **{"genres": ("nw", "bc"), "parts": 2},
)


def layout():
    """Two documents of two parts: special tokens, sentences, a sentence that goes on in the second part, words of two tokens."""
    sentences = np.array([[-1, 0, 0, 0, 1, 1, 1, 1, -1], [-1, 1, 2, 2, 2, 2, -1, -1, -1]])
    edges = np.array([[0, 3, 1, 2, 3, 3, 3, 3, 0], [0, 3, 3, 3, 1, 2, 0, 0, 0]])
    speakers = np.array([[-1, 0, 0, 0, 1, 1, 1, 1, -1], [-1, 1, 0, 0, 0, 0, -1, -1, -1]])
    whole = {"sentences": sentences, "speakers": speakers, "edges": edges}
    short = {name: np.where(np.arange(PARTS)[:, None] > 0, x[0, 0], x) for name, x in whole.items()}
    both = {name: jnp.asarray(np.stack([whole[name], short[name]])) for name in whole}
    return Layout(**both, genres=jnp.array([1, 0]))


def built(linking):
    """A head whose biases are not 0, and what it reads."""
    head = CoreferenceHead(WIDTH, linking, Precision(), nnx.Rngs(3))
    state = nnx.state(head)
    keys = iter(jax.random.split(jax.random.key(4), len(jax.tree.leaves(state))))
    nnx.update(head, jax.tree.map(lambda x: 0.6 * jax.random.normal(next(keys), x.shape), state))
    return head, jax.random.normal(jax.random.key(5), (2, PARTS, TOKENS, WIDTH))


def network(net, *parts):
    """The network on parts side by side."""
    kernel = np.concatenate([np.asarray(part.kernel[...]) for part in net.parts])
    hidden = np.maximum(np.concatenate(parts) @ kernel + np.asarray(net.parts[0].bias[...]), 0)
    return float(hidden @ np.asarray(net.score.kernel[...])[:, 0] + np.asarray(net.score.bias[...])[0])


def dense(layer, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def literal(head, x, told, row):
    """First and last tokens of a document's kept spans, and for each its scores by antecedent, and 0 for none."""
    linking = head.linking
    x = np.asarray(x, np.float64)[row].reshape(PARTS * TOKENS, WIDTH)
    sentence, speaker, edge = (np.asarray(a)[row].ravel() for a in (told.sentences, told.speakers, told.edges))
    table = lambda of: np.asarray(of[...], np.float64)  # noqa: E731
    spans, scores = {}, {}
    for first in range(len(x)):
        for last in range(first, min(first + linking.widest, len(x))):
            inside = range(first, last + 1)
            if len({(sentence[n], n // TOKENS) for n in inside}) > 1 or sentence[first] < 0:
                continue
            if not (edge[first] & 1 and edge[last] & 2):
                continue
            weights = np.exp([dense(head.attention, x[n])[0] for n in inside])
            mean = sum(w * x[n] for w, n in zip(weights / weights.sum(), inside, strict=True))
            width = last - first
            spans[first, last] = np.concatenate([x[first], x[last], mean, table(head.widths)[width]])
            parts = x[first], x[last], mean, table(head.widths)[width]
            # The parts of the network are in the order of the span's, the mean before the width.
            score = network(head.mention, *parts) + network(head.width_score, table(head.width_priors)[width])
            scores[first, last] = score
    kept = []
    for span in sorted(scores, key=lambda span: -scores[span]):
        if not any(a < span[0] <= b < span[1] or span[0] < a <= span[1] < b for a, b in kept):
            kept.append(span)
    kept = sorted(kept[: int(linking.share * (sentence >= 0).sum())])
    vectors = [spans[span] for span in kept]
    coarse = {}
    for i, one in enumerate(kept):
        for j, other in enumerate(kept[:i]):
            prior = dense(head.distance_score, table(head.distance_priors)[int(distance_bucket(jnp.int32(i - j)))])[0]
            coarse[i, j] = scores[one] + scores[other] + dense(head.coarse, vectors[i]) @ vectors[j] + prior
    chosen = [sorted(range(i), key=lambda j, i=i: -coarse[i, j])[: linking.antecedents] for i in range(len(kept))]
    for turn in range(linking.depth):
        found = [{-1: 0.0} for _ in kept]
        for i, j in [(one, other) for one, some in enumerate(chosen) for other in some]:
            a, b = kept[i][0], kept[j][0]
            features = (
                table(head.same_speaker)[int(speaker[a] == speaker[b])],
                table(head.distances)[int(distance_bucket(jnp.int32(i - j)))],
                table(head.part_distances)[min(a // TOKENS - b // TOKENS, linking.parts - 1)],
                table(head.genres)[int(told.genres[row])],
            )
            found[i][j] = coarse[i, j] + network(head.pair, vectors[i], vectors[j], vectors[i] * vectors[j], *features)
        if turn < linking.depth - 1:
            vectors = blended(head, vectors, found)
    return kept, found


def blended(head, vectors, found):
    after = []
    for own, scores in zip(vectors, found, strict=True):
        weights = np.exp(list(scores.values()))
        others = [own if j < 0 else vectors[j] for j in scores]
        expected = sum(w * v for w, v in zip(weights / weights.sum(), others, strict=True))
        share = 1 / (1 + np.exp(-dense(head.blend, np.concatenate([own, expected]))))
        after.append(share * expected + (1 - share) * own)
    return after


@pytest.mark.parametrize("depth", [1, 3])
def test_spans_and_scores_are_those_of_the_equations(depth):
    head, x = built(dataclasses.replace(LINKING, depth=depth))
    told = layout()
    links = jax.jit(lambda x: head.link(x, told, None))(x)
    for row in range(2):
        kept, found = literal(head, x, told, row)
        count = len(kept)
        assert links.valid[row].tolist() == [True] * count + [False] * (links.valid.shape[1] - count)
        assert list(zip(links.starts[row, :count].tolist(), links.ends[row, :count].tolist(), strict=True)) == kept
        for place, expected in enumerate(found):
            scores = dict(
                zip([-1, *links.antecedents[row, place].tolist()], links.scores[row, place].tolist(), strict=True)
            )
            there = {j: score for j, score in scores.items() if score > NEVER}
            assert there == pytest.approx(expected, rel=2e-3, abs=2e-3)
    # The document of one part has as many spans as half its tokens, and the other of both.
    assert links.valid.sum(1).tolist() == [6, 3]


def test_what_fills_up_changes_nothing():
    head, x = built(LINKING)
    told = layout()
    link = jax.jit(lambda x: head.link(x, told, None))
    hidden = (told.sentences < 0)[..., None]
    one, other = (link(jnp.where(hidden, fill, x)) for fill in (0.0, 50.0))
    assert one.valid.tolist() == other.valid.tolist()
    np.testing.assert_allclose(one.scores[one.valid], other.scores[one.valid], rtol=1e-4, atol=1e-4)


def test_dropout_needs_a_key_and_gradients_are_finite():
    head, x = built(dataclasses.replace(LINKING, depth=2))
    told = layout()

    @jax.jit
    @jax.value_and_grad
    def of(x, key):
        links = head.link(x, told, key)
        return jnp.where(links.valid[..., None], jnp.maximum(links.scores, -99), 0).sum()

    (first, gradient), (second, _) = of(x, jax.random.key(0)), of(x, jax.random.key(1))
    assert abs(first - second) > 1e-3
    assert np.isfinite(gradient).all()
    # Special tokens are in no span, and what is in one matters.
    assert (np.abs(gradient).sum(-1)[np.asarray(told.sentences) < 0] == 0).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"widest": 0}, "linking.widest must be at least 1, got 0"),
        ({"share": 0.0}, r"linking.share must be in \(0, 1\], got 0.0"),
        ({"dropout": 1.0}, r"linking.dropout must be in \[0, 1\), got 1.0"),
        ({"genres": ()}, "linking.genres needs at least one name, got none"),
    ],
)
def test_choices_that_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        Linking(**fields)
