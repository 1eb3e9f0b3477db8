"""Norms of the residual stream.

References:
  Ba, Kiros, Hinton, "Layer Normalization", 2016.
  Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4: what Image GPT's released code has.
"""

from typing import Literal

from flax import nnx

NormKind = Literal["layer", "rms"]
Norm = nnx.LayerNorm | nnx.RMSNorm


def make_norm(kind: NormKind, width: int, epsilon: float, rngs: nnx.Rngs) -> Norm:
    """``(x - mean) / sqrt(var + epsilon) * gain + bias``, or ``x / sqrt(mean(x^2) + epsilon) * gain``, over ``width`` features.

    Parameters and statistics are float32 whatever the products around them are computed in.
    """
    return (nnx.RMSNorm if kind == "rms" else nnx.LayerNorm)(width, epsilon=epsilon, rngs=rngs)
