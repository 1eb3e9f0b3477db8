"""Sequences from a command line to a score: each loss against a formula, training that learns, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.__main__ import main
from efficient_attn.commands.launch import evaluate, train
from efficient_attn.experiment import load_config, parameters
from efficient_attn.models import RecurrentConfig, predictor_of
from efficient_attn.recipe import Mesh
from efficient_attn.tasks.sequence_prediction import SequencePrediction, classification, mean_scores, squared_error
from efficient_attn.training import Mean

MODEL = predictor_of(RecurrentConfig(cell="gru", depth=2, width=5), 2, 3)
BATCH = {"inputs": jax.random.normal(jax.random.key(0), (4, 7, 2))}


@pytest.mark.fast
def test_losses_are_those_of_the_last_steps():
    model = MODEL.module(MODEL.init(jax.random.key(1)))
    numbers = jax.random.normal(jax.random.key(2), (4, 2, 3))
    found = model.readout(model.stack(BATCH["inputs"]))
    expected = jnp.square(found[:, -2:] - numbers).mean((1, 2))
    np.testing.assert_allclose(squared_error(model, BATCH | {"targets": numbers})["loss"], expected, rtol=1e-6)
    classes = jnp.array([[0], [2], [1], [2]])
    scores = classification(model, BATCH | {"targets": classes})
    chances = jax.nn.softmax(found[:, -1])
    np.testing.assert_allclose(scores["loss"], -jnp.log(chances[jnp.arange(4), classes[:, 0]]), rtol=1e-5)
    np.testing.assert_array_equal(scores["accuracy"], chances.argmax(-1) == classes[:, 0])


@pytest.mark.fast
def test_the_objective_is_the_mean_over_rows():
    params, batch = MODEL.init(jax.random.key(1)), BATCH | {"targets": jnp.ones((4, 1, 3))}
    objective = SequencePrediction(MODEL, squared_error, Mean)
    terms, _ = objective(params, batch, None, ())
    halves = [
        objective(params, {k: v[rows] for k, v in batch.items()}, None, ())[0]["loss"]
        for rows in (slice(2), slice(2, 4))
    ]
    np.testing.assert_allclose(terms["loss"].sum, sum(half.sum for half in halves), rtol=1e-6)
    assert terms["loss"].count == 4 == objective.counts(batch)["loss"]


@pytest.mark.fast
def test_scores_are_means_over_the_rows_that_count():
    batches = [
        ({"loss": np.array([1.0, 2.0])}, np.array([True, True])),
        ({"loss": np.array([6.0, 9.0])}, np.array([1, 0]) > 0),
    ]
    assert mean_scores(batches) == {"loss": 3.0, "examples": 3}
    with pytest.raises(ValueError, match="nothing to score"):
        mean_scores([])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "expected"),
    # 3IH + 2H^2 + 2H of each nBRC layer, 3IH + 4H of BRC, and the readout.
    [("brc_copy_first", 3 * 100 + 20200 + 50200 + 101), ("brc_mnist", 3 * 100 + 20200 + 3 * 50200 + 1010)],
)
def test_published_sizes(name, expected):
    assert parameters(load_config(f"configs/{name}.py"))["parameters"] == expected


def test_train_and_eval_learn_to_copy_a_number(tmp_path, capsys):
    arguments = [
        "configs/brc_copy_first.py",
        "--workdir",
        str(tmp_path / "run"),
        "--source.length",
        "3",
        "--source.records",
        "400",
    ]
    arguments += ["--source.held-out", "50", "--batch-size", "40", "--eval-batch-size", "32", "--steps", "60"]
    arguments += [
        "--model.cell",
        "brc",
        "--model.depth",
        "1",
        "--model.width",
        "16",
        "--schedule.peak",
        "0.02",
        "--log-every",
        "20",
    ]
    train(arguments)
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert trained["loss"] < 0.5
    evaluate([*arguments, "--split", "validation"])
    scored = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (scored["loss"], scored["examples"]) == (pytest.approx(trained["loss"], rel=1e-5), 50)
    main(["compare", str(tmp_path / "run")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| run | steps | loss, validation | ms a step |"
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert "bits" not in row
    with pytest.raises(ValueError, match="was trained with another model: cell differ"):
        evaluate([*arguments, "--model.cell", "nbrc"])


@pytest.mark.fast
def test_refuses(capsys):
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        RecurrentConfig(depth=0)
    with pytest.raises(SystemExit):
        main(["sample", "--workdir", "none", "--config", "configs/brc_copy_first.py"])
    assert "a config of a language model is needed" in capsys.readouterr().err
    config = load_config("configs/brc_copy_first.py")
    with pytest.raises(ValueError, match=r"reads whole sequences: mesh.sequence must be 1, got 2"):
        dataclasses.replace(config, mesh=Mesh(sequence=2))
