"""Eight devices give the numbers of one, and arrays lie where the specs say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.training import Placement, TrainState, make_mesh

from . import toy

TRAINER = Path(__file__).with_name("toy.py")
ROOT = Path(__file__).parents[2]


def train_elsewhere(workdir, devices=8, **changes):
    """Runs the toy in a process with ``devices`` virtual CPU devices; returns its JSON line."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(TRAINER), str(workdir), json.dumps(changes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["devices"] == devices
    return result


def test_eight_devices_give_the_losses_and_parameters_of_one(tmp_path):
    one = training.fit(toy.program(), toy.options(5), tmp_path / "one")
    eight = train_elsewhere(tmp_path / "eight", steps=5)
    before, after = toy.losses(tmp_path / "one"), toy.losses(tmp_path / "eight")
    assert list(before) == list(after) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(list(after.values()), list(before.values()), rtol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(one.params), eight["params"], strict=True):
        np.testing.assert_allclose(np.ravel(ours), theirs, atol=1e-6)


def test_a_checkpoint_of_one_device_goes_on_on_eight(tmp_path):
    straight = training.fit(toy.program(), toy.options(10), tmp_path / "straight")
    training.fit(toy.program(), toy.options(5), tmp_path / "moved")
    moved = train_elsewhere(tmp_path / "moved", steps=10)
    assert list(toy.losses(tmp_path / "moved")) == list(range(1, 11))
    for ours, theirs in zip(jax.tree.leaves(straight.params), moved["params"], strict=True):
        np.testing.assert_allclose(np.ravel(ours), theirs, atol=2e-6)


SHARDED = """
import jax, numpy as np
from efficient_attn import training
import toy
specs = lambda shapes: {"first": {"kernel": jax.P(None, None), "bias": jax.P()}, "second": {"kernel": jax.P()}} | {
    "table": {"kernel": jax.P("model", None)}}
placement = training.Placement(mesh=training.make_mesh(model=2), params=specs)
params = lambda key: toy.params(key) | {"table": {"kernel": jax.numpy.ones((6, 4))}}
class Objective(toy.Regression):
    def __call__(self, params, batch, key, carry):
        terms, carry = super().__call__(params, batch, key, carry)
        table = params["table"]["kernel"]
        assert jax.sharding.get_abstract_mesh().shape["data"] == 4
        squares = terms["squares"]
        return terms | {"squares": training.Mean(squares.sum + (table ** 2).sum(), squares.count)}, carry
state = training.fit(toy.program(objective=Objective(), params=params, placement=placement), toy.options(3), "WORKDIR")
assert state.params["table"]["kernel"].sharding.spec == jax.P("model", None), state.params["table"]["kernel"].sharding
adam = [x for x in jax.tree.leaves(state.opt_state) if x.shape == (6, 4)]
assert len(adam) == 2 and all(x.sharding.shard_shape(x.shape) == (3, 4) for x in adam)
assert state.ema["table"]["kernel"].sharding.shard_shape((6, 4)) == (3, 4)
assert state.carry["memory"].sharding.shard_shape((16, 7)) == (4, 7)
"""


def test_optimizer_state_average_and_carry_lie_beside_their_parameters(tmp_path):
    flags = "--xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(ROOT), str(TRAINER.parent)])
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    code = SHARDED.replace("WORKDIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_mesh_axes_have_their_names_and_fill_the_devices():
    mesh = make_mesh(devices=jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "expert": 1, "model": 1, "sequence": 1}


@pytest.mark.fast
def test_a_process_without_rows_of_its_own_is_refused(monkeypatch):
    placement = Placement(mesh=make_mesh(data=4, model=2, devices=jax.devices()[:8]))
    batch = {"tokens": np.zeros((8, 3), np.int32)}
    placement.check_batch(batch, 2)
    monkeypatch.setattr(jax, "process_count", lambda: 8)
    with pytest.raises(ValueError, match="each of 8 processes feeds whole rows of its own"):
        placement.check_batch(batch, 2)


@pytest.mark.parametrize("optimizer", [training.AdamW(weight_decay=0.1), training.Adafactor(), training.Adagrad()])
def test_every_optimizer_state_gets_a_sharding(optimizer):
    built = training.chain(optimizer.build(lambda _: jnp.float32(0.1)), clip_norm=1.0, constraint=lambda p: p)
    state = TrainState.create({"w": jnp.ones((200, 300))}, built, jax.random.key(0))
    placement = Placement(mesh=make_mesh(devices=jax.devices()[:1]), params={"w": jax.P("model", None)})
    shardings = placement.state(state, built)
    chex.assert_trees_all_equal_structs(state, shardings)
    wanted = [x.shape == (200, 300) for x in jax.tree.leaves(state.opt_state)]
    assert [s.spec == jax.P("model", None) for s in jax.tree.leaves(shardings.opt_state)] == wanted


def test_factored_moments_of_experts_lie_where_the_experts_lie():
    built = training.Adafactor(min_factored=3).build(lambda _: jnp.float32(0.1))
    state = TrainState.create({"w": jnp.ones((2, 4, 3, 5))}, built, jax.random.key(0))
    placement = Placement(
        mesh=make_mesh(devices=jax.devices()[:1]), params={"w": jax.P(None, "expert", "data", "model")}
    )
    moments = placement.state(state, built).opt_state[0]
    assert moments.rows["w"].spec == moments.columns["w"].spec == jax.P(None, "expert")
