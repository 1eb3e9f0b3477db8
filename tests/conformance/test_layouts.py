"""Patterns that are run in parts, each in a token order of its own, mean what the oracle says they mean."""

import numpy as np
import pytest
from conformance_cases import ORACLE, TESTED, answers, assert_close, inputs

from efficient_attn import patterns as P
from efficient_attn.patterns.layout import layout

# No multiple of a stride, and long enough for reordering to pay.
LENGTH = 523

LAID_OUT = {
    "strided": P.Causal() & (P.Window(left=31) | P.Strided(32)),
    "strided both ways": P.Window(5, 9) | P.Strided(40),
    "dilated": P.Dilated(left=20, right=10, dilation=24),
    "fixed": P.Causal() & P.Fixed(stride=64, summary=4, group=1),
    "fixed both ways": P.Fixed(stride=64, summary=4),
    "some empty rows": P.Causal() & P.Strided(32) & ~P.Window(left=40),
    "per head": P.PerHead([P.Causal() & P.Strided(32), P.Causal(), P.Causal() & P.Fixed(stride=64, summary=4)]),
}


each_implementation = pytest.mark.parametrize("implementation", TESTED)


def assert_oracles(implementation, pattern, arrays, **shape):
    differentiable = inputs(LENGTH, **shape)
    got, expected = (answers(which, pattern, differentiable, arrays) for which in (implementation, ORACLE))
    assert_close(got, expected)


@each_implementation
@pytest.mark.parametrize("name", LAID_OUT)
def test_alone(implementation, name):
    pattern = LAID_OUT[name]
    distinct = pattern.patterns if isinstance(pattern, P.PerHead) else (pattern,)
    assert any(part.stride > 1 for p in distinct for part in layout(p, LENGTH))
    assert_oracles(implementation, pattern, {})


@each_implementation
@pytest.mark.parametrize("name", ["strided", "fixed both ways"])
def test_with_grouped_heads_a_mask_and_segments(implementation, name):
    mask = np.random.default_rng(0).random((2, LENGTH)) < 0.8
    segments = np.sort(np.random.default_rng(1).integers(0, 4, (2, LENGTH)), axis=1)
    arrays = {"key_mask": mask, "segment_ids": segments}
    assert_oracles(implementation, LAID_OUT[name], arrays, heads=6, key_heads=2)
