"""Where fine-tuning begins: checkpoints of ``transformers`` and runs of one's own; and requests that are refused."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from fine_tuned import WORDS, write_lines, write_tokenizer
from flax import nnx

import efficient_attn as ea
from efficient_attn.answer_reading import Answering
from efficient_attn.commands import launch
from efficient_attn.data import GLUE, LabelledLines, Masking, SQuAD, TextFiles
from efficient_attn.experiment import evaluate, train
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import EncoderConfig, Longformer
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.restoring import begun, restore
from efficient_attn.training import AdamW, Constant, Schedule

pytest.importorskip("tokenizers")
pytest.importorskip("sklearn")

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"
# So small a rate that parameters stay what they are.
STILL = Schedule(peak=1e-12, decay=Constant())
MODEL = EncoderConfig(
    depth=1,
    width=16,
    heads=2,
    ff_width=16,
    vocab=len(WORDS) + 4,
    pad_token=1,
    positions=CountedPositions(rows=40),
    token_types=1,
    attention=Longformer(windows=(4,), max_globals=1, sep_token=2),
    head="classification",
    labels=("no", "yes"),
    pooler=False,
)
ROWS = [{"text": "ab cd", "label": "no"}, {"text": "ef", "label": "yes"}] * 4


@pytest.fixture
def experiment(tmp_path):
    write_lines(tmp_path, ROWS)
    write_tokenizer(tmp_path)
    return FineTuningExperiment(
        model=MODEL,
        source=LabelledLines(path=tmp_path),
        tokenizer=str(tmp_path),
        context=8,
        batch_size=8,
        steps=1,
        schedule=STILL,
        optimizer=AdamW(weight_decay=0.0),
        tensorboard="off",
    )


def assert_same(found, expected):
    """Of one layer, whose number a checkpoint keeps as text."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def attention_of(params):
    (layer,) = params["stack"]["cycle"].values()
    return layer["attention"]


def test_it_begins_with_a_pretrained_model_and_is_written_back(experiment, tmp_path):
    found = ea.models.Encoder(dataclasses.replace(MODEL, head="masked_lm"), key=jax.random.key(3))
    ea.save_pretrained(found, tmp_path / "pretrained")
    config = dataclasses.replace(experiment, start=str(tmp_path / "pretrained"))
    params = begun(config, str(tmp_path / "run"), config.mesh.placement())
    body = nnx.to_pure_dict(nnx.split(found)[1])
    assert_same({k: v for k, v in params.items() if k != "head"}, {k: v for k, v in body.items() if k != "head"})
    ea.save_pretrained(config.form.module(params), tmp_path / "mine")
    fields = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert fields["architectures"] == ["LongformerForSequenceClassification"]
    assert fields["id2label"] == {"0": "no", "1": "yes"}
    assert ea.load_pretrained(tmp_path / "mine").config.labels == MODEL.labels


def test_it_begins_with_a_run_of_masked_modelling_whose_globals_have_learned_nothing(experiment, tmp_path):
    (tmp_path / "text.txt").write_bytes(np.random.default_rng(0).integers(4, 20, 2000).astype(np.uint8).tobytes())
    masked = MaskedExperiment(
        model=dataclasses.replace(MODEL, vocab=256, head="masked_lm"),
        masking=Masking(token=3),
        source=TextFiles(path=tmp_path / "text.txt", splits=(0.8, 0.1, 0.1)),
        context=16,
        batch_size=8,
        steps=2,
        schedule=Schedule(peak=1e-2, decay=Constant()),
        tensorboard="off",
    )
    train(masked, str(tmp_path / "masked"))
    before, _ = restore(masked, str(tmp_path / "masked"))
    model = dataclasses.replace(MODEL, vocab=256)
    config = dataclasses.replace(experiment, model=model, start=str(tmp_path / "masked"))
    write_tokenizer(tmp_path, (*WORDS, *map(str, range(256 - 4 - len(WORDS)))))
    train(config, str(tmp_path / "run"))
    params, _ = restore(config, str(tmp_path / "run"))
    assert_same(params["embedding"], before["embedding"])
    found, old = attention_of(params), attention_of(before)
    assert_same(found["query_global"], found["query"])
    assert np.abs(old["query_global"]["kernel"] - old["query"]["kernel"]).max() > 1e-3


def test_a_pretrained_model_of_other_choices_is_refused(experiment, tmp_path):
    other = dataclasses.replace(MODEL, norm_epsilon=1e-5, ff_width=32)
    ea.save_pretrained(ea.models.Encoder(other, key=jax.random.key(0)), tmp_path / "pretrained")
    config = dataclasses.replace(experiment, start=str(tmp_path / "pretrained"))
    with pytest.raises(ValueError, match=r"ff_width 32 there, 16 here; norm_epsilon 1e-05 there, 1e-12 here"):
        train(config, str(tmp_path / "run"))


def test_a_pretrained_model_is_scored_as_it_is(experiment, tmp_path):
    dropping = dataclasses.replace(MODEL, labels=("LABEL_0", "LABEL_1"), head_dropout=0.5)
    model = ea.models.Encoder(dropping, key=jax.random.key(7))
    ea.save_pretrained(model, tmp_path / "pretrained")
    report = evaluate(experiment, str(tmp_path / "pretrained"), "validation")
    examples = experiment.reading.encoded(experiment.source.load("validation"))
    batch = examples.read(np.arange(len(examples)))
    # Classes without a name are those of the experiment, in its order.
    nats = -jax.nn.log_softmax(model(batch["tokens"], batch["valid"]).logits)
    assert report["loss"] == pytest.approx(float(nats[np.arange(8), batch["targets"]].mean()), rel=1e-5)
    assert (report["step"], report["examples"]) == (0, 8)
    swapped = dataclasses.replace(MODEL, labels=("yes", "no"))
    ea.save_pretrained(ea.models.Encoder(swapped, key=jax.random.key(7)), tmp_path / "swapped")
    with pytest.raises(ValueError, match=r"another model: labels \['yes', 'no'\] there, \['no', 'yes'\] here"):
        evaluate(experiment, str(tmp_path / "swapped"), "validation")
    with pytest.raises(ValueError, match="another model: head masked_lm there, classification here"):
        ea.save_pretrained(
            ea.models.Encoder(dataclasses.replace(MODEL, head="masked_lm"), key=jax.random.key(0)), tmp_path / "other"
        )
        evaluate(experiment, str(tmp_path / "other"), "validation")


FAMILIES = {
    "BertModel": "pooled_classification",
    "BigBirdForMaskedLM": "activated_classification",
    "LongformerForQuestionAnswering": "classification",
    "MPNetForMaskedLM": "classification",
    "RobertaForSequenceClassification": "classification",
}


@pytest.mark.parametrize("name, head", FAMILIES.items(), ids=FAMILIES)
def test_it_begins_with_any_family_and_head(name, head, experiment, tmp_path):
    found = ea.load_pretrained(GOLDEN / name)
    model = dataclasses.replace(
        found.config, head=head, labels=MODEL.labels, pooler=head.startswith("pooled"), dropout=0.3, head_dropout=0.3
    )
    config = dataclasses.replace(experiment, model=model, start=str(GOLDEN / name))
    params = begun(config, str(tmp_path / "run"), config.mesh.placement())
    body = nnx.to_pure_dict(nnx.split(found)[1])
    parts = [part for part in params if part not in ("head", "pooler")]
    assert {"embedding", "stack"} <= set(parts) == set(body) - {"head", "pooler"}
    assert_same([params[part] for part in parts], [body[part] for part in parts])
    assert jax.tree.leaves(params["head"])[-1].shape[-1] == len(MODEL.labels)


def _with(experiment, **fields):
    model = {name: fields.pop(name) for name in list(fields) if hasattr(MODEL, name)}
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **model), **fields)


# What is another in the experiment, and a part of the message.
FIELDS = {
    "a label that the model has not": ({"labels": ("no", "maybe")}, "label 'yes' of example 1 is none of the model's"),
    "more tokens than the table": ({"vocab": 20}, "has 24 tokens and the model vocab=20: they should agree"),
    "far fewer tokens than the table": ({"vocab": 30522}, "has 24 tokens and the model vocab=30522"),
    "another padding": ({"pad_token": 0}, "pad_token=0 of the model should be <pad> or [PAD]"),
    "another separator": (
        {"attention": Longformer(windows=(4,), sep_token=3)},
        "sep_token of the model is 3, and the tokenizer of {folder} ends with 2",
    ),
    "a context above the table": ({"context": 39}, "the model has positions for 1 to 38 tokens, got 39"),
    "a head of another task": ({"head": "masked_lm"}, "is learned by a head classification or"),
    "no tokenizer": ({"tokenizer": "absent"}, "no folder absent"),
    "a mesh that the heads do not divide over": (
        {"mesh": ea.recipe.Mesh(model=4)},
        "mesh.model must divide the 2 heads",
    ),
    "labels of another task": (
        {"source": GLUE(task="rte", path="absent")},
        "labels of the model should be ('entailment', 'not_entailment') for rte, got ('no', 'yes')",
    ),
    "two labels of a number": ({"source": GLUE(task="stsb", path="absent")}, "by a model with one label"),
    "words for a number": (
        {"numbers": True, "labels": ("score",)},
        "label 'no' of example 0 should be a number",
    ),
}


_ASKED = {"source": SQuAD(path="absent"), "head": "question_answering"}
FIELDS |= {
    "a question without room": (
        _ASKED | {"context": 38, "answering": Answering(question=30)},
        "context=38 leaves 4 tokens for a text beside a question of 30, which must be more than answering.stride=128",
    ),
    "a question of more tokens than are global": (
        _ASKED | {"context": 30, "answering": Answering(question=8, stride=2)},
        "max_globals must be more, got 1",
    ),
}


@pytest.mark.parametrize("fields, message", FIELDS.values(), ids=FIELDS)
def test_requests_that_are_refused(fields, message, experiment, tmp_path):
    if fields.get("numbers"):
        fields = {"labels": fields["labels"], "source": LabelledLines(path=tmp_path, numbers=True)}
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message.format(folder=tmp_path))):
        train(_with(experiment, **fields), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_it_says_how_many_texts_are_cut(experiment, capsys):
    cut = dataclasses.replace(experiment, context=3)
    cut.reading.batches(cut.source.load("train"))
    assert "4 of 8 are cut to 3 tokens" in capsys.readouterr().err
    experiment.reading.batches(experiment.source.load("train"))
    assert capsys.readouterr().err == ""


def test_a_run_does_not_go_on_with_another_tokenizer(experiment, tmp_path):
    before, _ = experiment.fields()
    moved = tmp_path / "moved"
    moved.mkdir()
    write_tokenizer(moved)
    assert dataclasses.replace(experiment, tokenizer=str(moved)).fields()[0] == before
    write_tokenizer(moved, WORDS[::-1])
    assert dataclasses.replace(experiment, tokenizer=str(moved)).fields()[0] != before


def test_texts_without_labels_are_not_scored(experiment, tmp_path):
    write_lines(tmp_path, [{"text": "ab"}], ["test"])
    reading = experiment.reading
    with pytest.raises(ValueError, match="there is nothing to score, as the data has no labels"):
        reading.check(experiment.source.load("test"))


def test_a_language_model_has_no_predictions_to_write(capsys):
    with pytest.raises(ValueError, match="predictions are written of labelled texts, and Experiment has none"):
        launch.evaluate(["configs/quickstart.py", "--workdir", "absent", "--predictions", "x"])
