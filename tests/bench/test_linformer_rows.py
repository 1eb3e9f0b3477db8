"""What ``bench linformer`` compares: the same layers by other means."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from efficient_attn.bench import linformer
from efficient_attn.nn.encoder_attention import EncoderAttention
from efficient_attn.nn.initializers import Initialization
from efficient_attn.patterns.algebra import Full
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast


def test_attention_with_all_scores_in_memory_is_the_same():
    make = lambda kind: kind(  # noqa: E731
        12, 3, Initialization("unit", 1), Precision(), pattern=Full(), dropout=0.0, rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(0), (2, 7, 12))
    np.testing.assert_allclose(make(linformer.SoftmaxAttention)(x), make(EncoderAttention)(x), atol=1e-6)


def test_what_is_saved():
    base, row = linformer.Row("dense", 512, 30.0, 8.0), linformer.Row("Linformer", 512, 10.0, 4.0)
    assert row.saved(base) == "3.0 / 2.0"
    assert row.saved(dataclasses.replace(base, ms=None)) == "- / 2.0"
    assert row.saved(row) == row.saved(None) == ""


def test_what_a_machine_cannot_run_is_compiled_and_says_so(monkeypatch):
    monkeypatch.setattr(linformer, "MACHINE_GIB", 0.001)
    row = linformer.linformer(256, 128)
    assert row.ms is None
    assert row.time() == f"compiled only: needs {row.mib / 1024:.1f} GiB"
    assert dataclasses.replace(row, ms=12.34).time() == "12.3"
