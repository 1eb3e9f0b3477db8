"""What an implementation does not do it refuses, with the reason: nothing falls back silently."""

import numpy as np
import pytest
from conformance_cases import HEADS, LENGTH, REFUSED, draw, inputs

from efficient_attn import RelativeBias, attend
from efficient_attn import patterns as P

ARGUMENTS = {
    "positions": {"query_positions": np.arange(LENGTH)},
    "relative bias": {"bias": RelativeBias(draw(8, HEADS, 17))},
}


@pytest.mark.parametrize(
    ("implementation", "option"), [(name, option) for name, options in REFUSED.items() for option in options]
)
def test_what_is_refused_is_said(implementation, option):
    words = {"positions": "positions", "relative bias": "RelativeBias"}[option]
    with pytest.raises(NotImplementedError, match=words):
        attend(**inputs(), pattern=P.Causal(), implementation=implementation, **ARGUMENTS[option])
