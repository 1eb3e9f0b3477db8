"""Random patterns, and the classification of blocks by brute force, for the tests of this folder."""

import dataclasses

import numpy as np
import pytest
from hypothesis import strategies as st

from efficient_attn import patterns as P
from efficient_attn.patterns.block_mask import EMPTY, FULL, PARTIAL

LONGEST = 89

# The type checker looks at a random element of every sequence that a pattern is given, which hypothesis warns of.
random_checks = pytest.mark.filterwarnings("ignore:Do not use the .random. module")


@dataclasses.dataclass(frozen=True)
class Unbounded(P.Pattern):
    """A user's pattern that has no ``bounds``: keys at a square distance."""

    most: int

    def allows(self, i, j):
        return (i - j) * (i - j) <= self.most


def count(least: int, most: int):
    return st.integers(least, most)


@st.composite
def fixed(draw):
    stride = draw(count(1, 40))
    summary = draw(count(1, stride))
    return P.Fixed(stride, summary, draw(count(0, stride // summary - 1)))


@st.composite
def block_random(draw):
    block = draw(count(1, 20))
    length = draw(count(1, LONGEST))
    blocks = -(-length // block)
    return P.BlockRandom(block, draw(count(1, min(3, blocks))), draw(count(0, 99)), length)


@st.composite
def given_blocks(draw):
    block, length = draw(count(1, 20)), draw(count(1, LONGEST))
    keys = st.lists(count(0, -(-length // block) - 1), max_size=3).map(tuple)
    blocks = -(-length // block)
    return P.GivenBlocks(block, draw(st.lists(keys, min_size=blocks, max_size=blocks).map(tuple)), length)


positions = st.lists(count(0, LONGEST - 1), min_size=1, max_size=4)

strips = st.one_of(st.builds(P.Causal), st.builds(P.Window, count(0, 40), count(0, 20)))
leaves = st.one_of(
    st.builds(P.Full),
    strips,
    st.builds(P.Dilated, count(0, 9), count(0, 9), count(1, 9)),
    st.builds(P.Strided, count(1, 40)),
    fixed(),
    st.builds(P.Chunk, count(1, 40)),
    st.builds(P.Prefix, count(0, 40)),
    st.builds(P.Global, positions),
    st.builds(lambda rows, columns: P.Global(queries=rows, keys=columns), positions, positions),
    block_random(),
    given_blocks(),
)
# Exact where nothing cuts a block, sound where something does.
near_chunks = st.builds(P.NearChunks, count(1, 20), count(0, 3), count(0, 3), count(0, 6))
compositions = st.recursive(
    st.one_of(leaves, near_chunks, st.builds(Unbounded, count(0, 400))),
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=5,
)
lengths = count(1, LONGEST)
blocks = count(1, 30)


def kinds_by_brute_force(pattern: P.Pattern, q_len: int, k_len: int, block: int) -> np.ndarray:
    """The kind of every block, from the dense mask."""
    dense = pattern.dense(q_len, k_len)
    kinds = np.empty((-(-q_len // block), -(-k_len // block)), np.uint8)
    for row, column in np.ndindex(*kinds.shape):
        tile = dense[row * block : (row + 1) * block, column * block : (column + 1) * block]
        kinds[row, column] = FULL if tile.all() else PARTIAL if tile.any() else EMPTY
    return kinds
