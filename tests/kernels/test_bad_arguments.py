"""Whatever does not fit is refused before anything is traced, by a message that says what was expected and what came."""

import jax
import jaxtyping
import numpy as np
import pytest

from efficient_attn import RelativeBias, attend
from efficient_attn import patterns as P

T, S = 7, 11
KEY = jax.random.key(0)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


GOOD = {"query": zeros(2, T, 6, 5), "key": zeros(2, T, 3, 5), "value": zeros(2, T, 3, 13), "pattern": P.Causal()}
CROSS = GOOD | {"key": zeros(2, S, 3, 5), "value": zeros(2, S, 3, 13)}

BAD = {
    "query is no array": (GOOD, {"query": [[1.0]]}, "query must be an array, got list"),
    "query of 3 axes": (GOOD, {"query": zeros(T, 6, 5)}, "query must have 4 axes"),
    "value of 5 axes": (GOOD, {"value": zeros(1, 2, T, 3, 13)}, "value must have 4 axes"),
    "integers": (GOOD, {"key": zeros(2, T, 3, 5, dtype=np.int32)}, "key must hold floating-point numbers, got int32"),
    "no tokens": (GOOD, {"query": zeros(2, 0, 6, 5)}, "query must not be empty"),
    "key and value": (GOOD, {"value": zeros(2, S, 3, 13)}, "key and value must agree"),
    "value heads": (GOOD, {"value": zeros(2, T, 2, 13)}, "key and value must agree"),
    "batch": (GOOD, {"query": zeros(3, T, 6, 5)}, "the same batch size, got 3 and 2"),
    "head size": (GOOD, {"query": zeros(2, T, 6, 4)}, "the same head size, got 4 and 5"),
    "heads": (GOOD, {"query": zeros(2, T, 7, 5)}, "multiple of the number of key heads, got 7 and 3"),
    "dropout rate of 1": (GOOD, {"dropout_rate": 1.0, "dropout_key": KEY}, "dropout_rate must be in [0, 1), got 1.0"),
    "negative dropout": (GOOD, {"dropout_rate": -0.1, "dropout_key": KEY}, "dropout_rate must be in [0, 1)"),
    "dropout without a key": (GOOD, {"dropout_rate": 0.1}, "needs a dropout_key, got None"),
    "soft cap of 0": (GOOD, {"logits_soft_cap": 0.0}, "logits_soft_cap must be greater than 0"),
    "soft cap of NaN": (GOOD, {"logits_soft_cap": float("nan")}, "logits_soft_cap must be greater than 0"),
    "infinite scale": (GOOD, {"scale": float("inf")}, "scale must be a finite number, got inf"),
    "pattern is a string": (GOOD, {"pattern": "causal"}, "pattern must be a Pattern or a BlockMask, got str"),
    "pattern is a class": (GOOD, {"pattern": P.Causal}, "pattern must be a Pattern or a BlockMask"),
    "heads of PerHead": (GOOD, {"pattern": P.PerHead([P.Full()] * 5)}, "PerHead has 5 patterns, but query has 6 heads"),
    "BlockMask": (
        GOOD,
        {"pattern": P.Causal().block_mask(T, S)},
        "made for 7 queries and 11 keys, got 7 queries and 7",
    ),
    "lengths": (CROSS, {}, "7 queries and 11 keys do not line up by themselves"),
    "float positions": (GOOD, {"query_positions": zeros(T)}, "query_positions must hold integers, got float32"),
    "query positions": (GOOD, {"query_positions": np.arange(8)}, "query_positions must have shape [7]"),
    "key positions": (CROSS, {"key_positions": np.arange(T)}, "key_positions must have shape [11]"),
    "heads of positions": (GOOD, {"key_positions": zeros(2, 6, T, dtype=int)}, "[2, 3, 7], got (2, 6, 7)"),
    "three segment ids": (GOOD, {"segment_ids": (zeros(2, T, dtype=int),) * 3}, "one array or a pair of arrays, got 3"),
    "segment shape": (GOOD, {"segment_ids": zeros(2, S, dtype=int)}, "segment_ids must have shapes [2, 7] for queries"),
    "float segments": (GOOD, {"segment_ids": zeros(2, T)}, "segment_ids must hold integers, got float32"),
    "mask of pairs": (GOOD, {"key_mask": zeros(2, T, T, dtype=bool)}, "key_mask must be bool of shape (2, 7)"),
    "float mask": (GOOD, {"key_mask": zeros(2, T)}, "key_mask must be bool of shape (2, 7), got float32"),
    "bias of 3 axes": (GOOD, {"bias": zeros(6, T, T)}, "bias must have 4 axes that broadcast to (2, 6, 7, 7)"),
    "bias heads": (GOOD, {"bias": zeros(1, 3, T, T)}, "bias must have 4 axes that broadcast to (2, 6, 7, 7)"),
    "relative bias heads": (GOOD, {"bias": RelativeBias(zeros(3, 9))}, "RelativeBias.values must be [6, offsets]"),
    "relative bias length": (GOOD, {"bias": RelativeBias(zeros(2, 6, S, 9))}, "or [2, 6, 7, offsets], got shape"),
    "implementation": (
        GOOD,
        {"implementation": "cuda"},
        "implementation must be None or one of pallas_tpu, pallas_gpu, xla, reference",
    ),
    "spec without a mesh": (GOOD, {"query_spec": jax.P("data")}, "call attend under jax.set_mesh(mesh)"),
}


@pytest.fixture
def unchecked():
    """As users run it: without the type checks of the tests, which would refuse most of this earlier."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.fast
@pytest.mark.parametrize(("good", "change", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_a_value_error(unchecked, good, change, message):
    with pytest.raises(ValueError) as raised:
        attend(**(good | change))
    assert message in str(raised.value)


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_an_implementation_that_cannot_run_says_so(kind):
    message = f"runs on {kind.upper()}s, and this program is compiled for cpu; 'xla' runs"
    with pytest.raises(NotImplementedError, match=message):
        attend(**GOOD, implementation=f"pallas_{kind}")


def test_what_fits_passes(unchecked):
    assert attend(**GOOD).shape == (2, T, 6, 13)
    assert attend(**CROSS, query_positions=np.arange(4, 4 + T)).shape == (2, T, 6, 13)
    assert attend(**(CROSS | {"pattern": P.Full()})).shape == (2, T, 6, 13)
