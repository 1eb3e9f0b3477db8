"""TPU kernels are interpreted here: no test needs a TPU."""

import pytest
from jax.experimental.pallas import tpu as pltpu

from efficient_attn.kernels.pallas_tpu import block_size


@pytest.fixture(autouse=True)
def interpreted(request, monkeypatch):
    """Runs Pallas' plain interpreter, whose arrays start as NaN, over blocks of 128, so that short sequences have several."""
    if request.node.callspec.params.get("implementation") != "pallas_tpu" if hasattr(request.node, "callspec") else True:
        yield
        return
    monkeypatch.setattr(block_size, "_BUNDLES", {128: 1})
    with pltpu.force_tpu_interpret_mode(True):
        yield
