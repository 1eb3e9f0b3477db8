"""Questions with candidates: the files, what a model reads, how candidates are scored, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fine_tuned import SPECIAL, WORDS, write_tokenizer

from efficient_attn.candidate_reading import Choosing
from efficient_attn.data import WikiHop
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, EncoderOutput, Longformer, Sparse, encoder_of
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.tasks.candidates import CandidateLoss, candidate_scores
from efficient_attn.tasks.fine_tuning import outputs
from efficient_attn.training import Schedule

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.fast

ITEM = {
    "id": "x1",
    "query": "is ab",
    "candidates": ["cd", "ef gh"],
    "supports": ["ij kl mn", "op qr"],
    "answer": "ef gh",
}
SIZE = len(SPECIAL) + len(WORDS)


def number(word):
    return (*SPECIAL, *WORDS).index(word)


# Arrays as wide as the data has candidates.
CHANGING = ("entities",)


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    for name in ("train.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps([ITEM, ITEM | {"id": "x2", "candidates": ["ab"], "answer": "ab"}]))
    return tmp_path


def experiment(folder, context=16, **changes):
    model = EncoderConfig(
        **{"vocab": SIZE + 4, "pad_token": 1, "positions": CountedPositions(rows=50)},
        **{"depth": 1, "width": 8, "heads": 2, "ff_width": 16, "head": "token_classification", "labels": ("score",)},
    )
    fields = {"choosing": Choosing(parts=3), "batch_size": 2, "steps": 1, "schedule": Schedule(peak=1e-3)}
    source = WikiHop(path=str(folder))
    return FineTuningExperiment(
        **{"model": model, "source": source, "tokenizer": str(folder), "context": context} | fields | changes
    )


def test_what_is_read(folder):
    config = experiment(folder)
    split = config.source.load("train")
    examples = config.reading.encoded(split)
    q, q_end, ent, ent_end = range(SIZE, SIZE + 4)
    words = lambda text: [number(word) for word in text.split()]  # noqa: E731
    begin = [0, q, *words("is ab"), q_end, ent, *words("cd"), ent_end, ent, *words("ef gh"), ent_end]
    # Two of six tokens fit beside twelve and two separators: three parts. All fit in the other.
    assert examples.arrays["tokens"][0].tolist() == [
        [*begin, 2, *part, 2] for part in (words("ij kl"), [number("mn"), 2], words("op qr"))
    ]
    assert examples.lengths.tolist() == [[16, 16, 16], [16, 0, 0]]
    assert examples.truncated == 0
    fewer = experiment(folder, choosing=Choosing(parts=2)).reading.encoded(split)
    assert (fewer.arrays["tokens"].shape, fewer.truncated) == ((2, 2, 16), 1)
    assert examples.arrays["entities"].tolist() == [[5, 8], [5, 0]]
    assert examples.arrays["candidates"].tolist() == [2, 1]
    assert examples.arrays["shared"].tolist() == [len(begin), 8]
    assert examples.arrays["targets"].tolist() == [1, 0]
    assert config.reading.texts(split) == (["is ab cd ef gh", "is ab ab"], ["ij kl mn op qr"] * 2)


def test_a_score_is_the_mean_over_parts_that_are_there():
    logits = np.arange(12.0).reshape(1, 3, 4, 1)
    batch = {
        "valid": jnp.array([[[True] * 4, [True] * 2 + [False] * 2, [False] * 4]]),
        "entities": jnp.array([[1, 3, 0]]),
        "candidates": jnp.array([2]),
        "targets": jnp.array([0]),
    }
    output = EncoderOutput(last_hidden_state=jnp.zeros((1, 3, 4, 2)), logits=jnp.asarray(logits))
    np.testing.assert_allclose(candidate_scores(output, batch), [[3.0, 5.0, -1e9]])
    np.testing.assert_allclose(CandidateLoss()(output, batch), [np.log1p(np.exp(2.0))], rtol=1e-6)
    # A row that only fills a batch up.
    empty = batch | {"valid": jnp.zeros((1, 3, 4), bool), "candidates": jnp.array([0])}
    assert np.isfinite(CandidateLoss()(output, empty)).all()


def test_question_and_candidates_are_global(folder):
    model = experiment(folder).model
    longformer = Longformer(windows=(2,), max_globals=12, sep_token=2)
    config = experiment(folder, model=dataclasses.replace(model, token_types=1, attention=longformer), context=24)
    reading = config.reading
    batch = jax.tree.map(jnp.asarray, reading.batches(config.source.load("train")).at(0))
    form = encoder_of(config.model)
    params = form.init(jax.random.key(0))
    tokens = batch["tokens"]
    shared = jnp.arange(24) < batch["shared"][:, None, None]
    direct = form.module(params)(tokens, batch["valid"], global_attention_mask=shared & batch["valid"])
    found = outputs(form, params, batch)
    np.testing.assert_array_equal(found.logits, direct.logits)
    without = form.module(params)(tokens, batch["valid"])
    assert float(jnp.abs(found.logits - without.logits).max()) > 1e-4


def test_marks_are_added_to_a_checkpoint_that_has_none(folder):
    config = experiment(folder)
    before = dataclasses.replace(config.model, vocab=SIZE)
    params = encoder_of(before).init(jax.random.key(3))
    grown = config.completed(params)
    assert grown["embedding"]["tokens"].shape == (SIZE + 4, 8)
    np.testing.assert_array_equal(grown["embedding"]["tokens"][:SIZE], params["embedding"]["tokens"])
    assert np.std(grown["embedding"]["tokens"][SIZE:]) > 0.005
    again = config.completed(grown)
    np.testing.assert_array_equal(again["embedding"]["tokens"], grown["embedding"]["tokens"])


def test_a_blank_batch_has_the_shapes_of_the_data(folder):
    config = experiment(folder)
    reading = config.reading
    shapes = lambda batch: {name: (x.shape[1:], x.dtype) for name, x in batch.items() if name not in CHANGING}  # noqa: E731
    assert shapes(reading.blank()) == shapes(reading.batches(config.source.load("train")).at(0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("{}", "should be a list of questions"),
        (json.dumps([ITEM | {"candidates": []}]), "question 0 .* lists of texts candidates and supports"),
        (json.dumps([ITEM, {"id": "y"}]), "question 1 .* should have texts id and query"),
        (json.dumps([ITEM | {"answer": "zz"}]), "the answer 'zz' to x1 .* is none of its candidates"),
    ],
)
def test_files_that_are_refused(folder, text, reason):
    (folder / "train.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        WikiHop(path=str(folder)).load("train")


def test_choices_that_are_refused(folder):
    with pytest.raises(ValueError, match=r"choosing\.parts must be at least 1, got 0"):
        Choosing(parts=0)
    with pytest.raises(ValueError, match="labels needs one name"):
        experiment(folder, model=dataclasses.replace(experiment(folder).model, labels=("a", "b")))
    with pytest.raises(ValueError, match="WikiHop is learned by a head token_classification"):
        experiment(folder, model=dataclasses.replace(experiment(folder).model, head="classification"))
    config = experiment(folder, context=13)
    with pytest.raises(ValueError, match="question x1 and its candidates are 12 tokens: context=13 leaves no room"):
        config.reading.encoded(config.source.load("train"))
    attention = Longformer(windows=(2,), max_globals=11, sep_token=2)
    config = experiment(folder, model=dataclasses.replace(config.model, token_types=1, attention=attention))
    with pytest.raises(ValueError, match="12 tokens, all global: max_globals must be as many, got 11"):
        config.reading.encoded(config.source.load("train"))
    assert isinstance(experiment(folder).model.attention, Sparse)
