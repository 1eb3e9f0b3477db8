"""Documents whose mentions are linked: what is read and learned, the loss, clusters, and what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from fine_tuned import SPECIAL, WORDS, write_tokenizer

from efficient_attn.coreference_reading import Resolving, page_of
from efficient_attn.data import CoreferenceDocument, OntoNotes, write_clusters
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, EncoderOutput, Linking, Links
from efficient_attn.models.coreference import NEVER
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.tasks.coreference import CoreferenceLoss, clusters_of
from efficient_attn.training import Schedule

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.fast

SIZE = len(SPECIAL) + len(WORDS)
# "ab,cd" is three pieces, and "/." is written as it is lest it be taken for something else.
DOCUMENT = CoreferenceDocument(
    **{"name": "bc/x", "part": "000", "words": ("ab,cd", "is", "in", "/.", "ef", "gh", ".", "ij", "is", "ab,cd")},
    **{"speakers": ("Ann",) * 4 + ("Bob",) * 3 + ("Ann",) * 3, "sentences": (0,) * 4 + (1,) * 3 + (2,) * 3},
    clusters=(((0, 0), (4, 5), (9, 9)), ((5, 5), (7, 7))),
)
SHORT = CoreferenceDocument(
    **{"name": "nw/y", "part": "001", "words": ("kl", "is"), "speakers": ("-", "-"), "sentences": (0, 0)}, clusters=()
)


def number(word):
    return (*SPECIAL, *WORDS).index(word)


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    documents = [DOCUMENT, SHORT]
    for name in OntoNotes(path=tmp_path).files:
        write_clusters(tmp_path / name, documents, [document.clusters for document in documents])
    return tmp_path


def experiment(folder, context=12, resolving=None, **changes):
    linking = Linking(widest=3, hidden=4, feature=2, antecedents=2, genres=("nw", "bc"))
    model = EncoderConfig(
        **{"vocab": SIZE, "pad_token": 1, "positions": CountedPositions(rows=50), "linking": linking},
        **{"depth": 1, "width": 8, "heads": 2, "ff_width": 16, "head": "coreference"},
    )
    fields = {"batch_size": 2, "steps": 1, "schedule": Schedule(peak=1e-3), "source": OntoNotes(path=str(folder))}
    fields |= {"resolving": resolving or Resolving(parts=2), "model": model, "tokenizer": str(folder)}
    return FineTuningExperiment(**{"context": context} | fields | changes)


def test_what_is_read_and_learned(folder):
    config = experiment(folder)
    examples = config.reading.encoded(config.source.load("train"))
    arrays = examples.arrays
    words = lambda text: [number(word) for word in text.split()]  # noqa: E731
    # Nine pieces of two sentences have room in the first part, and the third sentence goes to the second.
    assert arrays["tokens"][0].tolist() == [
        [0, *words("ab , cd is in . ef gh ."), 2, 1],
        [0, *words("ij is ab , cd"), 2, 1, 1, 1, 1, 1],
    ]
    assert (examples.lengths.tolist(), examples.truncated) == ([[11, 7], [4, 0]], 0)
    assert arrays["sentences"][0].tolist() == [
        [-1, 0, 0, 0, 0, 0, 0, 1, 1, 1, -1, -1],
        [-1, 2, 2, 2, 2, 2, -1, -1, -1, -1, -1, -1],
    ]
    assert arrays["edges"][0].tolist() == [[0, 1, 0, 2, 3, 3, 3, 3, 3, 3, 0, 0], [0, 3, 3, 1, 0, 2, 0, 0, 0, 0, 0, 0]]
    assert arrays["speakers"][0, 0].tolist() == [-1, 0, 0, 0, 0, 0, 0, 1, 1, 1, -1, -1]
    assert arrays["speakers"][0, 1, :6].tolist() == [-1, 0, 0, 0, 0, 0]
    assert arrays["genres"].tolist() == [1, 0]
    assert arrays["targets"][0].tolist() == [[1, 3, 0], [7, 8, 0], [15, 17, 0], [8, 8, 1], [13, 13, 1]]
    assert (arrays["targets"][1] == -1).all()
    assert config.reading.texts(config.source.load("train"))[0][1] == "kl is"


def test_what_does_not_fit_is_not_read(folder):
    config = experiment(folder, resolving=Resolving(parts=1))
    examples = config.reading.encoded(config.source.load("train"))
    assert (examples.truncated, examples.lengths.tolist()) == (1, [[11], [4]])
    assert examples.arrays["targets"][0].tolist() == [[1, 3, 0], [7, 8, 0], [8, 8, 1]]


def test_a_sentence_without_room_is_cut_between_words():
    page = page_of([[5, 6], [7], [8, 9], [], [10, 11, 12, 13]], [0] * 5, (4, 5), (0, 2, 1))
    assert page.tokens.tolist() == [[0, 5, 6, 7, 2], [0, 8, 9, 2, 1], [0, 10, 11, 12, 2], [1] * 5]
    assert page.words[:, 1:4].tolist() == [[0, 0, 1], [2, 2, -1], [4, 4, 4], [-1] * 3]
    assert (page.lengths.tolist(), page.cut) == ([5, 4, 5, 0], False)


def test_parts_are_learned_in_blocks_and_scored_together(folder):
    config = experiment(folder, resolving=Resolving(parts=2, learned=1))
    split = config.source.load("train")
    whole, blocks = config.reading.encoded(split), config.reading.batches(split).examples
    assert (len(whole), len(blocks)) == (2, 3)
    read = blocks.read(np.arange(3))
    assert read["tokens"].shape == (3, 1, 12)
    np.testing.assert_array_equal(read["tokens"][:2, 0], whole.arrays["tokens"][0])
    assert read["valid"].sum((1, 2)).tolist() == [11, 7, 4]
    assert read["genres"].tolist() == [1, 1, 0]
    # Each has the mentions that lie in it, counted from its beginning.
    held = [[mention for mention in row.tolist() if mention[0] >= 0] for row in read["targets"]]
    assert held == [[[1, 3, 0], [7, 8, 0], [8, 8, 1]], [[3, 5, 0], [1, 1, 1]], []]


@pytest.mark.parametrize("resolving", [Resolving(parts=2), Resolving(parts=2, learned=1)])
def test_a_blank_batch_has_the_shapes_of_the_data(folder, resolving):
    config = experiment(folder, resolving=resolving)
    reading, split = config.reading, config.source.load("train")
    shapes = lambda batch: {name: (x.shape[1:], x.dtype) for name, x in batch.items() if name != "targets"}  # noqa: E731
    assert shapes(reading.blank()) == shapes(reading.batches(split).at(0))
    scored = reading.encoded(split).read(np.arange(1)) | {"scored": np.ones(1, bool)}
    assert shapes(reading.eval_blank()) == shapes(scored)


def links():
    """Four spans, of which the last is none; of the second the mention is known, with the first and the third."""
    scores = np.array([[0, NEVER, NEVER], [0, 1.5, NEVER], [0, 0.5, -1.0], [0, 3.0, 3.0]])
    places = {"starts": [1, 2, 4, 0], "ends": [1, 3, 5, 0], "valid": [True, True, True, False]}
    places |= {"antecedents": [[0, 1], [0, 1], [1, 0], [0, 1]], "scores": scores}
    return Links(**{name: jnp.asarray(np.array(value))[None] for name, value in places.items()})


def test_the_loss_is_of_any_right_antecedent_or_of_none():
    output = EncoderOutput(last_hidden_state=jnp.zeros((1, 1, 6, 1)), links=links())
    of = lambda *mentions: float(CoreferenceLoss()(output, {"targets": jnp.array([mentions])})[0])  # noqa: E731
    nats = lambda row, *right: np.log(np.exp(row).sum()) - np.log(np.exp([row[n] for n in right]).sum())  # noqa: E731
    second, third = np.array([0, 1.5]), np.array([0, 0.5, -1.0])
    # The third goes back to the second and to the first, which are in its cluster.
    assert of((1, 1, 0), (2, 3, 0), (4, 5, 0)) == pytest.approx(nats(second, 1) + nats(third, 1, 2), rel=1e-5)
    # The first is in another, and so the second goes back to nothing.
    assert of((1, 1, 0), (2, 3, 1), (4, 5, 1)) == pytest.approx(nats(second, 0) + nats(third, 1), rel=1e-5)
    # Spans that are no mention go back to nothing, and so does one whose antecedents are not among those kept.
    assert of((4, 5, 0), (4, 4, 0), (-1, -1, -1)) == pytest.approx(nats(second, 0) + nats(third, 0), rel=1e-5)
    assert CoreferenceLoss().counts({"targets": jnp.zeros((3, 1, 3))}).tolist() == [1, 1, 1]
    results = CoreferenceLoss().results(output, {})
    assert results["antecedents"].tolist() == [[-1, 0, 1, -1]]
    with pytest.raises(ValueError, match="has no links"):
        CoreferenceLoss()(dataclasses.replace(output, links=None), {})


def test_clusters_are_what_is_linked():
    assert clusters_of(np.array([-1, -1, 0, 1, 2, -1, 0])) == [[0, 2, 4, 6], [1, 3]]
    assert clusters_of(np.array([-1, -1])) == []


def test_predictions_are_mentions_of_words(folder, tmp_path):
    config = experiment(folder)
    split = config.source.load("train")
    results = {
        "starts": np.array([[1, 7, 8, 15], [1, 2, 0, 0]]),
        "ends": np.array([[3, 8, 8, 17], [1, 2, 0, 0]]),
        "antecedents": np.array([[-1, 0, -1, 1], [-1, -1, -1, -1]]),
    }
    said = config.reading.predictions(split, config.reading.encoded(split), results)
    # Three of five mentions, which are one of two clusters whole.
    assert said.scores["muc_precision"] == 1.0
    assert said.scores["muc_recall"] == pytest.approx(2 / 3)
    assert said.scores["b_cubed_recall"] == pytest.approx(3 / 5)
    assert said.scores["ceaf_e_recall"] == pytest.approx(1 / 2)
    said.write(tmp_path / "said")
    again = OntoNotes(path=tmp_path, files=("said", "", "")).load("train").documents
    assert [document.clusters for document in again] == [DOCUMENT.clusters[:1], ()]


def test_the_head_learns_at_its_own_rate(folder):
    config = experiment(folder)
    params = {"head": {"a": jnp.ones(2)}, "stack": {"b": jnp.ones(2)}}
    steps = {}
    for rate in (1.0, 10.0):
        update = dataclasses.replace(config, head_rate=rate).update()
        steps[rate], _ = update.update(params, update.init(params), params)
    np.testing.assert_allclose(steps[10.0]["head"]["a"], 10 * steps[1.0]["head"]["a"], rtol=1e-6)
    np.testing.assert_array_equal(steps[10.0]["stack"]["b"], steps[1.0]["stack"]["b"])


def test_choices_that_are_refused(folder):
    with pytest.raises(ValueError, match=r"resolving\.parts must be at least 1, got 0"):
        Resolving(parts=0)
    with pytest.raises(ValueError, match=r"resolving\.learned must divide parts=4, got 3"):
        Resolving(parts=4, learned=3)
    with pytest.raises(ValueError, match="head_rate must be positive, got 0"):
        experiment(folder, head_rate=0.0)
    model = experiment(folder).model
    with pytest.raises(ValueError, match="OntoNotes is learned by a head coreference"):
        experiment(folder, model=dataclasses.replace(model, head="classification"))
    config = experiment(
        folder, model=dataclasses.replace(model, linking=dataclasses.replace(model.linking, genres=("nw",)))
    )
    with pytest.raises(ValueError, match="document bc/x is of a genre that is none of the model's"):
        config.reading.encoded(config.source.load("train"))
