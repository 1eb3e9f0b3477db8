"""The module against Hugging Face's ``LongformerSelfAttention``, and its own additions."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.longformer_attention import Longformer, LongformerAttention
from efficient_attn.precision import Precision

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "longformer.npz")
WINDOWS = {"local": 6, "padded": 6, "neighbours": 4, "padded globals": 4, "wide": 64}
PROJECTIONS = [f"{name}{kind}" for kind in ("", "_global") for name in ("query", "key", "value")]


def make(width=12, heads=3, layer=0, dropout=0.0, **choices):
    return LongformerAttention(
        width,
        heads,
        Initialization("code", 2),
        Precision(),
        longformer=Longformer(**choices),
        layer=layer,
        dropout=dropout,
        rngs=nnx.Rngs(0),
    )


def loaded(case, places):
    """The module with the case's parameters, and the case's arrays."""
    arrays = {name.partition("/")[2]: jnp.asarray(GOLDEN[name]) for name in GOLDEN.files if name.startswith(f"{case}/")}
    module = make(windows=(WINDOWS[case] // 2,), max_globals=places)
    for name in PROJECTIONS:
        for part in ("kernel", "bias"):
            getattr(getattr(module, name), part)[...] = arrays[f"{name}.{part}"]
    # Hugging Face's stops before the projection back.
    module.output.kernel[...] = jnp.eye(12)
    return module, arrays


@pytest.mark.fast
@pytest.mark.parametrize("case,places", [(case, 3 if case == "wide" else 7) for case in WINDOWS])
def test_hugging_faces_outputs_and_gradients(case, places):
    """A head has 4 features: with less than 4 places no keys and values of the global projections are computed."""
    module, arrays = loaded(case, places)
    graph, state = nnx.split(module)
    masks = arrays["key_mask"], arrays["global_mask"]

    @jax.jit
    def answers(state, x):
        return jax.vjp(lambda s, x: nnx.merge(graph, s)(x, *masks), state, x)

    output, pull = answers(state, arrays["x"])
    np.testing.assert_allclose(output, arrays["output"], atol=2e-5)
    d_state, d_x = pull(arrays["slope"])
    np.testing.assert_allclose(d_x, arrays["gradient.x"], atol=1e-4)
    for name in PROJECTIONS:
        np.testing.assert_allclose(d_state[name]["kernel"][...], arrays[f"gradient.{name}"], atol=1e-4)


def test_layers_take_their_own_window_and_dilation():
    choices = {"windows": (2, 3), "dilations": ((1,), (1, 2, 2))}
    x = jnp.zeros((1, 15, 12))
    reach = []
    for layer in (0, 1, 2):
        module = make(layer=layer, **choices)
        slopes = jax.jacobian(lambda x, m=module: m(x)[0, 7].sum())(x)
        reach.append(set(np.flatnonzero(np.asarray(slopes[0]).any(-1)).tolist()))
    assert reach == [set(range(5, 10)), {1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13}, set(range(5, 10))]


@pytest.mark.fast
def test_global_projections_begin_as_the_local_ones():
    module = make()
    assert all(
        (getattr(module, name).kernel[...] == getattr(module, f"{name}_global").kernel[...]).all()
        for name in ("query", "key", "value")
    )


@pytest.mark.fast
def test_dropout_only_with_a_key():
    module, x = make(dropout=0.5, windows=(3,)), jax.random.normal(jax.random.key(0), (1, 9, 12))
    mask = jnp.arange(9)[None] < 2
    assert (module(x, None, mask) == module(x, None, mask)).all()
    assert (module(x, None, mask, jax.random.key(1)) != module(x, None, mask)).any()


@pytest.mark.fast
def test_bad_choices():
    with pytest.raises(ValueError, match="at least one entry each"):
        Longformer(windows=())
    with pytest.raises(ValueError, match="dilation"):
        Longformer(dilations=((0,),))
    with pytest.raises(ValueError, match="heads must divide the width"):
        make(heads=5)
    with pytest.raises(ValueError, match="there are 3 heads"):
        make(dilations=((1, 2),))
