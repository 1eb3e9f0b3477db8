"""A pattern within a rectangle is that part of its mask, and says so shortly."""

import numpy as np
import pytest

from efficient_attn import patterns as P
from efficient_attn.patterns.factorized import Columns
from efficient_attn.patterns.shifted import Shifted, within

pytestmark = pytest.mark.fast

PATTERNS = {
    "causal": P.Causal(),
    "causal window": P.Causal() & P.Window(left=9),
    "strided": P.Causal() & (P.Window(left=7) | P.Strided(8)),
    "strided apart": P.Causal() & P.Strided(5),
    "fixed": P.Causal() & P.Fixed(stride=8, summary=2),
    "fixed apart": P.Fixed(stride=7, summary=2, group=1),
    "columns": Columns(5, 1, 3),
    "chunks": P.NearChunks(6, left=1, right=1),
    "ring of chunks": P.NearChunks(6, left=1, ring=8),
    "not": ~(P.Causal() & P.Chunk(12)),
    "global": P.Global([0, 30]) | P.Dilated(left=3, right=2, dilation=3),
    "per head": P.PerHead([P.Causal(), P.Window(left=3), P.Prefix(20) | P.Causal()]),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_part_is_that_part_of_the_mask(name):
    pattern = PATTERNS[name]
    whole = pattern.dense(48, 48)
    for query in (0, 16, 32):
        for key, keys in ((0, 16), (16, 16), (32, 16), (5, 11)):
            wanted = whole[..., query : query + 16, key : key + keys]
            found = within(pattern, (query, 16), (key, keys))
            if found is None:
                assert not wanted.any()
                continue
            np.testing.assert_array_equal(found.dense(16, keys), wanted)
            for mask, plan in zip(wanted.reshape(-1, 16, keys), _heads(found), strict=True):
                may, must = plan.bounds(P.Box.of(0, 15, 0, keys - 1))
                assert may or not mask.any()
                assert mask.all() or not must


def _heads(pattern):
    return pattern.patterns if isinstance(pattern, P.PerHead) else (pattern,)


def test_members_that_decide_nothing_are_left_out():
    near = P.Causal() & P.Window(left=9)
    assert within(near, (32, 16), (0, 16)) is None
    assert within(P.Causal(), (32, 16), (0, 16)) == P.Full()
    assert within(near, (32, 16), (16, 16)) == within(near, (16, 16), (0, 16)) == Shifted(P.Window(left=9), 16, 0)
    assert within(PATTERNS["strided"], (32, 16), (0, 16)) == P.Strided(8)
    assert within(PATTERNS["fixed"], (32, 16), (32, 16)) == PATTERNS["fixed"]
    assert (
        within(PATTERNS["fixed"], (32, 16), (16, 16))
        == within(PATTERNS["fixed"], (48, 16), (0, 16))
        == Columns(8, 6, 8)
    )
    assert within(P.Fixed(stride=8, summary=2), (32, 16), (20, 16)) == Shifted(P.Fixed(stride=8, summary=2), 16, 4)
