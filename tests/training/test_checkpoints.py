"""Checkpoints: what comes back, which stay, and what is said when storage fails."""

import errno
import gc
import subprocess
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from efficient_attn.training import (
    CheckpointError,
    Checkpoints,
    DynamicLossScale,
    Keep,
    Placement,
    TrainState,
    make_mesh,
)

from . import toy

PLACEMENT = Placement(mesh=make_mesh(devices=jax.devices()[:1]))


def state(seed=0, *, average=True, width=0):
    """Returns a placed state; ``width`` adds a large tensor whose bytes fill a file."""
    params = toy.params(jax.random.key(seed))
    if width:
        params["large"] = jax.random.normal(jax.random.key(seed), (width, width))
    made = TrainState.create(
        params,
        toy.optimizer(),
        jax.random.key(seed),
        carry=toy.memory(),
        average=average,
        loss_scale=DynamicLossScale(),
    )
    return PLACEMENT.put(made, toy.optimizer())


def largest_file(directory):
    return max((path for path in Path(directory).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("average", [True, False])
def test_everything_comes_back_bit_for_bit(tmp_path, average):
    saved = state(1, average=average)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, saved)
        checkpoints.wait()
        restored = checkpoints.restore(state(2, average=average))
    chex.assert_trees_all_equal(restored, saved)
    assert restored.params["first"]["kernel"].sharding == saved.params["first"]["kernel"].sharding


@pytest.mark.parametrize("average", [True, False])
def test_restore_params_gives_the_average_where_there_is_one(tmp_path, average):
    saved = state(1, average=average)
    if average:
        saved.ema["second"]["kernel"] = saved.ema["second"]["kernel"] + 1
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, saved)
        checkpoints.wait()
        chex.assert_trees_all_equal(checkpoints.restore_params(), saved.evaluated)
        one = jax.tree.leaves(saved.params)[0].sharding
        chex.assert_trees_all_equal(
            checkpoints.restore_params(3, lambda tree: jax.tree.map(lambda _: one, tree)), saved.evaluated
        )


def test_the_last_and_the_best_stay(tmp_path):
    keep = Keep(last=2, best=1, metric="accuracy", order="max")
    with Checkpoints(tmp_path, keep) as checkpoints:
        for step, accuracy in enumerate([0.1, 0.9, 0.3, 0.2, None]):
            checkpoints.save(step, state(), None if accuracy is None else {"accuracy": accuracy})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3, 4]
    with Checkpoints(tmp_path, keep) as checkpoints:
        checkpoints.save(5, state(), {"accuracy": 0.5})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 4, 5]


def test_config_fingerprint_and_versions_are_beside_the_arrays(tmp_path):
    with Checkpoints(tmp_path, metadata={"config": {"depth": 3}, "data": "abc"}) as checkpoints:
        checkpoints.save(1, state())
        checkpoints.wait()
        metadata = checkpoints.metadata()
    assert metadata["config"] == {"depth": 3} and metadata["data"] == "abc"
    assert metadata["versions"]["jax"] == jax.__version__


def test_a_partial_save_is_never_seen(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state())
        checkpoints.wait()
    (tmp_path / "2.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        chex.assert_trees_all_equal(checkpoints.restore(state(5)), state())
    assert not (tmp_path / "2.orbax-checkpoint-tmp").exists()


def test_there_is_no_pickle(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state())
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(content.startswith(b"\x80") and content.endswith(b".") for content in contents)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.fixture
def abandoned_reads():
    """Collects, inside the test that made them, the coroutines that Orbax leaves when a read fails."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("abandoned_reads")
@pytest.mark.parametrize(("damage", "said"), [(flip, "bits of"), (cut, "read"), (Path.unlink, "read")])
def test_a_damaged_checkpoint_is_one_error_that_names_the_good_one(tmp_path, damage, said):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (4, 8):
            checkpoints.save(step, state(step, width=300))
        checkpoints.wait()
        damage(largest_file(tmp_path / "8"))
        with pytest.raises(CheckpointError, match=r"checkpoint 8 .*" + said) as caught:
            checkpoints.restore(state(width=300))
        assert "Other complete checkpoints: [4]" in str(caught.value)
        assert f"remove {tmp_path / '8'}" in str(caught.value)
        chex.assert_trees_all_equal(checkpoints.restore(state(width=300), 4), state(4, width=300))


def test_another_model_is_refused_by_the_name_of_its_tensor(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state())
        checkpoints.wait()
        other = state()
        other.params["second"]["kernel"] = jnp.zeros((toy.HIDDEN, 2))
        other.ema["second"]["kernel"] = jnp.zeros((toy.HIDDEN, 2))
        with pytest.raises(CheckpointError, match=r"ema/second/kernel is float32\(7, 1\) in .* and float32\(7, 2\)"):
            checkpoints.restore(other)
        with pytest.raises(CheckpointError, match=r"ema/first/bias is .* in the checkpoint and absent"):
            checkpoints.restore(state(average=False))


def test_a_failed_write_is_raised_once_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch, capfd):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state())
        checkpoints.wait()

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ocp.training.Checkpointer, "save_checkpointables_async", full)
        with pytest.raises(CheckpointError, match=r"2 .* written .*No space left on device.*checkpoints: \[1\]"):
            checkpoints.save(2, state())
        chex.assert_trees_all_equal(checkpoints.restore(state(3)), state())
    assert capfd.readouterr().err.count("Traceback") == 0


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MiB, where the machine lets a test mount one."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs privileges")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk(small_disk, capfd):
    checkpoints = Checkpoints(small_disk)
    checkpoints.save(1, state())
    checkpoints.wait()
    with pytest.raises(CheckpointError, match=r"checkpoint 2 in .* could not be written .*checkpoints: \[1\]"):
        checkpoints.save(2, state(width=600))
        checkpoints.wait()
    with Checkpoints(small_disk) as again:
        assert again.steps() == [1]
        chex.assert_trees_all_equal(again.restore(state(3)), state())
    assert capfd.readouterr().err.count("Traceback") == 0


def test_the_checksum_is_exact_for_every_type():
    from efficient_attn.training.integrity import checksum

    tree = {
        "b": jnp.array([True, False, True]),
        "bf": jnp.array([1.0, 2.0], jnp.bfloat16),
        "f": jnp.array([np.nan, -0.0], jnp.float32),
        "i": jnp.array([-1, 1], jnp.int32),
        "u8": jnp.array([255, 1], jnp.uint8),
    }
    expected = [2, 0x3F80 + 0x4000, 0x7FC00000 + 0x80000000, 0, 256]
    np.testing.assert_array_equal(checksum(tree), np.array(expected, np.uint32))
