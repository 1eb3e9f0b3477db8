"""The trainer's step gives the losses of one device over eight, however rows, tokens, experts, heads and parameters are split."""

import functools

import jax
import numpy as np
import optax
import pytest
from chosen_routes import watched

from efficient_attn.models import (
    LSH,
    AdaptivelySparse,
    BlockLinformer,
    DecoderConfig,
    Experts,
    Sparse,
    Synthesizer,
    decoder_of,
)
from efficient_attn.models.dimensions import parameter_specs
from efficient_attn.recipe import Mesh
from efficient_attn.tasks import LanguageModelling
from efficient_attn.tasks.language_modelling import token_losses
from efficient_attn.tasks.routed_modelling import RoutedModelling
from efficient_attn.training import Mean, StepOptions, TrainState, make_train_step
from efficient_attn.training.objective import total

CONFIG = functools.partial(DecoderConfig, depth=2, width=24, heads=2)
MODELS = {
    "dense": CONFIG(),
    "patterns": CONFIG(attention=Sparse(patterns=("Causal() & Window(left=5)", "Causal()"))),
    "hashed": CONFIG(attention=LSH(chunk=4, rounds=2, layers=("lsh", "Causal() & NearChunks(8)"))),
    "one layer": CONFIG(depth=1, attention=Sparse(patterns=("Causal() & Window(left=5)",))),
    "one hashed layer": CONFIG(
        depth=1,
        heads=4,
        attention=LSH(chunk=4, rounds=2),
        residual="reversible",
        logits="untied",
        ff_stretch=4,
        logits_stretch=4,
    ),
    "four hashed heads": CONFIG(heads=4, attention=LSH(chunk=4, rounds=2, layers=("lsh", "Causal() & NearChunks(8)"))),
    "blocks and slots": CONFIG(depth=1, attention=BlockLinformer(block=6, slots=2, sharing="none")),
    "experts": CONFIG(experts=Experts(number=4, group=16)),
    # So few that a device's tokens of a row are whole groups, where the row of them above ends in padding.
    "experts of few tokens": CONFIG(experts=Experts(number=4, group=5)),
    "experts without room": CONFIG(experts=Experts(number=4, group=5, capacity="dropless")),
}
# Rounding may move a vector to another bucket or a token to another expert, whose losses then differ by more than rounding.
FREE = ("hashed", "experts")
MESHES = {
    "rows": Mesh(data=8),
    "rows and parameters": Mesh(data=8, fsdp=True),
    "rows, experts and heads": Mesh(data=2, expert=2, model=2, fsdp=True),
}


def objective_of(model: str):
    """The model's form and what it learns."""
    config = MODELS[model]
    form = decoder_of(config)
    routed = (RoutedModelling, (config,)) if config.experts else (LanguageModelling, ())
    return form, routed[0](form, 0.0, Mean, *routed[1])


def batch_of(draw: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    tokens = (draw.integers(0, 256, (8, 1)) + 3 * np.arange(length)).astype(np.int32) % 256
    return {"tokens": tokens, "valid": np.arange(length)[None, :] < draw.integers(1, length + 1, (8, 1))}


@functools.cache
def followed(model: str, mesh: Mesh, given: bool = False) -> tuple[list[float], np.ndarray]:
    """Losses, and what hashes and routers chose in each of the steps."""
    seen: list[np.ndarray] = []
    with watched(given, seen):
        found = losses(model, mesh)
        jax.effects_barrier()
    return found, np.stack(seen)


def losses(model: str, mesh: Mesh, length: int = 37, count: int = 20) -> list[float]:
    """The losses of the first steps over the devices of ``mesh``, on rows of ``length`` tokens."""
    (form, objective), optimizer = objective_of(model), optax.adam(1e-3)
    placement = mesh.placement(jax.devices()[: mesh.data * mesh.expert * mesh.model * mesh.sequence])
    state = TrainState.create(form.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = make_train_step(objective, optimizer, StepOptions(), placement, state)
    draw, found = np.random.default_rng(0), []
    with jax.set_mesh(placement.mesh):
        for _ in range(count):
            state, metrics = step(state, batch_of(draw, length))
            found.append(float(metrics["loss"]))
    return found


# Each of these compiles for seconds: a model alone for each mesh, and all models where every axis is split.
PAIRS = [
    pytest.param(
        model, mesh, marks=() if model == "patterns" or mesh == "rows, experts and heads" else pytest.mark.slow
    )
    for model in ("dense", "patterns")
    for mesh in MESHES
] + [("blocks and slots", "rows, experts and heads")]
cached = functools.cache(losses)


@pytest.mark.parametrize(("model", "mesh"), PAIRS)
def test_eight_devices_give_the_losses_of_one(model, mesh):
    if len(jax.devices()) < 8:
        pytest.fail("the tests run on eight virtual devices")
    one = cached(model, Mesh(data=1))
    assert one[-1] < one[0]
    np.testing.assert_allclose(losses(model, MESHES[mesh]), one, rtol=1e-5)


@pytest.mark.parametrize(
    "mesh", [pytest.param(mesh, marks=() if mesh == "rows, experts and heads" else pytest.mark.slow) for mesh in MESHES]
)
@pytest.mark.parametrize("model", FREE)
def test_with_buckets_and_experts_given_eight_devices_give_the_losses_of_one(model, mesh):
    one, eight = followed(model, Mesh(data=1), given=True), followed(model, MESHES[mesh], given=True)
    np.testing.assert_array_equal(eight[1], one[1])
    assert len(np.unique(one[1])) > 3
    np.testing.assert_allclose(eight[0], one[0], rtol=1e-5)


@pytest.mark.parametrize(
    "mesh", [pytest.param(mesh, marks=() if mesh == "rows, experts and heads" else pytest.mark.slow) for mesh in MESHES]
)
@pytest.mark.parametrize("model", FREE)
def test_where_they_are_chosen_few_are_chosen_otherwise(model, mesh):
    one, eight = followed(model, Mesh(data=1)), followed(model, MESHES[mesh])
    np.testing.assert_allclose(eight[0], one[0], rtol=1e-3)
    assert len(one[1]) == len(eight[1]) == 20
    flips = int(np.sum(one[1] != eight[1]))
    print(f"{model}, {mesh}: {flips} of {one[1].size} chosen otherwise")
    assert flips < 1e-3 * one[1].size


SHARDED = {
    "tokens": Mesh(data=2, sequence=4),
    "tokens and heads": Mesh(data=2, sequence=2, model=2),
    "tokens and experts": Mesh(data=2, expert=2, sequence=2),
}


@pytest.mark.parametrize(
    ("model", "mesh"),
    [
        ("one layer", "tokens"),
        ("one hashed layer", "tokens"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("dense", "tokens"),
                ("patterns", "tokens"),
                ("one hashed layer", "tokens and heads"),
                ("four hashed heads", "tokens"),
                ("four hashed heads", "tokens and heads"),
                ("experts", "tokens and experts"),
                ("experts of few tokens", "tokens and experts"),
            )
        ),
    ],
)
def test_a_sharded_sequence_gives_the_losses_of_one_device(model, mesh):
    found = losses(model, SHARDED[mesh], length=40, count=5)
    np.testing.assert_allclose(found, cached(model, Mesh(data=1), length=40, count=5), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "mesh"),
    [
        *((model, "rows, experts and heads") for model in ("dense", "patterns", *FREE)),
        ("one hashed layer", "tokens"),
        ("four hashed heads", "tokens and heads"),
        ("experts", "tokens and experts"),
        ("experts of few tokens", "tokens and experts"),
        ("experts without room", "tokens and experts"),
    ],
)
def test_eight_devices_give_the_gradients_of_one(model, mesh):
    form, objective = objective_of(model)
    params, batch = form.init(jax.random.key(0)), batch_of(np.random.default_rng(0), 40)

    def gradients(mesh):
        placement = mesh.placement(jax.devices()[: mesh.data * mesh.expert * mesh.model * mesh.sequence])

        def loss(params, batch):
            terms = objective(params, batch, None, ())[0]
            return total(objective, *({name: term[part] for name, term in terms.items()} for part in (0, 1)))

        with jax.set_mesh(placement.mesh), watched(model in FREE, []):
            placed = jax.device_put(params, placement.parameters(params))
            return jax.jit(jax.grad(loss), in_shardings=(None, placement.batches()))(placed, batch)

    one, eight = gradients(Mesh(data=1)), gradients((MESHES | SHARDED)[mesh])
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5 * max(1.0, float(np.abs(a).max())))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("attention", "length", "said"),
    [
        (Sparse(), 37, "37 tokens do not divide among 4 devices of mesh axes sequence"),
        (LSH(chunk=4, rounds=2), 40, r"2 heads, each with the whole sequence, do not divide among 1 \* 4 devices"),
        (LSH(chunk=4, rounds=2), 38, "38 tokens do not divide among 4 devices of mesh axis sequence"),
        (AdaptivelySparse(), 40, "entmax attention needs whole sequences"),
        (BlockLinformer(block=8, slots=2), 40, "BlockLinformer attention needs whole sequences"),
        (Synthesizer(length=40), 40, "a Synthesizer needs whole sequences"),
    ],
    ids=["length", "hashed heads", "hashed length", "entmax", "blocks and slots", "synthesized"],
)
def test_what_a_sharded_sequence_cannot_be_is_said(attention, length, said):
    form = decoder_of(CONFIG(attention=attention))
    tokens = jax.ShapeDtypeStruct((2, length), np.int32)
    loss = lambda params, tokens: token_losses(form.module(params), tokens)  # noqa: E731
    with (
        jax.set_mesh(Mesh(data=2, sequence=4).placement().mesh),
        pytest.raises((ValueError, NotImplementedError), match=said),
    ):
        jax.eval_shape(loss, form.shapes(), tokens)


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
