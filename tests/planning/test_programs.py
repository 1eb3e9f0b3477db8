"""What is planned is what runs: evaluation and decoding of every kind of experiment, of shapes alone."""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from efficient_attn.experiment import load_config
from efficient_attn.models import AdaptiveSpan
from efficient_attn.planning import plan, topology
from efficient_attn.planning.programs import program
from efficient_attn.recipe import Mesh

ROOT = Path(__file__).parents[2]


def config_of(name, **changes):
    config = load_config(str(ROOT / "configs" / (name if ":" in name else name + ".py")))
    return dataclasses.replace(config, batch_size=8, eval_batch_size=None, **changes)


def traced(step, config, span=None):
    placement = config.mesh.placement()
    found = program(step, config, placement, span)
    with jax.set_mesh(placement.mesh):
        return found, found.function.trace(*found.arguments)


def size(shapes):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))


EVALUATED = (
    "quickstart_moe.py:dropless",
    "small_mpnet",
    "small_image_gpt_digits.py:bert",
    "small_translation",
    "small_t5",
    "small_image_gpt_folders.py:tuned",
    "glue",
    "mpnet_squad",
)


@pytest.mark.parametrize("name", EVALUATED)
def test_every_way_of_reading_is_evaluated(name):
    config = config_of(name)
    found, trace = traced("evaluate", config)
    assert found.tokens == 8 * config.context and (found.optimizer, found.caches) == (0, 0)
    assert found.parameters == size(config.form.shapes())
    assert trace.out_info


@pytest.mark.parametrize("name", ["glue", "mpnet_squad", "longformer_qa", "small_image_gpt_folders.py:scratch"])
def test_fine_tuning_has_a_batch(name):
    config = config_of(name)
    batch = {n: jax.ShapeDtypeStruct((8, *x.shape[1:]), x.dtype) for n, x in config.reading.blank().items()}
    terms, _ = jax.eval_shape(config.reading.program()["objective"], config.form.shapes(), batch, jax.random.key(0), ())
    assert terms["loss"].sum.shape == ()


def test_a_token_is_drawn_over_the_caches_of_a_whole_context():
    config = config_of("quickstart", mesh=Mesh(model=2))
    found, trace = traced("decode", config)
    drawn, caches = trace.out_info
    assert drawn.shape == (8,) and drawn.dtype == np.int32
    whole = jax.eval_shape(
        lambda p: jax.tree.leaves(config.form.module(p).init_cache(8, config.context)), config.form.shapes()
    )
    assert [x.shape for x in caches] == [x.shape for x in whole]
    # Rows lie over four devices and heads over two; positions whole on each.
    positions = sum(x.size * 4 for x in whole if x.ndim < 3)
    assert found.caches == positions + (size(whole) - positions) // 8
    assert found.tokens == 8


@pytest.mark.parametrize("name", ["small_translation", "small_t5", "reformer_copy", "quickstart_moe.py:dropless"])
def test_what_else_writes(name):
    config = config_of(name)
    found, trace = traced("decode", config)
    assert trace.out_info[0].shape == (8,)
    caches = found.arguments[1]
    rows = [x for x in caches if x.ndim >= 3]
    assert rows and all(x.sharding.shard_shape(x.shape)[-3] == x.shape[-3] // 8 for x in rows)
    assert found.caches < size(caches) // 4


def test_segments_are_scored_with_a_memory_and_decoded_within_their_spans():
    config = config_of("small_adaptive_span")
    assert isinstance(config.model.attention, AdaptiveSpan)
    found, trace = traced("evaluate", config, span=16)
    assert found.dealt == 1 and trace.out_info[3]["layers"][0]["inputs"].shape[1] == 16
    short, long = (traced("decode", config, span=span)[0].caches for span in (16, 32))
    assert long > short


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("small_mpnet", {}, "only a decoder continues a text, got a model of type EncoderConfig"),
        ("small_image_gpt_digits.py:bert", {}, "cannot be drawn in turn"),
        ("small_image_gpt_folders.py:tuned", {}, "writes nothing: its steps are train and evaluate"),
        ("quickstart", {"mesh": Mesh(sequence=2)}, r"mesh\.sequence must be 1, got 2"),
    ],
)
def test_what_writes_nothing_is_said(name, changes, said):
    with pytest.raises(ValueError, match=said):
        traced("decode", config_of(name, **changes))


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu")
@pytest.mark.slow
def test_a_plan_of_each_step():
    config = config_of("quickstart_moe.py:dropless", mesh=Mesh(expert=2, model=2))
    found = {step: plan(config, *topology("v5e:2x4"), step=step) for step in ("train", "evaluate", "decode")}
    assert len({x.parameters for x in found.values()}) == 1
    assert [x.caches > 0 for x in found.values()] == [False, False, True]
    assert [x.optimizer > 0 for x in found.values()] == [True, False, False]
    assert found["train"].flops > 2 * found["evaluate"].flops > 100 * found["decode"].flops > 0
    assert "reduce-scatter" in found["train"].sent
