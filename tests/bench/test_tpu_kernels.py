"""Reading a kernel's parts from the TPU compiler's schedule."""

import importlib.util

import pytest

from efficient_attn.bench.tpu_kernels import KERNELS, Bundles, Case, measure, parts
from efficient_attn.patterns.block_mask import block_costs
from efficient_attn.patterns.expression import parse


def schedule(*edges):
    """The lines of a schedule in which regions start and end at given addresses."""
    return "\n".join(f"{address:#6x}   : > {{ %1 = nop }} /* {what} */" for address, what in edges)


def test_the_innermost_long_regions_are_the_parts():
    text = schedule(
        (10, "Start region 1"),
        (20, "Start region 2"),
        (21, "Start region 3"),
        (120, "End region 3 :: Start region 4"),
        (319, "End region 4 :: Start region 5"),
        (618, "End region 5 :: Start region 6"),
        (630, "End region 6"),
        (640, "End region 2"),
        (709, "End region 1"),
    )
    assert parts(text) == Bundles(begin=100, full=200, partial=300, finish=0, turn=100)


def test_an_unknown_shape_is_an_error():
    with pytest.raises(RuntimeError, match="expected 2 to 4 parts"):
        parts(schedule((0, "Start region 1"), (500, "End region 1")))


def test_the_rate_counts_every_part_as_often_as_it_runs():
    # 4 rows of blocks: 6 full, 4 partial. A block of 512 takes 1,024 cycles of the matrix unit, forward.
    case = Case("Causal()", length=2048)
    bundles = Bundles(begin=100, full=1024, partial=2048, finish=50, turn=10)
    cycles = 6 * 1024 + 4 * 2048 + 4 * 150 + 10 * 10
    assert bundles.rate(case, "attention_forward") == pytest.approx(10 * 1024 / cycles)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu")
def test_the_kernels_keep_the_matrix_unit_busy():
    case = Case("Causal() & Window(left=1023)")
    found = dict(measure(case))
    assert found.keys() == KERNELS.keys()
    assert all(bundles.rate(case, kernel) >= 0.6 for kernel, bundles in found.items())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu")
@pytest.mark.parametrize(
    "pattern",
    [
        "Causal()",
        "Full()",
        "Causal() & Window(left=127)",
        "Causal() & Window(left=1023)",
        "Window(left=64, right=64) | Global([0])",
    ],
)
def test_block_sizes_cost_in_the_order_that_the_compiler_says(pattern):
    def compiled(block):
        case = Case(pattern, length=4096, block=block)
        return sum(bundles.cycles(case, kernel) for kernel, bundles in measure(case))

    costs = block_costs(parse(pattern), 4096, 4096)
    assert sorted(costs, key=costs.__getitem__) == sorted(costs, key=compiled)
