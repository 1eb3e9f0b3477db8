"""What ``bench sampling`` counts: a strided cache keeps what its pattern may still see, however long the sequence is."""

import pytest

from efficient_attn.bench import sampling

pytestmark = pytest.mark.fast


def test_the_caches_of_a_window_do_not_grow_and_those_of_all_tokens_do():
    window = [sampling.measure("window", ("Causal() & Window(left=7)",), n) for n in (64, 128)]
    assert [row.read for row in window] == [8, 8]
    assert window[0].mib == window[1].mib
    dense = [sampling.measure("dense", ("Causal()",), n) for n in (64, 128)]
    assert [row.read for row in dense] == [64, 128]
    assert dense[1].mib > 1.9 * dense[0].mib
    assert min(row.ms for row in (*window, *dense)) > 0
