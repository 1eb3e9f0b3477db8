"""Longformer's self-attention: two sets of projections around windows and global tokens."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels import attend
from efficient_attn.nn.attention import linear
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.longformer import GlobalTokens, Sight, attend_globally, attend_locally, find_globals
from efficient_attn.patterns.algebra import Full, Pattern, whole_number
from efficient_attn.patterns.local import Window
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh


@dataclasses.dataclass(frozen=True, kw_only=True)
class Longformer:
    """Attention over windows and global tokens, as a choice of a config; layer ``l`` takes entry ``l`` of each cycle."""

    windows: tuple[int, ...] = (256,)
    """Tokens seen on each side, the own one not counted: halves of Hugging Face's ``attention_window``."""
    dilations: tuple[tuple[int, ...], ...] = ((1,),)
    """Distances between the tokens of a window: one for all heads, or one for each."""
    max_globals: int = 64
    """Most global tokens in a row of a batch."""
    sep_token: int | None = None
    """Ends the question, whose tokens are global by default where a model answers questions or chooses between texts."""

    def __post_init__(self):
        if not self.windows or not self.dilations or not all(self.dilations):
            raise ValueError(
                f"windows and dilations need at least one entry each, got {self.windows} and {self.dilations}"
            )
        whole_number(self.max_globals, "max_globals", least=0)
        for layer in range(max(len(self.windows), len(self.dilations))):
            self.sight(layer)

    @property
    def longest(self) -> None:
        """Any number of tokens will do."""
        return None

    def parsed(self) -> tuple[Pattern, ...]:
        """Whom local queries of each layer of the cycle may see at most, global tokens apart."""
        layers = range(math.lcm(len(self.windows), len(self.dilations)))
        reach = [self.sight(layer).window * max(self.dilations[layer % len(self.dilations)]) for layer in layers]
        return tuple(Window(left=n, right=n) for n in reach)

    def default_globals(self, head: str, tokens: Int[Array, "B T"]) -> Bool[Array, "B T"] | None:
        """The global tokens that released code takes where none are named; None: there are none.

        The first token for a class of the text; the question, which ends at the first separator, for an answer; for a choice
        what follows the question and two separators.
        """
        slot = jnp.arange(tokens.shape[1])[None]
        if head == "classification":
            return jnp.broadcast_to(slot == 0, tokens.shape)
        if self.sep_token is None or head not in ("question_answering", "multiple_choice"):
            return None
        end = jnp.argmax(tokens == self.sep_token, axis=1)[:, None]
        return slot < end if head == "question_answering" else slot > end + 1

    def sight(self, layer: int) -> Sight:
        """Whom local queries of a layer see."""
        dilation = self.dilations[layer % len(self.dilations)]
        return Sight(self.windows[layer % len(self.windows)], dilation[0] if len(dilation) == 1 else dilation)


class LongformerAttention(nnx.Module):
    """Projections for local and for global queries, Longformer's attention, and a projection back.

    The global projections begin as copies of the local ones, as where a trained model is made into a Longformer.

    Args:
      width: size of the residual stream.
      heads: heads, which divide it.
      init: standard deviations.
      precision: formats.
      longformer: windows and room for global tokens.
      layer: which entries of the cycles of windows and dilations.
      dropout: rate of the attention weights.
      rngs: randomness of the initial parameters.

    Raises:
      ValueError: if the heads do not divide the width, or a layer has dilations for another number of heads.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        init: Initialization,
        precision: Precision,
        *,
        longformer: Longformer,
        layer: int = 0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.heads, self.dropout, self.max_globals = heads, dropout, longformer.max_globals
        self.sight = longformer.sight(layer)
        if width % heads:
            raise ValueError(f"heads must divide the width, got {heads} heads and a width of {width}")
        if isinstance(self.sight.dilation, tuple) and len(self.sight.dilation) != heads:
            raise ValueError(f"layer {layer} has dilations {self.sight.dilation}, but there are {heads} heads")
        project = linear(precision, True, rngs)
        for name in ("query", "key", "value"):
            setattr(self, name, project(width, width, kernel_init=init.weight(width)))
            setattr(self, f"{name}_global", project(width, width))
        self.output = project(width, width, kernel_init=init.residual(width))
        self.copy_to_globals()

    def copy_to_globals(self) -> None:
        """Gives the global projections the local ones' parameters: at first, and after training without global tokens."""
        for name in ("query", "key", "value"):
            source, target = getattr(self, name), getattr(self, f"{name}_global")
            target.kernel[...], target.bias[...] = source.kernel[...], source.bias[...]

    def __call__(
        self,
        x: Float[Array, "B T D"],
        key_mask: Bool[Array, "B T"] | None = None,
        global_mask: Bool[Array, "B T"] | None = None,
        key: jax.Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``.

        Args:
          x: the tokens.
          key_mask: False hides a token; its result is the output projection's bias.
          global_mask: True makes a token global. As for ``ops.longformer.find_globals``, a row has at most ``max_globals``.
          key: randomness of dropout; None: no dropout, as in evaluation.

        Returns:
          What is added to the residual stream.
        """
        tokens = None if global_mask is None else find_globals(global_mask, key_mask, self.max_globals)
        local = tuple(split_heads(project(x), self.heads) for project in (self.query, self.key, self.value))
        options = {
            "key_mask": key_mask,
            "dropout_rate": 0.0 if key is None else self.dropout,
            "query_spec": on_mesh(HEADS),
        }
        near, far = (None, None) if key is None else jax.random.split(key)
        mixed = attend_locally(self.sight, local, tokens, dropout_key=near, **options)
        if tokens is not None:
            mixed = tokens.overwrite(mixed, self._global_rows(x, tokens, dropout_key=far, **options))
        return self.output(join_heads(mixed))

    def _global_rows(self, x: Float[Array, "B T D"], tokens: GlobalTokens, **options: Any) -> Float[Array, "B G N H"]:
        """What the global tokens take from all tokens."""
        query = split_heads(self.query_global(tokens.gather(x)), self.heads)
        few = query.shape[1] < query.shape[3]
        if few and options["dropout_rate"] == 0.0 and options["query_spec"] is None:
            return self._few_global_rows(query, x, options["key_mask"])
        key, value = (split_heads(project(x), self.heads) for project in (self.key_global, self.value_global))
        return attend_globally(self.sight, (query, key, value), tokens, **options)

    def _few_global_rows(
        self, query: Float[Array, "B G N H"], x: Float[Array, "B T D"], key_mask: Bool[Array, "B T"] | None
    ) -> Float[Array, "B G N H"]:
        """The same without keys and values of every token, which cost more than all else where global tokens are few.

            q . (x W_k + b_k) = (q W_k') . x + a constant,   sum_j p_j (x_j W_v + b_v) = (sum_j p_j x_j) W_v + b_v

        so that all heads attend to the tokens themselves. Weights that dropout has touched no longer sum to 1.
        """
        key_kernel, value_kernel = (
            split_heads(project.kernel[...][None].astype(x.dtype), self.heads)[0]
            for project in (self.key_global, self.value_global)
        )
        tokens = x[:, :, None, :]
        folded = jnp.einsum("bgnh,dnh->bgnd", query, key_kernel)
        mixed = attend(folded, tokens, tokens, Full(), key_mask=key_mask, scale=query.shape[3] ** -0.5)
        bias = self.value_global.bias[...].astype(x.dtype).reshape(self.heads, -1)
        return jnp.einsum("bgnd,dnh->bgnh", mixed, value_kernel) + bias
