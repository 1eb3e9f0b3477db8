"""Arrays that are not trained: no optimizer state, the same after a run, saved and restored, on a mesh."""

import dataclasses

import numpy as np

from efficient_attn.data import TextFiles
from efficient_attn.experiment import Experiment, parameters, restore, train
from efficient_attn.models import DecoderConfig, Synthesizer
from efficient_attn.training import AdamW, Schedule


def test_a_fixed_random_synthesizer_trains_saves_and_goes_on(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(np.random.default_rng(0).integers(97, 101, 2000).astype(np.uint8).tobytes())
    config = Experiment(
        model=DecoderConfig(
            depth=2, width=16, heads=2, attention=Synthesizer(scores=("fixed_random",), length=16), logits="untied"
        ),
        source=TextFiles(path=text, splits=(0.8, 0.1, 0.1)),
        context=16,
        batch_size=8,
        steps=4,
        schedule=Schedule(peak=0.01),
        optimizer=AdamW(weight_decay=0.1),
    )
    train(dataclasses.replace(config, steps=2), str(tmp_path / "run"))
    train(config, str(tmp_path / "run"))
    params, step = restore(config, str(tmp_path / "run"))
    assert step == 4
    (place,) = params["stack"]["cycle"].values()
    table = place["attention"]["scores"]["fixed_random"]["table"]
    first, second = (np.asarray(layer) for layer in table)
    # Drawn at a deviation of 1 / sqrt(16), for each layer anew, and never moved.
    assert 0.2 < first.std() < 0.3
    assert not np.array_equal(first, second)
    stacked = parameters(config)["parts"]["stack"]
    trained = dataclasses.replace(config.model, attention=Synthesizer(scores=("random",), length=16))
    assert parameters(dataclasses.replace(config, model=trained))["parts"]["stack"] - stacked == 2 * 2 * 16**2
