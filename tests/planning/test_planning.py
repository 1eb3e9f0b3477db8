"""The planner: operations and collectives counted as often as loops run them, and a step that fits or does not."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from efficient_attn.commands import plan as plan_command
from efficient_attn.experiment import load_config
from efficient_attn.planning import plan, topology
from efficient_attn.planning.collectives import Sent, collectives
from efficient_attn.planning.flops import product_flops
from efficient_attn.planning.planner import remedies
from efficient_attn.planning.programs import rows_of
from efficient_attn.recipe import Mesh

ROOT = Path(__file__).parents[2]


@pytest.mark.fast
def test_a_loop_counts_as_often_as_it_runs():
    def program(x, w):
        return jax.lax.scan(lambda x, w: (jax.nn.relu(x @ w), None), x, w)[0].sum()

    x, w = jnp.ones((3, 5)), jnp.ones((7, 5, 5))
    assert product_flops(jax.make_jaxpr(program)(x, w)) == 7 * 2 * 3 * 5 * 5
    # The gradient by x and by w takes two products more.
    assert product_flops(jax.make_jaxpr(jax.grad(program, (0, 1)))(x, w)) == 3 * 7 * 2 * 3 * 5 * 5
    # Under a checkpoint the forward products are computed twice, but for the last, whose result nothing needs.
    again = jax.make_jaxpr(jax.grad(jax.checkpoint(program), (0, 1)))(x, w)
    assert product_flops(again) == 4 * 7 * 2 * 3 * 5 * 5


@pytest.mark.fast
def test_a_mapped_program_counts_on_every_device():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4], axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.P("data")
    mapped = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=spec, out_specs=spec)
    assert product_flops(jax.make_jaxpr(mapped)(jnp.ones((8, 5)))) == 4 * 2 * 2 * 2 * 5


def test_collectives_of_a_loop():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4], axis_types=(jax.sharding.AxisType.Auto,))

    def summed(x):
        looped, _ = jax.lax.scan(lambda x, _: (jnp.tanh(jax.lax.psum(x, "data")), None), x, None, length=9)
        return jax.lax.ppermute(looped, "data", [(0, 1)])

    mapped = jax.shard_map(summed, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"), check_vma=False)
    text = jax.jit(mapped).lower(jnp.ones((8, 5))).compile().as_text()
    assert collectives(text) == {"all-reduce": Sent(9, 9 * 2 * 5 * 4), "collective-permute": Sent(1, 2 * 5 * 4)}


# A collective that a TPU does a piece at a time beside computations, in whose text it is again.
_IN_PIECES = """
%begun {
  %gathered.1 = s32[1,64]{1,0} all-gather(%p.1), channel_id=3, dimensions={1}
  ROOT %all = (s32[1,64]{1,0}, u32[]) custom-call(%gathered.1), custom_call_target="AsyncCollectiveStart"
}

%beside {
  %gathered.2 = s32[1,64]{1,0} all-gather(%p.2), channel_id=3, dimensions={1}
}

ENTRY %main {
  %a = (s32[1,64]{1,0}, u32[]) fusion(%x), calls=%begun
  %b = s32[1,64]{1,0} fusion(%a), calls=%beside
  %c = f32[5]{0} all-gather(%y), channel_id=4, dimensions={0}
}
"""


@pytest.mark.fast
def test_a_collective_in_pieces_is_one():
    assert collectives(_IN_PIECES) == {"all-gather": Sent(2, 4 * 64 + 4 * 5)}


@pytest.mark.fast
def test_remedies_are_tried_together():
    config = dataclasses.replace(load_config(str(ROOT / "configs/quickstart.py")), batch_size=4)
    changes, configs = zip(*remedies(config), strict=True)
    assert changes == ("remat='block'", "mesh.fsdp=True", "accumulation=2", "accumulation=4")
    assert (configs[-1].model.remat, configs[-1].mesh.fsdp, configs[-1].accumulation) == ("block", True, 4)
    assert [change for change, _ in remedies(config, "decode")] == ["mesh.fsdp=True"]


@pytest.mark.fast
@pytest.mark.parametrize(
    "name",
    ["quickstart", "small_mpnet", "small_linformer", "small_image_gpt_digits.py:bert", "small_translation", "small_t5"],
)
def test_every_way_of_reading_has_a_batch(name):
    config = load_config(str(ROOT / "configs" / (name if ":" in name else name + ".py")))
    batch = rows_of(config.reading.blank(), config.batch_size)
    assert batch["source" if "source" in batch else "tokens"].shape == (config.batch_size, config.context)
    loss, _ = jax.eval_shape(config.reading.program()["objective"], config.form.shapes(), batch, jax.random.key(0), ())
    assert loss
    assert all(changed.model != config.model for _, changed in remedies(config))


@pytest.mark.fast
@pytest.mark.parametrize("name", ["v5e", "v1:2x2", "4x4"])
def test_a_topology_that_there_is_not(name):
    with pytest.raises(ValueError, match="a topology is one of v5e, v5p, v6e and its shape"):
        topology(name)


@pytest.mark.fast
def test_meshes_as_written():
    assert plan_command.read_mesh("data=16,model=2") == Mesh(data=16, model=2)
    assert plan_command.read_mesh("fsdp=True, expert=4") == Mesh(fsdp=True, expert=4)
    for bad in ("model", "modle=2", "model=two", "fsdp=1", "model=True", ""):
        with pytest.raises(ValueError, match="a mesh is written as data=16,model=2"):
            plan_command.read_mesh(bad)


def planned(*flags):
    command = [sys.executable, "-m", "efficient_attn", "plan", "configs/quickstart.py", "--topology", "v5e:2x4"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [*command, "--batch-size", "8", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu"
)


@needs_compiler
def test_the_quickstart_on_eight_chips():
    report = planned("--mesh.model", "2", "--mesh.fsdp")
    assert report["chips"] == 8
    assert report["optimizer"] == pytest.approx(2 * report["parameters"], rel=0.01)
    assert {"all-gather", "all-reduce"} <= set(report["collectives"])
    assert report["total"] == sum(
        report[n] for n in ("parameters", "optimizer", "caches", "rest", "temporaries", "code")
    )


@needs_compiler
@pytest.mark.slow
def test_a_sweep_has_a_report_for_each_mesh_that_can_be():
    reports = planned("--sweep", "data=8", "model=2,fsdp=True", "data=3")
    assert [report["mesh"]["model"] for report in reports] == [1, 2]
    assert reports[1]["parameters"] < reports[0]["parameters"]


@needs_compiler
@pytest.mark.slow
def test_an_encoder_decoder_sends_rows_to_experts_and_gathers_nothing():
    config = load_config(str(ROOT / "configs/gshard_12e9.py"))
    experts = dataclasses.replace(config.model.experts, number=8, group=128)
    small = {"width": 128, "ff_width": 256, "heads": 2, "vocab": 512, "encoder_depth": 2, "decoder_depth": 2}
    model = dataclasses.replace(config.model, experts=experts, **small)
    config = dataclasses.replace(config, model=model, context=128, batch_size=8, mesh=Mesh(expert=8))
    found = plan(config, *topology("v5p:2x2x2"))
    assert set(found.sent) == {"all-to-all", "all-reduce"}
    # There and back for each of two mixtures: forward, again where blocks are recomputed, and their gradients.
    assert found.sent["all-to-all"].count == 2 * 6
    # An expert of each mixture on every chip, and all the rest.
    sizes = jax.tree.leaves(config.form.shapes())
    split = sum(x.size for x in sizes if x.ndim == 4)
    assert found.parameters == 4 * (sum(x.size for x in sizes) - split + split // 8)
