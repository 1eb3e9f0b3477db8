"""The trainer's step over eight devices gives the losses of one."""

import jax
import numpy as np
import optax
import pytest

from efficient_attn import training
from efficient_attn.models import LSH, Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.tasks import LanguageModelling

ATTENTIONS = {
    "patterns": Sparse(patterns=("Causal() & Window(left=5)", "Causal()")),
    "hashed": LSH(chunk=4, rounds=2, layers=("lsh", "Causal() & NearChunks(8)")),
}


def losses(attention, devices: int) -> list[float]:
    config = DecoderConfig(depth=2, width=24, heads=2, attention=attention)
    model = Functional(lambda key: Decoder(config, key=key))
    objective, optimizer = LanguageModelling(model, 0.0, training.Mean), optax.adam(1e-2)
    placement = training.Placement(mesh=training.make_mesh(data=devices, devices=jax.devices()[:devices]))
    state = training.TrainState.create(model.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = training.make_train_step(objective, optimizer, training.StepOptions(), placement, state)
    draw, found = np.random.default_rng(0), []
    with jax.set_mesh(placement.mesh):
        for _ in range(3):
            tokens = draw.integers(0, 256, (8, 37), np.int32)
            valid = np.arange(37)[None, :] < draw.integers(1, 38, (8, 1))
            state, metrics = step(state, {"tokens": tokens, "valid": valid})
            found.append(float(metrics["loss"]))
    return found


@pytest.mark.parametrize("name", ATTENTIONS)
def test_eight_devices_give_the_losses_of_one(name):
    if len(jax.devices()) < 8:
        pytest.fail("the tests run on eight virtual devices")
    np.testing.assert_allclose(losses(ATTENTIONS[name], 8), losses(ATTENTIONS[name], 1), rtol=2e-6)
