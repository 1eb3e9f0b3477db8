"""Experts that take every token that asks for them, however uneven the load.

A device computes on its own tokens, sorted by expert. Where the mesh has an ``expert`` axis each of its devices holds some experts.
It is given the tokens of all others along that axis, and what its experts make of them is added up where the tokens came from: one
all-gather and one reduce-scatter. An all-to-all of a fixed size would need room for all tokens on every device too.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.ops import routing
from efficient_attn.sharding import fitting, names

Activation = Callable[[jax.Array], jax.Array]

_EXPAND, _CONTRACT = jax.P("expert", None, "model"), jax.P("expert", "model")


def through_experts(
    x: Float[Array, "G S D"],
    choices: routing.Choices,
    expand: Float[Array, "E D F"],
    contract: Float[Array, "E F D"],
    activation: Activation,
    spec: jax.P | None = None,
) -> Float[Array, "G S D"]:
    """What the experts that tokens choose make of them, each times its gate, summed.

    Args:
      x: the tokens.
      choices: of their experts.
      expand: each expert's first matrix.
      contract: its second one.
      activation: between the two.
      spec: how the groups lie on the mesh; None: whole on every device.

    Cost: for each wanted choice ``4 D F`` operations; memory for ``k G S + E C`` rows of ``D`` and of ``F``, in blocks of ``C``.
    ``G`` counts the groups of all devices along the mesh's ``expert`` axis, and ``E`` the experts of one of them.
    """
    x = x.astype(expand.dtype)
    matrices = fitting(_EXPAND, expand.shape), fitting(_CONTRACT, contract.shape)
    if jax.sharding.get_abstract_mesh().empty:
        return _by_own(x, choices, expand, contract, activation)
    gathered, (held, _, summed) = tuple(axis for axis in _axes(spec)[0] if axis == "expert"), _axes(matrices[0])

    def on_each(x: jax.Array, choices: routing.Choices, expand: jax.Array, contract: jax.Array) -> jax.Array:
        if held and gathered:
            x, choices = jax.tree.map(lambda a: jax.lax.all_gather(a, held, tiled=True), (x, choices))
        if held:
            choices = _of_held(choices, jax.lax.axis_index(held) * expand.shape[0], expand.shape[0])
        y = _by_own(x, choices, expand, contract, activation)
        if held and gathered:
            y = jax.lax.psum_scatter(y, held, scatter_dimension=0, tiled=True)
        return jax.lax.psum(y, summed if gathered else (*summed, *held))

    # The compiler splits no kernel, and would sort the tokens of all devices together.
    specs = [jax.P() if lies is None else lies for lies in (spec, spec, *matrices)]
    return jax.shard_map(on_each, in_specs=tuple(specs), out_specs=specs[0], check_vma=False)(
        x, choices, expand, contract
    )


def _axes(spec: jax.P | None) -> list[tuple[str, ...]]:
    """The mesh axes of each of three dimensions."""
    return [names(axes) for axes in (*(spec or ()), None, None, None)][:3]


def _of_held(choices: routing.Choices, first: jax.Array, number: int) -> routing.Choices:
    """The choices of ``number`` experts from the ``first`` on, as a device that holds no others counts them."""
    expert = choices.expert - first
    held = (expert >= 0) & (expert < number)
    return choices._replace(expert=jnp.where(held, expert, 0), wanted=choices.wanted & held)


def _by_own(
    x: Float[Array, "G S D"], choices: routing.Choices, expand: jax.Array, contract: jax.Array, activation: Activation
) -> Float[Array, "G S D"]:
    """``through_experts`` on one device."""
    experts = expand.shape[0]
    size = routing.block_size(choices.expert.size, experts)
    blocks = routing.place_in_blocks(choices, experts, size)
    rows = routing.dispatch_to_blocks(x, blocks, size)
    hidden = activation(routing.grouped_product(rows, expand, blocks))
    return routing.combine_from_blocks(routing.grouped_product(hidden, contract, blocks), choices, blocks)
