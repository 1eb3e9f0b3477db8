"""Standard deviations of the initialisations against the formulas of the paper and of its code."""

import math

import jax
import pytest

from efficient_attn.nn.initializers import Initialization

pytestmark = pytest.mark.fast

WIDTH, HIDDEN, DEPTH, TABLES, HEAD = 64, 256, 18, 3, 8

EXPECTED = {
    ("code", "weight"): math.sqrt(0.125 / WIDTH),
    ("code", "residual"): math.sqrt(0.125 * 0.5 / (HIDDEN * DEPTH)),
    ("code", "token"): 0.013,
    ("code", "position"): 0.007 / math.sqrt(TABLES),
    ("paper", "weight"): 0.125 / math.sqrt(WIDTH),
    ("paper", "residual"): 0.125 / math.sqrt(HIDDEN) / math.sqrt(2 * DEPTH),
    ("paper", "token"): 0.125 / math.sqrt(WIDTH),
    ("paper", "position"): 0.125 / math.sqrt(WIDTH * TABLES),
    ("unit", "weight"): math.sqrt(0.125 / WIDTH),
    ("unit", "residual"): math.sqrt(0.125 * 0.5 / (HIDDEN * DEPTH)),
    ("unit", "token"): 1.0,
    ("unit", "position"): 0.007 / math.sqrt(TABLES),
    ("t5", "weight"): WIDTH**-0.5,
    ("t5", "query"): (WIDTH * HEAD) ** -0.5,
    ("unit", "query"): math.sqrt(0.125 / WIDTH),
    ("t5", "residual"): HIDDEN**-0.5,
    ("t5", "token"): 1.0,
    ("t5", "position"): (WIDTH * TABLES) ** -0.5,
}


@pytest.mark.parametrize(("scheme", "name"), EXPECTED)
def test_standard_deviation(scheme, name):
    arguments = {"weight": (WIDTH,), "residual": (HIDDEN,), "token": (WIDTH,), "position": (WIDTH, TABLES)}
    arguments |= {"query": (WIDTH, HEAD)}
    initializer = getattr(Initialization(scheme, DEPTH), name)(*arguments[name])
    values = initializer(jax.random.key(0), (400, 500))
    assert float(values.std()) == pytest.approx(EXPECTED[scheme, name], rel=0.01)
    assert abs(float(values.mean())) < 0.01 * EXPECTED[scheme, name]
