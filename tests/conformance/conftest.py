"""Pallas kernels are interpreted here: no test needs a TPU or a GPU."""

import pytest
from jax.experimental.pallas import tpu as pltpu

from efficient_attn.patterns import block_mask


@pytest.fixture(autouse=True)
def interpreted(request, monkeypatch):
    """Pallas' plain interpreter, whose arrays start as NaN, over blocks of 128, so that short sequences have several."""
    arguments = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if arguments.get("implementation") not in ("pallas_tpu", "pallas_gpu"):
        yield
        return
    monkeypatch.setattr(block_mask, "_BUNDLES", {128: (1, 1)})
    block_mask.best_block.cache_clear()
    with pltpu.force_tpu_interpret_mode(True):
        yield
    block_mask.best_block.cache_clear()


# Files that test what is around every implementation alike: XLA's runs them whole.
_AROUND = ("test_layouts", "test_positions", "test_transformations")


def pytest_collection_modifyitems(items):
    """Of these files an interpreted kernel takes the first case of each test; the others are slow, and run with the slow ones."""
    seen = set()
    for item in items:
        implementation = getattr(item, "callspec", None) and item.callspec.params.get("implementation")
        if item.path.stem not in _AROUND or implementation not in ("pallas_tpu", "pallas_gpu"):
            continue
        if (case := (item.function, implementation)) in seen:
            item.add_marker(pytest.mark.slow)
        seen.add(case)
