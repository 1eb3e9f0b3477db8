"""The bench of the TPU kernels beside the public ones: what it counts, and that all compute the same attention."""

import importlib.util

import jax
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from efficient_attn import patterns as P
from efficient_attn.bench import kernels
from efficient_attn.bench.splash import Splash

WINDOW = P.Causal() & P.Window(left=1023)


def test_blocks_and_steps_are_counted_of_both():
    # Windows of 1,023 in blocks of 512: rows of 1, 2, 3 and 3 blocks; causal ones of 1, 2, 3 and 4.
    ours, theirs = (subject.work([WINDOW, P.Causal()], 2048) for subject in (kernels.Ours(), Splash()))
    assert (ours.steps, ours.live, ours.blocks) == (19, 19, 32)
    assert (theirs.live, theirs.blocks) == (19, 32)
    # Heads of different patterns step through all blocks.
    assert theirs.steps == 32


def test_both_compute_the_same_attention():
    given = [jax.random.normal(jax.random.key(n), (2, 256, 128)) for n in range(3)]
    given[0] = given[0] * 128**-0.5
    with pltpu.force_tpu_interpret_mode(True):
        ours, theirs = (x.kernel(WINDOW, 256, 2, 128)(*given) for x in (kernels.Ours(), Splash()))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_picture_has_all_subjects(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "mask_seconds", lambda subject, length: 1e-3)
    kernels.draw([kernels.Ours(), Splash()], tmp_path / "masks.png")
    assert (tmp_path / "masks.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu")
def test_what_the_compiler_says():
    found = dict(kernels.rows([kernels.Ours()]))
    assert found[f"causal, {kernels.LONGEST:,} tokens, v5e: forward, gradient"] == ["compiles, compiles"]
    (memory,) = (x for name, (x,) in found.items() if "temporaries" in name)
    assert float(memory) <= 140
    assert found["queries that see no key give"] == ["0"]
    assert float(found["error of the queries' gradient in bfloat16, over the dense one's"][0]) <= 1.1
