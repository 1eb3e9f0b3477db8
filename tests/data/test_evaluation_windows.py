"""Every token of a stream is scored exactly once, whatever the protocol, and with the context that it promises."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from efficient_attn.data import (
    EvaluationWindows,
    TokenStream,
    evaluation_batches,
    side_by_side,
    with_minimum_context,
)

PROTOCOLS = st.integers(1, 40).flatmap(
    lambda context: st.builds(EvaluationWindows, context=st.just(context), scored=st.integers(1, context))
)


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(length=st.integers(1, 300), windows=PROTOCOLS)
def test_each_token_is_scored_once_and_in_context(length, windows):
    scored = np.zeros(length, int)
    for i in range(windows.count(length)):
        window = windows.window(i, length)
        assert 0 <= window.start <= window.scored_from < window.stop <= length
        assert window.stop - window.start <= windows.context
        assert i == 0 or window.scored_from - window.start == windows.context - windows.scored
        scored[window.scored_from : window.stop] += 1
    assert np.all(scored == 1)


def test_published_protocols():
    longformer = EvaluationWindows(context=32_256, scored=512)
    assert longformer.count(5_000_000) == 1 + -(-(5_000_000 - 32_256) // 512)
    second = longformer.window(1, 5_000_000)
    assert (second.start, second.scored_from, second.stop) == (512, 32_256, 32_768)
    assert with_minimum_context(12_288, 10_752) == EvaluationWindows(context=12_288, scored=1_536)
    assert side_by_side(1024).count(2049) == 3


@pytest.mark.parametrize("processes", [1, 2, 4])
@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(length=st.integers(1, 300), windows=PROTOCOLS, rows=st.integers(1, 3))
def test_batches_score_each_token_once(length, windows, rows, processes):
    stream = TokenStream(tokens=(np.arange(length) % 251).astype(np.uint8), description="made for a test")
    parts = [list(evaluation_batches(stream, windows, rows * processes, i, processes)) for i in range(processes)]
    assert len({len(part) for part in parts}) == 1
    # Batches in order, and within a batch the processes' rows in order.
    batches = [part[step] for step in range(len(parts[0])) for part in parts]
    assert all(batch["tokens"].shape == (rows, windows.context) for batch in batches)
    assert all(batch["tokens"].dtype == np.int32 and batch["valid"].dtype == bool for batch in batches)
    assert not any(np.any(batch["scored"] & ~batch["valid"]) for batch in batches)
    seen = np.concatenate([batch["tokens"][batch["scored"]] for batch in batches])
    assert np.array_equal(seen, stream.tokens)
