"""The trainer's step gives the losses of one device over eight, however rows, experts, heads and parameters are split."""

import functools

import jax
import numpy as np
import optax
import pytest

from efficient_attn.models import LSH, DecoderConfig, Experts, Sparse, decoder_of
from efficient_attn.models.dimensions import parameter_specs
from efficient_attn.recipe import Mesh
from efficient_attn.tasks import LanguageModelling
from efficient_attn.tasks.routed_modelling import RoutedModelling
from efficient_attn.training import Mean, StepOptions, TrainState, make_train_step

CONFIG = functools.partial(DecoderConfig, depth=2, width=24, heads=2)
MODELS = {
    "dense": CONFIG(),
    "patterns": CONFIG(attention=Sparse(patterns=("Causal() & Window(left=5)", "Causal()"))),
    "hashed": CONFIG(attention=LSH(chunk=4, rounds=2, layers=("lsh", "Causal() & NearChunks(8)"))),
    "experts": CONFIG(experts=Experts(number=4, group=16)),
}
# Rounding may move a vector to another bucket or a token to another expert, whose losses then differ by more than rounding.
WITHIN = {"dense": 1e-5, "patterns": 1e-5, "hashed": 1e-3, "experts": 1e-3}
MESHES = {
    "rows": Mesh(data=8),
    "rows and parameters": Mesh(data=8, fsdp=True),
    "rows, experts and heads": Mesh(data=2, expert=2, model=2, fsdp=True),
}


@functools.cache
def losses(model: str, mesh: Mesh, count: int = 20) -> list[float]:
    """The losses of the first steps over the devices of ``mesh``."""
    config, optimizer = MODELS[model], optax.adam(1e-3)
    form = decoder_of(config)
    routed = (RoutedModelling, (config,)) if config.experts else (LanguageModelling, ())
    objective = routed[0](form, 0.0, Mean, *routed[1])
    placement = mesh.placement(jax.devices()[: mesh.data * mesh.expert * mesh.model])
    state = TrainState.create(form.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = make_train_step(objective, optimizer, StepOptions(), placement, state)
    draw, found = np.random.default_rng(0), []
    with jax.set_mesh(placement.mesh):
        for _ in range(count):
            tokens = (draw.integers(0, 256, (8, 1)) + 3 * np.arange(37)).astype(np.int32) % 256
            valid = np.arange(37)[None, :] < draw.integers(1, 38, (8, 1))
            state, metrics = step(state, {"tokens": tokens, "valid": valid})
            found.append(float(metrics["loss"]))
    return found


# Each of these compiles for seconds: a model alone for each mesh, and all models where every axis is split.
PAIRS = [
    pytest.param(
        model, mesh, marks=() if model == "patterns" or mesh == "rows, experts and heads" else pytest.mark.slow
    )
    for model in MODELS
    for mesh in MESHES
]


@pytest.mark.parametrize(("model", "mesh"), PAIRS)
def test_eight_devices_give_the_losses_of_one(model, mesh):
    if len(jax.devices()) < 8:
        pytest.fail("the tests run on eight virtual devices")
    one = losses(model, Mesh(data=1))
    assert one[-1] < one[0]
    np.testing.assert_allclose(losses(model, MESHES[mesh]), one, rtol=WITHIN[model])


def specs(mesh: Mesh, **changes):
    return parameter_specs(decoder_of(CONFIG(**changes)).shapes(), mesh.placement().mesh, mesh.fsdp)


@pytest.mark.fast
def test_parameters_lie_over_the_axes_of_their_dimensions():
    found = specs(Mesh(data=2, expert=2, model=2, fsdp=True), experts=Experts(number=4))
    attention, (plain, mixed) = found["stack"]["cycle"][0]["attention"], (found["stack"]["cycle"][i] for i in (0, 1))
    assert attention["query"]["kernel"] == jax.P(None, "data", "model")
    assert attention["output"]["kernel"] == jax.P(None, "model", "data")
    assert plain["feedforward"]["expand"]["kernel"] == jax.P(None, "data", "model")
    assert mixed["feedforward"]["contract"]["kernel"] == jax.P(None, "expert", "model", "data")
    assert found["embedding"]["tokens"] == jax.P("model", "data")
    assert found["final_norm"]["scale"] == jax.P(None)
    without = specs(Mesh(data=4, model=2))
    assert without["stack"]["cycle"][0]["feedforward"]["expand"]["kernel"] == jax.P(None, None, "model")


@pytest.mark.fast
def test_experts_and_features_that_do_not_divide_are_refused():
    with pytest.raises(
        ValueError, match=r"dimension E of .*contract/kernel, 3, does not divide among 2 devices of mesh axis expert"
    ):
        specs(Mesh(data=4, expert=2), experts=Experts(number=3))
    with pytest.raises(ValueError, match=r"dimension F of .*, 97, does not divide among 2 devices of mesh axis model"):
        specs(Mesh(data=4, model=2), ff_width=97)
    assert specs(Mesh(data=4, model=2), vocab=257)["embedding"]["head"] == jax.P(None, None)
