"""Linformer's self-attention: keys and values of all tokens become those of ``k`` slots, by a projection along the length.

Projections without a head of their own are applied to the tokens, before the matrices of keys and values,

    E (X W + b) = (E X) W + (E 1) b,

which is the same and leaves ``k`` rows for those matrices instead of ``n``. Released code does so too but adds ``b`` once to each
slot; ``compressed="tokens"`` is that.

References:
  Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, section 4, and its released code in fairseq.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import attend
from efficient_attn.nn.attention import linear
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.linformer import compress, convolve, max_pool, mean_pool, slot_mask
from efficient_attn.patterns.algebra import Full, Pattern, whole_number
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh, refuse_sharded_sequence

NOT_CAUSAL = "each compressed key mixes all positions, so that no mask over the slots hides the future"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linformer:
    """Attention to compressed keys and values, as a choice of a config. Not causal."""

    length: int
    """Tokens that the slots are for. Shorter texts use the first columns of a linear projection, or fewer windows."""
    slots: tuple[int, ...] = (256,)
    """The paper's k, of a cycle: layer ``l`` has ``slots[l % len(slots)]``."""
    kind: Literal["linear", "mean_pool", "max_pool", "convolution"] = "linear"
    """How tokens become slots. Each but ``linear`` sees windows of ``length / k`` tokens."""
    sharing: Literal["none", "headwise", "key_value", "layerwise"] = "headwise"
    """Who has a projection of its own: keys and values of each head; those of each layer; each layer; none, all use one."""
    compressed: Literal["heads", "tokens"] = "heads"
    """Keys and values of the heads, as in the paper, or the tokens before the matrices of keys and values."""

    def __post_init__(self):
        whole_number(self.length, "length", least=1)
        if not isinstance(self.slots, tuple) or not self.slots:
            raise ValueError(f"slots must be a tuple of at least one number, got {self.slots!r}")
        for slots in self.slots:
            whole_number(slots, "slots", least=1)
            if slots > self.length:
                raise ValueError(f"slots must be at most length={self.length}, got {slots}")
            if self.kind != "linear" and self.length % slots:
                raise ValueError(f"windows of {self.kind} need slots that divide length={self.length}, got {slots}")
        self._check_sharing()

    def _check_sharing(self) -> None:
        if self.pools and self.sharing != "headwise":
            raise ValueError(f"{self.kind} has no parameters to share: leave sharing out, got {self.sharing!r}")
        if self.sharing == "layerwise" and len(self.slots) > 1:
            raise ValueError(
                f"layerwise sharing is one projection for all layers: slots needs 1 entry, got {self.slots}"
            )
        if self.compressed == "tokens" and (self.sharing == "none" or self.kind == "convolution"):
            raise ValueError(
                "tokens can be compressed by a linear projection of no head's own or by a pool, got "
                f"kind={self.kind!r}, sharing={self.sharing!r}; compressed='heads' takes all"
            )

    @property
    def pools(self) -> bool:
        """Whether nothing is learned about the slots."""
        return self.kind in ("mean_pool", "max_pool")

    @property
    def longest(self) -> int | None:
        """The most tokens that the mechanism has parameters for; None: any number."""
        return self.length if self.kind == "linear" else None

    def parsed(self) -> tuple[Pattern, ...]:
        """Which slots the queries of each layer of the cycle see: all."""
        return (Full(),) * len(self.slots)

    def draw(
        self, layer: int, heads: int, size: int, init: Initialization, precision: Precision, rngs: nnx.Rngs
    ) -> nnx.Param:
        """A layer's projection of keys or of values: ``[k, L]``, or the kernel ``[window, H, H]`` of a convolution.

        The heads' own have an axis of heads before ``k`` or ``H``.
        """
        slots, own = self.slots[layer % len(self.slots)], (heads,) if self.sharing == "none" else ()
        window = self.length // slots
        if self.kind == "linear":
            shape, fan_in = (*own, slots, self.length), self.length
        else:
            shape, fan_in = (window, *own, size, size), window * size
        return nnx.Param(init.weight(fan_in)(rngs.params(), shape, jnp.dtype(precision.parameters)))


class LinformerAttention(nnx.Module):
    """Queries of all tokens, keys and values of the slots, attention between them, and a projection back.

    Args:
      width: size of the residual stream.
      heads: heads, which divide it.
      init: standard deviations.
      precision: formats.
      linformer: the slots.
      layer: which entry of the cycle of slots.
      dropout: rate of the attention weights.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        init: Initialization,
        precision: Precision,
        *,
        linformer: Linformer,
        layer: int = 0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.heads, self.dropout, self.linformer = heads, dropout, linformer
        self.window = linformer.length // linformer.slots[layer % len(linformer.slots)]
        self.compute = jnp.dtype(precision.compute)
        project = linear(precision, True, rngs)
        self.query = project(width, width, kernel_init=init.weight(width))
        self.key = project(width, width, kernel_init=init.weight(width))
        self.value = project(width, width, kernel_init=init.weight(width))
        self.output = project(width, width, kernel_init=init.residual(width))
        draw = lambda: linformer.draw(layer, heads, width // heads, init, precision, rngs)  # noqa: E731
        given = linformer.pools or linformer.sharing == "layerwise"
        self.key_projection = None if given else draw()
        self.value_projection = draw() if not given and linformer.sharing != "key_value" else None

    def __call__(
        self,
        x: Float[Array, "B T D"],
        key_mask: Bool[Array, "B T"] | None = None,
        global_mask: Bool[Array, "B T"] | None = None,
        key: jax.Array | None = None,
        projection: Float[Array, "..."] | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention of the tokens of ``x`` to its slots.

        Args:
          x: the tokens.
          key_mask: False keeps a token out of every slot, whatever it holds. Where a token lies still matters.
          global_mask: not for this attention.
          key: randomness of the dropout; None is without.
          projection: the one of all layers, for layerwise sharing.

        Raises:
          ValueError: if there is a global mask, the text is longer than a linear projection, or a projection is given
            where the layer has its own, or none where it has not.

        Cost: O(B T k D + B (T + k) D^2) time where the heads share projections, O(B T D (k + D)) where they do not.
        """
        if global_mask is not None:
            raise ValueError("this attention has no global tokens, got a global mask; leave it out")
        refuse_sharded_sequence("Linformer attention")
        shared = self.linformer.sharing == "layerwise"
        if shared != (projection is not None):
            raise ValueError(
                f"sharing={self.linformer.sharing!r} needs {'a' if shared else 'no'} projection of all layers"
            )
        x = x.astype(self.compute)
        first = projection if self.key_projection is None else self.key_projection[...]
        second = first if self.value_projection is None else self.value_projection[...]
        keys, values = self._slots(x, self.key, first, key_mask), self._slots(x, self.value, second, key_mask)
        # A slot of a linear projection always takes part: hidden tokens are zeros in it.
        seen = None if key_mask is None or self.linformer.kind == "linear" else slot_mask(key_mask, self.window)
        dropped: dict[str, Any] = {} if key is None else {"dropout_rate": self.dropout, "dropout_key": key}
        query = split_heads(self.query(x), self.heads)
        mixed = attend(query, keys, values, Full(), key_mask=seen, query_spec=on_mesh(HEADS), **dropped)
        return self.output(join_heads(mixed))

    def _slots(
        self, x: Float[Array, "B T D"], project: nnx.Linear, mixing: Any, key_mask: Bool[Array, "B T"] | None
    ) -> Float[Array, "B slots N H"]:
        """Keys or values of the slots, by the projection of the one or the other."""
        tokens, rule = x[:, :, None], self.linformer
        features = lambda: split_heads(project(x), self.heads)  # noqa: E731
        spread = lambda short: split_heads(project(short[:, :, 0]), self.heads)  # noqa: E731
        match rule.kind:
            case "linear" if rule.sharing == "none":
                return compress(features(), mixing, key_mask)
            case "linear":
                return spread(compress(tokens, mixing, key_mask)) + self._missing_bias(x, project, mixing, key_mask)
            case "mean_pool":
                # A mean of projections is the projection of a mean.
                return spread(mean_pool(tokens, self.window, key_mask))
            case "max_pool" if rule.compressed == "tokens":
                return spread(max_pool(tokens, self.window, key_mask))
            case "max_pool":
                return max_pool(features(), self.window, key_mask)
            case _:
                return convolve(features(), mixing, key_mask)

    def _missing_bias(
        self, x: jax.Array, project: nnx.Linear, mixing: jax.Array, key_mask: jax.Array | None
    ) -> Float[Array, "_ slots N H"] | float:
        """What the bias of ``project`` lacks where it is added once to each slot, and not to each token before them."""
        if self.linformer.compressed == "tokens":
            return 0.0
        rows = 1 if key_mask is None else x.shape[0]
        sums = compress(jnp.ones((rows, x.shape[1], 1, 1), x.dtype), mixing, key_mask)
        bias = split_heads(project.bias[...].astype(x.dtype)[None, None], self.heads)
        return (sums - 1) * bias
