"""Packing keeps every document whole, or in whole pieces, and marks what is what."""

import hypothesis
import hypothesis.strategies as st
import numpy as np

from efficient_attn.data import pack

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=40).filter(any)


def unpacked(packed):
    """Every (row, segment) as a list of tokens."""
    for row, segments in enumerate(packed["segment_ids"]):
        for segment in range(1, segments.max() + 1):
            inside = segments == segment
            assert np.array_equal(packed["positions"][row][inside], np.arange(inside.sum()))
            assert packed["valid"][row][inside].all()
            yield packed["tokens"][row][inside].tolist()


@hypothesis.settings(deadline=None)
@hypothesis.given(lengths=LENGTHS, context=st.integers(1, 70))
def test_every_token_is_kept(lengths, context):
    numbers = iter(range(1, 10_000))
    documents = [np.array([next(numbers) for _ in range(length)], np.int32) for length in lengths]
    packed = pack(documents, context, long_documents="split")
    pieces = [d[i : i + context].tolist() for d in documents for i in range(0, len(d), context)]
    assert sorted(unpacked(packed)) == sorted(pieces)
    assert packed["valid"].sum() == sum(lengths)
    assert not packed["tokens"][~packed["valid"]].any()
    # No two rows could have been one.
    used = np.sort(packed["valid"].sum(axis=1))
    assert len(used) < 2 or used[0] + used[1] > context


def test_best_fit_by_hand():
    documents = [np.full(length, length, np.uint8) for length in (5, 6, 2, 3, 4)]
    packed = pack(documents, 8)
    assert packed["tokens"].tolist() == [[5, 5, 5, 5, 5, 3, 3, 3], [6, 6, 6, 6, 6, 6, 2, 2], [4, 4, 4, 4, 0, 0, 0, 0]]
    assert packed["segment_ids"][0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2]
    assert packed["positions"][0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert packed["valid"].dtype == bool
