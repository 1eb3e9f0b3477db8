"""Layouts: the parts hold every pair once, and fewer pairs are computed where a pattern is strided, dilated or fixed."""

import numpy as np
import pytest

from efficient_attn import patterns as P
from efficient_attn.patterns.factorized import Columns
from efficient_attn.patterns.layout import layout, pairs_in_live_blocks
from efficient_attn.patterns.shifted import Shifted

pytestmark = pytest.mark.fast

LENGTH = 1031

SPLIT = {
    "strided": P.Causal() & (P.Window(left=31) | P.Strided(32)),
    "strided, wider window": P.Causal() & (P.Window(left=70) | P.Strided(32)),
    "strided both ways": P.Window(5, 9) | P.Strided(40),
    "strided alone": P.Causal() & P.Strided(16),
    "strides within strides": P.Causal() & P.Strided(12) & P.Strided(16),
    "dilated": P.Dilated(left=20, right=10, dilation=24),
    "dilated causal and window": P.Causal() & (P.Dilated(left=20, right=10, dilation=24) | P.Window(left=40)),
    "fixed": P.Causal() & P.Fixed(stride=64, summary=4),
    "fixed, second group": P.Causal() & P.Fixed(stride=60, summary=4, group=1),
    "fixed both ways": P.Fixed(stride=64, summary=4),
    "strided between shards": Shifted(P.Window(left=31), 64, 0) | P.Strided(32),
    "columns": Columns(64, 60, 64),
    "fixed and window": P.Causal() & (P.Fixed(stride=64, summary=4) | P.Window(left=20)),
}
WHOLE = {
    "causal": P.Causal(),
    "window": P.Causal() & P.Window(left=31),
    "global": P.Causal() & (P.Strided(32) | P.Global([3])),
    "not strided": P.Causal() & ~P.Strided(32),
    "two columns": P.Causal() & (P.Fixed(stride=64, summary=4) | P.Fixed(stride=32, summary=2)),
    "stride 1": P.Causal() & P.Strided(1),
}


def pairs_of(part):
    """The part's pairs by original position, as a count for each, over whole runs."""
    runs = -(-LENGTH // part.stride)
    positions = np.arange(runs * part.stride).reshape(runs, part.stride)
    count = np.zeros((runs * part.stride,) * 2, int)
    if part.columns is not None:
        keys = positions[:, slice(*part.columns)].ravel()
        count[np.ix_(np.arange(LENGTH), keys)] += part.pattern.dense(LENGTH, len(keys))
    else:
        for residue in positions.T:
            count[np.ix_(residue, residue)] += part.pattern.dense(runs, runs)
    return count[:LENGTH, :LENGTH]


@pytest.mark.parametrize("name", SPLIT)
def test_parts_hold_every_pair_once(name):
    parts = layout(SPLIT[name], LENGTH)
    assert any(part.stride > 1 for part in parts)
    np.testing.assert_array_equal(sum(map(pairs_of, parts)), SPLIT[name].dense(LENGTH, LENGTH))


@pytest.mark.parametrize("name", WHOLE)
def test_what_no_order_helps_stays_whole(name):
    (part,) = layout(WHOLE[name], LENGTH)
    assert (part.pattern, part.stride, part.columns) == (WHOLE[name], 1, None)


def test_strided_128_over_131072_tokens_computes_under_a_hundredth_of_the_blocks():
    length = 131_072
    parts = layout(P.Causal() & (P.Window(left=127) | P.Strided(128)), length)
    pairs = pairs_in_live_blocks(parts, length)
    assert [part.stride for part in parts] == [1, 128]
    assert pairs < 0.01 * length**2
