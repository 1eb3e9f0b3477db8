"""Longformer's attention: a softmax over a window and the global tokens, and global tokens that see everything.

    local i:    softmax over {g global} and {i + D t : |t| <= w} without the global, of  q_i . k_j / sqrt(H),  times v_j
    global i:   softmax over all j                                                of  q'_i . k'_j / sqrt(H),  times v'_j

with two sets of projections: ``q', k', v'`` of global queries only. A local query reads a global token by the local ones, as in
the released code; the paper's text can be read otherwise. Hidden tokens are seen by nobody and get 0. Linear in the length:
the window is block-sparse attention without the global keys, the global keys are few, and the two softmaxes are merged by their
log-sum-exp into one. Gradients are recomputed, never kept.

Global tokens may differ from row to row of a batch, in places whose number is fixed. The released code had neither dilation nor
causality without its CUDA kernel, and no meaning for causal global tokens: here ``causal`` hides every later token, from local and
global queries alike.

Reference:
  Beltagy, Peters and Cohan, "Longformer: The Long-Document Transformer", 2020, section 3 and released code.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import attend, merge
from efficient_attn.ops.longformer.tokens import GlobalTokens, find_globals
from efficient_attn.patterns.algebra import Full, Pattern, PerHead, whole_number
from efficient_attn.patterns.local import Causal, Dilated, Window


@dataclasses.dataclass(frozen=True)
class Sight:
    """Which tokens a local query sees beside the global ones."""

    window: int
    """Tokens seen on each side of the query, its own not counted: half of Hugging Face's ``attention_window``."""
    dilation: int | tuple[int, ...] = 1
    """Distance between them, of all heads or of each; 1 leaves no gaps."""
    causal: bool = False
    """Whether later tokens are hidden, from global queries too."""

    def __post_init__(self):
        whole_number(self.window, "window", least=0)
        for dilation in self.dilation if isinstance(self.dilation, tuple) else (self.dilation,):
            whole_number(dilation, "dilation", least=1)

    @property
    def pattern(self) -> Pattern:
        """The window as a pattern."""
        if isinstance(self.dilation, tuple):
            return PerHead([self._of(dilation) for dilation in self.dilation])
        return self._of(self.dilation)

    @property
    def beyond(self) -> Pattern:
        """Whom anybody may see outside of the window."""
        return Causal() if self.causal else Full()

    def _of(self, dilation: int) -> Pattern:
        right = 0 if self.causal else self.window
        return Window(self.window, right) if dilation == 1 else Dilated(self.window, right, dilation)


def longformer_attention(
    query: Float[Any, "B T N H"],
    key: Float[Any, "B T K H"],
    value: Float[Any, "B T K Hv"],
    global_query: Float[Any, "B T N H"] | None = None,
    global_key: Float[Any, "B T K H"] | None = None,
    global_value: Float[Any, "B T K Hv"] | None = None,
    *,
    window: int,
    dilation: int | tuple[int, ...] = 1,
    causal: bool = False,
    key_mask: Bool[Any, "B T"] | None = None,
    global_mask: Bool[Any, "B T"] | None = None,
    max_globals: int = 0,
    dropout_key: jax.Array | None = None,
    **options: Any,
) -> Float[Array, "B T N Hv"]:
    """Attention over a window and global tokens.

    Args:
      query: of local queries.
      key: for local queries.
      value: for local queries.
      global_query: of the global tokens; other rows are not read. None, with the next two, where no token is global.
      global_key: for them.
      global_value: for them.
      window: tokens seen on each side, the own one not counted: half of Hugging Face's ``attention_window``.
      dilation: distance between the tokens of a window, of all heads or of each.
      causal: whether later tokens are hidden.
      key_mask: False hides a token from every query; its own result is 0, and what it holds, NaN included, changes nothing.
      global_mask: True makes a token global; hidden ones are not.
      max_globals: most global tokens in a row, fixed before tracing. Traced code with more takes the first as global and the
        others as local tokens.
      dropout_key: as for ``attend``.
      options: ``scale``, ``dropout_rate``, ``query_spec`` and ``implementation`` of ``attend``.

    Returns:
      The result of each token, in the format of ``value``.

    Raises:
      ValueError: more global tokens than ``max_globals`` (outside of traced code); global tokens without all three of their
        projections; what ``attend`` refuses.

    Cost: O(B N T (w + max_globals) H) time, O(B N T H) extra memory, also for gradients.
    """
    tokens = None if global_mask is None else find_globals(global_mask, key_mask, max_globals)
    sight, local = Sight(window, dilation, causal), (query, key, value)
    near, far = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    output = attend_locally(sight, local, tokens, key_mask=key_mask, dropout_key=near, **options)
    if tokens is None:
        return output
    if any(x is None for x in (global_query, global_key, global_value)):
        raise ValueError("global tokens need global_query, global_key and global_value, but one of these is None")
    rows = tokens.gather(jnp.asarray(global_query)), global_key, global_value
    return tokens.overwrite(output, attend_globally(sight, rows, tokens, key_mask=key_mask, dropout_key=far, **options))


def attend_locally(
    sight: Sight,
    local: tuple[Float[Any, "B T N H"], Float[Any, "B T K H"], Float[Any, "B T K Hv"]],
    tokens: GlobalTokens | None,
    *,
    key_mask: Bool[Any, "B T"] | None = None,
    dropout_key: jax.Array | None = None,
    **options: Any,
) -> Float[Array, "B T N Hv"]:
    """What every token takes from its window and from the global tokens, as if it were not global itself.

    Args:
      sight: whom it sees.
      local: queries, keys and values.
      tokens: the global tokens, as ``find_globals`` gave them; None where there are none.
      key_mask: False hides a token, whose own result is 0.
      dropout_key: as for ``attend``.
      options: as for ``attend``.
    """
    near, far = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    if tokens is None:
        output = attend(*local, sight.pattern, key_mask=key_mask, dropout_key=near, **options)
    else:
        seen = ~tokens.mask if key_mask is None else key_mask & ~tokens.mask
        window = attend(*local, sight.pattern, key_mask=seen, dropout_key=near, return_lse=True, **options)
        output, _ = merge([window, _of_globals(sight, local, tokens, dropout_key=far, **options)])
    if key_mask is None:
        return output
    return jnp.where(jnp.asarray(key_mask)[:, :, None, None], output, jnp.zeros((), output.dtype))


def _of_globals(
    sight: Sight, local: tuple[Any, Any, Any], tokens: GlobalTokens, **options: Any
) -> tuple[Float[Array, "B T N Hv"], Float[Array, "B T N"]]:
    """What local queries take from the global tokens, by the local projections."""
    key, value = (tokens.gather(jnp.asarray(x)) for x in local[1:])
    positions = {"key_positions": tokens.index} if sight.causal else {}
    return attend(local[0], key, value, sight.beyond, key_mask=tokens.taken, return_lse=True, **positions, **options)


def attend_globally(
    sight: Sight,
    rows: tuple[Float[Any, "B G N H"], Float[Any, "B T K H"], Float[Any, "B T K Hv"]],
    tokens: GlobalTokens,
    **options: Any,
) -> Float[Array, "B G N Hv"]:
    """What the global tokens take from all tokens.

    Args:
      sight: whether later tokens are hidden.
      rows: queries of the places in ``tokens``, and the keys and values that they see.
      tokens: the global tokens.
      options: as for ``attend``.

    Returns:
      The result of each place; of one that is left over, anything.
    """
    positions = {"query_positions": tokens.index} if sight.causal else {}
    return attend(*rows, sight.beyond, **positions, **options)
