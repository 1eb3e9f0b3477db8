"""Reading in segments from end to end: training that stops goes on bit for bit, scores count every token, spans stay in bounds."""

import dataclasses
import math

import chex
import jax
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.data import TextFiles
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import Experiment, draw, evaluate, restore, train
from efficient_attn.models import AdaptiveSpan, DecoderConfig
from efficient_attn.models.segment_decoder import limits_of
from efficient_attn.training import AdamW, Constant, Schedule


@pytest.fixture
def config(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(np.random.default_rng(0).integers(97, 101, 3000).astype(np.uint8).tobytes())
    return Experiment(
        model=DecoderConfig(
            depth=2,
            width=16,
            heads=2,
            attention=AdaptiveSpan(limit=24, ramp=2.0, trim=4, coefficient=0.0),
            logits="untied",
            initialization="unit",
        ),
        source=TextFiles(path=text, splits=(0.8, 0.1, 0.1)),
        context=16,
        batch_size=8,
        steps=8,
        # Large, so that the spans move past several limits.
        schedule=Schedule(peak=0.1, decay=Constant()),
        optimizer=AdamW(),
        checkpoint_every=4,
    )


def test_a_run_in_two_parts_is_a_run_in_one_and_its_spans_have_moved(config, tmp_path):
    whole = train(config, str(tmp_path / "whole"))
    train(dataclasses.replace(config, steps=4), str(tmp_path / "parts"))
    parts = train(config, str(tmp_path / "parts"))
    assert parts | {"workdir": ""} == whole | {"workdir": ""}
    params, _ = restore(config, str(tmp_path / "whole"))
    chex.assert_trees_all_equal(params, restore(config, str(tmp_path / "parts"))[0])
    spans = np.stack([layer["attention"]["span"] for layer in params["layers"].values()])
    assert spans.min() >= 0 and spans.max() <= 1
    assert max(limits_of(config.model, params)) > 4
    assert whole["tokens"] == 300
    assert whole["span"] == pytest.approx(24 * spans.mean(), rel=1e-5)
    assert whole["multiply_adds"] > 0
    assert math.isfinite(evaluate(config, str(tmp_path / "whole"), "test")["loss"])
    prompt = np.frombuffer(b"ab", np.uint8)[None]
    text = draw(config, str(tmp_path / "whole"), prompt, 12, SamplingOptions(temperature=0.0), 0)[0].tobytes()
    assert len(text) == 12 and text.startswith(b"ab")


def test_microbatches_add_up(config):
    model = dataclasses.replace(config.model, attention=AdaptiveSpan(limit=24, ramp=2.0, trim=4, coefficient=0.1))
    # A row for each of the tests' devices in each microbatch.
    config = dataclasses.replace(config, model=model, batch_size=16)
    reading = config.reading
    optimizer, placement = training.chain(AdamW().build(lambda step: 0.1)), training.Placement()
    batches = reading.batches(config.source.load("train"))
    states = []
    for parts in (1, 2):
        program = reading.program()
        state = training.TrainState.create(
            config.form.init(jax.random.key(0)),
            optimizer,
            jax.random.key(1),
            carry=program["carry"](),
        )
        step = training.make_train_step(
            program["objective"], optimizer, training.StepOptions(accumulation=parts), placement, state
        )
        state = placement.put(state, optimizer)
        for n in range(2):
            state, metrics = step(state, batches.at(n))
        states.append((state.carry, metrics["terms"]))
    chex.assert_trees_all_close(*states, atol=1e-4, rtol=1e-4)


def test_segments_refuse_windows_that_are_scored_in_part(config):
    with pytest.raises(ValueError, match="eval_scored must be None, got 8"):
        dataclasses.replace(config, eval_scored=8).reading  # noqa: B018
