"""A mixture of experts in place of a feed-forward network: each token passes through the one or two that its router chooses.

    y = sum over the kept choices k of g_k W2_e(k) f(W1_e(k) x)

Tokens are routed in groups that never leave their row of the batch, so that neither microbatches nor the mesh change a group. Where
the mesh has an ``expert`` axis, each of its devices holds some experts, and rows travel there and back by all-to-all, or as
``nn.dropless`` says where experts have no capacity. Where it shards the sequence, a device routes groups of its own tokens, if a
row has whole ones for each.

Where we differ from released code: without a key, as in evaluation and sampling, every second choice is kept.

Reference:
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding", 2020, section 2.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from efficient_attn.nn.dropless import through_experts
from efficient_attn.nn.feedforward import ACTIVATIONS, Activation
from efficient_attn.nn.groups import Groups, to_experts, to_groups
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops import routing
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision
from efficient_attn.sharding import constrain, fitting

# How the experts' matrices lie.
_WEIGHTS = jax.P("expert")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experts:
    """Which feed-forward networks of a model are mixtures, and how their tokens are routed."""

    number: int
    """Experts of a layer."""
    every: int = 2
    """Layers from one mixture to the next; 2: every other one, the first of them the second layer."""
    hidden: int | None = None
    """Size of an expert's hidden layer; None: that of the feed-forward network it replaces. Half of that costs a token the same."""
    router: Literal["top2", "switch", "expert_choice"] = "top2"
    """Choices of a token: two, the second at random where it is weak, or one; a decoder cannot have ``expert_choice``."""
    capacity: routing.Rule | Literal["dropless"] = "paper"
    """Rule for the tokens of a group that an expert takes; "dropless": as many as ask for it."""
    capacity_factor: float | None = None
    """Factor of that rule; None: its own."""
    group: int = 1024
    """Tokens routed together, or all of a row that has fewer; where none is dropped, tokens whose balance is one loss."""
    auxiliary: float = 0.01
    """Coefficient of the loss that balances the experts, which is 1 for each layer where they are."""
    z: float = 0.0
    """Coefficient of the router z-loss."""

    def __post_init__(self):
        if self.router == "expert_choice":
            raise ValueError(
                "experts that choose their tokens see the future of a sequence, so a decoder's router is 'top2' or "
                "'switch', got 'expert_choice'"
            )
        least = 2 if self.router == "top2" else 1
        if self.number < least:
            raise ValueError(f"a {self.router} router needs at least {least} experts, got number={self.number}")
        for name in ("every", "group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.auxiliary, self.z) < 0:
            raise ValueError(f"auxiliary and z are coefficients of losses, got {self.auxiliary} and {self.z}")
        if self.capacity == "dropless" and self.capacity_factor is not None:
            raise ValueError(
                f"experts that drop nothing have no capacity: capacity_factor must be None, got {self.capacity_factor}"
            )
        self.room(self.group)

    @property
    def choices(self) -> int:
        """Experts that a token asks for."""
        return 2 if self.router == "top2" else 1

    def at(self, place: int) -> bool:
        """Whether the layer at a place is a mixture."""
        return (place + 1) % self.every == 0

    def layers(self, depth: int) -> int:
        """Mixtures of a stack.

        Raises:
          ValueError: if there are none.
        """
        if depth < self.every:
            raise ValueError(f"no layer of {depth} is a mixture where every={self.every}")
        return depth // self.every

    def group_size(self, tokens: int) -> int:
        """Tokens of each group of a row of ``tokens``."""
        return min(self.group, tokens)

    def room(self, size: int) -> int:
        """Tokens that an expert takes of a group of ``size``: never more than there are, whatever the rule rounds up to."""
        if self.capacity == "dropless":
            return size
        return min(size, routing.capacity(self.capacity, size, self.number, self.choices, self.capacity_factor))


class Routed(NamedTuple):
    """Sums of what was seen of routing, over groups, tokens and layers."""

    auxiliary: Float[Array, ""]
    """Auxiliary losses of groups."""
    z: Float[Array, ""]
    """Router z-losses of groups."""
    load: Float[Array, " E"]
    """Tokens whose first choice is each expert."""
    dropped: Float[Array, ""]
    """Choices for which there was no room."""

    @classmethod
    def nothing(cls, experts: int) -> "Routed":
        """The sums over no layer."""
        zero = jnp.zeros((), jnp.float32)
        return cls(zero, zero, jnp.zeros(experts, jnp.float32), zero)


def cycle_of(patterns: tuple[Pattern, ...], experts: Experts | None) -> tuple[Pattern, ...]:
    """The patterns of layers, as often as it takes until mixtures of experts repeat too."""
    every = 1 if experts is None else experts.every
    return patterns * (math.lcm(len(patterns), every) // len(patterns))


class ExpertLinear(nnx.Module):
    """A product with a matrix of each expert, without a bias, as in released code."""

    def __init__(self, experts: int, fan_in: int, width: int, init: nnx.Initializer, precision: Precision, rngs):
        self.compute = jnp.dtype(precision.compute)
        # One at a time: an initialiser that reads a shape would count the experts among what comes in.
        draw = lambda key: init(key, (fan_in, width), jnp.dtype(precision.parameters))  # noqa: E731
        self.kernel = nnx.Param(jax.vmap(draw)(jax.random.split(rngs.params(), experts)))

    def __call__(self, x: Float[Array, "G E C I"]) -> Float[Array, "G E C O"]:
        """Each expert's rows through its own matrix."""
        kernel = constrain(self.matrices, fitting(_WEIGHTS, self.kernel.shape))
        return jnp.einsum("gecd,edf->gecf", x.astype(self.compute), kernel)

    @property
    def matrices(self) -> Float[Array, "E I O"]:
        """The experts' matrices, in the format that they are computed with."""
        return self.kernel[...].astype(self.compute)


class MoE(nnx.Module):
    """``experts.number`` feed-forward networks and the router that chooses among them.

    Args:
      experts: how many, and how tokens are routed.
      width: size of the residual stream.
      hidden: size of the hidden layer, where ``experts`` has none of its own.
      activation: between an expert's two products.
      init: each expert begins as a network alone would; the router at ``1 / sqrt(width)``.
      precision: of the products; the router's are float32.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        experts: Experts,
        width: int,
        hidden: int,
        activation: Activation,
        init: Initialization,
        precision: Precision,
        *,
        rngs: nnx.Rngs,
    ):
        self.experts, self.activation = experts, activation
        inner = hidden if experts.hidden is None else experts.hidden
        self.router = nnx.Param(jax.random.normal(rngs.params(), (width, experts.number)) / math.sqrt(width))
        self.expand = ExpertLinear(experts.number, width, inner, init.expand(width), precision, rngs)
        self.contract = ExpertLinear(experts.number, inner, width, init.contract(inner), precision, rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The mixture on every token, with all second choices; 0 where no chosen expert had room."""
        return self.routed(x, None, None)[0]

    def routed(
        self, x: Float[Array, "B T D"], valid: Bool[Array, "B T"] | None, key: jax.Array | None
    ) -> tuple[Float[Array, "B T D"], Routed]:
        """The mixture, and what was seen of its routing.

        Args:
          x: the tokens.
          valid: False of padding, which is not routed; None: there is none.
          key: randomness of second choices; None keeps all.
        """
        groups = Groups(*x.shape[:2], self.experts.group_size(x.shape[1]))
        known = jnp.ones(x.shape[:2], bool) if valid is None else valid
        # Drawn by place in the batch: in which order a mesh lays groups makes no difference.
        drawn = None if key is None else jax.random.uniform(key, (groups.batch, groups.of_a_row * groups.size))
        given = x, known, *(() if drawn is None else (drawn,))
        y, seen = self._grouped(groups.spec, *map(groups.split, given))
        return groups.join(y), seen

    def _grouped(
        self,
        spec: jax.P | None,
        x: Float[Array, "G S D"],
        valid: Bool[Array, "G S"],
        drawn: Float[Array, "G S"] | None = None,
    ) -> tuple[Float[Array, "G S D"], Routed]:
        """``routed`` on groups that lie as ``spec`` says."""
        # In bfloat16 close choices would tie.
        logits = jnp.matmul(x.astype(jnp.float32), self.router[...], precision="highest")
        choices = self._choose(logits, valid, drawn)
        through = self._of_all if self.experts.capacity == "dropless" else self._with_room
        y, dropped = through(spec, x, choices)
        first = jax.nn.one_hot(choices.expert[..., 0], self.experts.number) * choices.wanted[..., :1]
        return y, Routed(
            choices.auxiliary.sum(),
            routing.router_z_loss(logits, valid).sum(),
            first.sum((0, 1)),
            dropped.astype(jnp.float32),
        )

    def _with_room(
        self, spec: jax.P | None, x: Float[Array, "G S D"], choices: routing.Choices
    ) -> tuple[jax.Array, jax.Array]:
        """What experts with a capacity make of the tokens, and how many choices they had no room for."""
        number, room = self.experts.number, self.experts.room(x.shape[1])
        places = routing.place_by_sorting(choices, number, room)
        send = functools.partial(routing.dispatch, experts=number, capacity=room)
        rows = to_experts(_by_group(send, spec)(x, choices, places))
        rows = to_groups(self.contract(ACTIVATIONS[self.activation](self.expand(rows))))
        return _by_group(routing.combine, spec)(rows, choices, places), jnp.sum(choices.wanted & ~places.kept)

    def _of_all(
        self, spec: jax.P | None, x: Float[Array, "G S D"], choices: routing.Choices
    ) -> tuple[jax.Array, jax.Array]:
        """What experts make of all tokens that ask for them, and 0, the choices dropped."""
        matrices = self.expand.matrices, self.contract.matrices
        return through_experts(x, choices, *matrices, ACTIVATIONS[self.activation], spec), jnp.zeros(())

    def _choose(
        self, logits: Float[Array, "G S E"], valid: Bool[Array, "G S"], drawn: Float[Array, "G S"] | None
    ) -> routing.Choices:
        """What the router asks for."""
        if self.experts.router == "switch":
            return routing.switch(logits, valid=valid)
        choices = routing.top2(logits, valid=valid)
        return choices if drawn is None else routing.thinned(choices, drawn)


def _by_group(function: Callable[..., jax.Array], spec: jax.P | None) -> Callable[..., jax.Array]:
    """``function`` of three arguments whose arrays all begin with the axis of groups, on each device's groups alone.

    Left to itself the compiler adds up the gradients of a gather over all devices, as though each had touched every group.
    """
    if spec is None:
        return function
    return jax.shard_map(function, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False)
