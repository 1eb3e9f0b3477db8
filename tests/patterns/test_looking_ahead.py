"""Whether a pattern sees what comes after."""

import numpy as np
import pytest

from efficient_attn.patterns.expression import parse
from efficient_attn.patterns.local import looks_ahead

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "ahead"),
    [
        ("Causal()", False),
        ("Full()", True),
        ("Window(left=3)", False),
        ("Window(left=3, right=1)", True),
        ("Causal() & (Strided(4) | Window(left=3))", False),
        ("Causal() & ~Window(left=1)", False),
        ("Causal() | Prefix(3)", True),
        ("Strided(4)", True),
        ("Strided(16)", False),
    ],
)
def test_some_query_sees_a_later_key(text, ahead):
    pattern = parse(text)
    assert looks_ahead(pattern, 16) == ahead
    assert np.triu(pattern.dense(16, 16), 1).any() == ahead
