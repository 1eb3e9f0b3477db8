"""What ``bench experts`` compares: the same mixture by other means."""

import jax
import numpy as np

from efficient_attn.bench import experts


def test_the_dense_expansion_gives_what_dropless_experts_give():
    x = jax.random.normal(jax.random.key(0), (2, 8, 6))
    dropless, expansion = (experts.layers(6)[name]()(x) for name in ("dropless", "dense expansion"))
    np.testing.assert_allclose(dropless, expansion, rtol=1e-5, atol=1e-6)


def test_only_experts_with_a_capacity_drop():
    layers = experts.layers(6)
    found = {name: experts.measure(name, layers[name](), 6, tokens=16) for name in ("capacity, paper", "dropless")}
    assert found["capacity, paper"].dropped > 0 == found["dropless"].dropped
