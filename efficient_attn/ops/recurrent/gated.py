"""The gated cells that bistable ones are compared with, as loops over time: GRU and LSTM, in the form that Keras gives them.

    GRU:   z, r = sigmoid(x U_zr + h W_zr + b),   h' = z h + (1 - z) tanh(x U_h + b_h + r (h W_h + d_h))
    LSTM:  i, f, o = sigmoid(x U_ifo + h W_ifo + b),   s' = f s + i tanh(x U_g + h W_g + b_g),   h' = o tanh(s')

As in the bistable cells, ``z`` multiplies the old state. The products with ``x`` stand outside the loop. Time O(T B H (I + H)),
memory O(T B H) with a factor of gates that the backward pass needs.

References:
  Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014; the reset gate follows its product, as in cuDNN.
  Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; Gers, Schmidhuber, Cummins, "Learning to Forget", 2000.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.ops.recurrent.bistable import check_shapes, check_state, multiply

LSTMState = tuple[Float[Array, "B H"], Float[Array, "B H"]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Gated:
    """Parameters of one layer, gates side by side: z, r, h of a GRU; i, f, g, o of an LSTM."""

    input: Float[Array, "I gates_H"]
    recurrent: Float[Array, "H gates_H"]
    bias: Float[Array, " gates_H"]
    candidate_bias: Float[Array, " H"] | None = None
    """Of a GRU: what the reset gate multiplies beside ``h W_h``; None: nothing."""


def gru(
    inputs: Float[Array, "B T I"], parameters: Gated, initial_state: Float[Array, "B H"] | None = None
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """The gated recurrent unit over a sequence.

    Args:
      inputs: the sequence.
      parameters: of three gates.
      initial_state: the state before the first step; None: zeros.

    Returns:
      The state after each step, and after the last.

    Raises:
      ValueError: if shapes do not fit.
    """
    projected, state = _begin(inputs, parameters, 3, initial_state)
    hidden = state.shape[-1]
    inner = 0.0 if parameters.candidate_bias is None else parameters.candidate_bias.astype(state.dtype)
    weights = parameters.recurrent.astype(state.dtype)

    def one(h: jax.Array, now: jax.Array):
        fed_back = h @ weights
        z, r = jnp.split(jax.nn.sigmoid(now[:, : 2 * hidden] + fed_back[:, : 2 * hidden]), 2, axis=-1)
        h = z * h + (1.0 - z) * jnp.tanh(now[:, 2 * hidden :] + r * (fed_back[:, 2 * hidden :] + inner))
        return h, h

    last, states = jax.lax.scan(one, state, projected)
    return jnp.swapaxes(states, 0, 1), last


def lstm(
    inputs: Float[Array, "B T I"], parameters: Gated, initial_state: LSTMState | None = None
) -> tuple[Float[Array, "B T H"], LSTMState]:
    """Long short-term memory over a sequence.

    Args:
      inputs: the sequence.
      parameters: of four gates.
      initial_state: output and cell before the first step; None: zeros.

    Returns:
      The output of each step, and output and cell after the last.

    Raises:
      ValueError: if shapes do not fit.
    """
    output, cell = (None, None) if initial_state is None else initial_state
    projected, output = _begin(inputs, parameters, 4, output)
    check_state(cell, output.shape)
    cell = jnp.zeros_like(output) if cell is None else cell.astype(output.dtype)
    weights = parameters.recurrent.astype(output.dtype)

    def one(state: LSTMState, now: jax.Array):
        h, s = state
        i, f, g, o = jnp.split(now + h @ weights, 4, axis=-1)
        s = jax.nn.sigmoid(f) * s + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(s)
        return (h, s), h

    last, states = jax.lax.scan(one, (output, cell), projected)
    return jnp.swapaxes(states, 0, 1), last


def _begin(inputs: jax.Array, parameters: Gated, gates: int, initial: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """The products with the input ``[T, B, gates * H]``, and the state before the first step."""
    (batch, _, size), hidden = inputs.shape, parameters.recurrent.shape[0]
    wide = gates * hidden
    check_shapes(parameters, input=(size, wide), recurrent=(hidden, wide), bias=(wide,), candidate_bias=(hidden,))
    check_state(initial, (batch, hidden))
    (projected,) = multiply(inputs, (parameters.input, parameters.bias))
    dtype = projected.dtype
    return projected, jnp.zeros((batch, hidden), dtype) if initial is None else initial.astype(dtype)
