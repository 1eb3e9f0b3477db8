"""The objective of a decoder with experts: what is learned, what is observed, and eight devices that give the losses of one."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from efficient_attn import training
from efficient_attn.models import Decoder, DecoderConfig, Experts, Functional
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import MoE
from efficient_attn.precision import Precision
from efficient_attn.tasks.routed_modelling import RoutedModelling

CONFIG = DecoderConfig(
    depth=2, width=8, heads=2, vocab=13, experts=Experts(number=4, group=8, capacity_factor=1.0, z=1e-3)
)


def steps(*, data=1, expert=1, count=1):
    """Metrics of a few steps on a mesh; experts and groups lie over its axes."""
    model = Functional(lambda key: Decoder(CONFIG, key=key))
    objective, optimizer = RoutedModelling(model, 0.0, training.Mean, CONFIG), optax.adam(1e-2)
    mesh = training.make_mesh(data=data, expert=expert, devices=jax.devices()[: data * expert])
    placement = training.Placement(mesh=mesh, batch=jax.P(("data", "expert")))
    state = training.TrainState.create(model.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = training.make_train_step(objective, optimizer, training.StepOptions(), placement, state)
    draw, found = np.random.default_rng(0), []
    with jax.set_mesh(mesh):
        for _ in range(count):
            tokens = draw.integers(0, 13, (8, 13), np.int32)
            valid = np.arange(13)[None, :] < draw.integers(1, 14, (8, 1))
            state, metrics = step(state, {"tokens": tokens, "valid": valid})
            found.append(jax.device_get({**metrics["terms"], "loss": metrics["loss"]}))
    return found


def test_eight_devices_give_the_terms_of_one():
    if len(jax.devices()) < 8:
        pytest.fail("the tests run on eight virtual devices")
    one, eight = steps(count=3), steps(count=3, data=2, expert=4)
    for ours, theirs in zip(one, eight, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


@pytest.mark.fast
def test_what_is_observed_is_no_part_of_the_loss():
    (found,) = steps()
    means = {name: term.sum / term.count for name, term in found.items() if name != "loss"}
    nats = found["loss"]
    assert means["load"].shape == (4,)
    np.testing.assert_allclose(means["load"].sum(), 1.0, rtol=1e-6)
    assert 0 < means["dropped"] < 1 and means["auxiliary"] > 0
    learned = np.log(13) + means["auxiliary"] + means["z"]
    np.testing.assert_allclose(nats, learned, rtol=1e-5)


def test_rows_go_to_their_experts_by_all_to_all_and_nothing_is_gathered():
    mesh = training.make_mesh(data=2, expert=4, devices=jax.devices()[:8])
    form, module = nnx.split(
        MoE(Experts(number=8, group=16), 8, 12, "relu", Initialization("code", 1), Precision(), rngs=nnx.Rngs(0))
    )
    rows = jax.sharding.NamedSharding(mesh, jax.P(("data", "expert")))
    with jax.set_mesh(mesh):
        run = jax.jit(lambda module, x: nnx.merge(form, module)(x), in_shardings=(None, rows))
        program = run.lower(module, jax.ShapeDtypeStruct((8, 32, 8), jax.numpy.float32)).compile().as_text()
    assert " all-to-all(" in program and " all-gather(" not in program
