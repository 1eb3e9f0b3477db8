"""The two initialisations of the Sparse Transformer, as its paper writes them and as its code has them, and six others.

The paper's weights are ``N(0, 0.125 / sqrt(fan_in))``. Read as a standard deviation that is 2.8 times smaller than the code's
``sqrt(0.125 / fan_in)``, which is the default here because it produced the published results. Both begin with tokens a hundred
times smaller than a layer norm makes them. ``unit`` is the code's with tokens of standard deviation 1, as in T5: a small model
with little time learns much faster from there. ``bert`` draws everything with the same 0.02, as BERT and RoBERTa do.
``t5`` is normal with variance ``1 / fan_in``, but for queries, which are smaller by the root of a head's size: their products
with keys are not scaled.
``image_gpt`` is that of Image GPT's released code, where the depth of the model reaches the attention's output alone.
``glorot`` and ``unit_scaling`` are uniform with variance ``2 / (fan_in + fan_out)`` and ``1 / fan_in`` in every projection: those
of the translation examples of Flax and of tensor2tensor, whose tokens are drawn with the module that looks them up.

References:
  Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 6.
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, released code.
  Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019,
  released code.
  Chen et al., "Generative Pretraining from Pixels", 2020, released code.
"""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from flax import nnx

Scheme = Literal["code", "paper", "unit", "bert", "image_gpt", "glorot", "unit_scaling", "t5"]

_SMALL = 0.02

_UNIFORM: Mapping[str, nnx.Initializer] = MappingProxyType(
    {
        "glorot": nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
        "unit_scaling": nnx.initializers.variance_scaling(1.0, "fan_in", "uniform"),
    }
)


@dataclasses.dataclass(frozen=True)
class Initialization:
    """Standard deviations of a model's parameters."""

    scheme: Scheme
    depth: int
    """Residual blocks: projections back into the residual stream shrink with it."""

    def weight(self, fan_in: int) -> nnx.Initializer:
        """A projection out of the residual stream."""
        return _UNIFORM.get(self.scheme) or nnx.initializers.normal(self._weight(fan_in))

    def query(self, fan_in: int, head: int) -> nnx.Initializer:
        """The projection to queries, of heads of this size."""
        return nnx.initializers.normal((fan_in * head) ** -0.5) if self.scheme == "t5" else self.weight(fan_in)

    def residual(self, fan_in: int) -> nnx.Initializer:
        """A projection back into the residual stream: smaller by ``sqrt(2 * depth)``, in Image GPT ``sqrt(depth)``, in BERT and T5
        1."""
        if self.scheme in _UNIFORM:
            return _UNIFORM[self.scheme]
        shrunk = {"bert": 1.0, "t5": 1.0, "image_gpt": math.sqrt(self.depth)}.get(
            self.scheme, math.sqrt(2 * self.depth)
        )
        return nnx.initializers.normal(self._weight(fan_in) / shrunk)

    def expand(self, fan_in: int) -> nnx.Initializer:
        """The feed-forward's projection out of the residual stream."""
        return self.weight(fan_in) if self.scheme != "image_gpt" else nnx.initializers.normal(_SMALL)

    def contract(self, fan_in: int) -> nnx.Initializer:
        """The feed-forward's projection back."""
        return self.residual(fan_in) if self.scheme != "image_gpt" else nnx.initializers.normal(_SMALL)

    def token(self, width: int) -> nnx.Initializer:
        """The token table and the start vector."""
        paper = 0.125 / math.sqrt(width)
        return nnx.initializers.normal({"code": 0.013, "paper": paper, "unit": 1.0, "t5": 1.0}.get(self.scheme, _SMALL))

    def position(self, width: int, tables: int) -> nnx.Initializer:
        """One of ``tables`` position tables that are summed."""
        own = {"paper": 0.125 / math.sqrt(width), "bert": _SMALL, "image_gpt": 0.01, "t5": width**-0.5}
        one = own.get(self.scheme, 0.007)
        return nnx.initializers.normal(one / math.sqrt(tables))

    def _weight(self, fan_in: int) -> float:
        own = {
            "paper": 0.125 / math.sqrt(fan_in),
            "bert": _SMALL,
            "image_gpt": 1.0 / math.sqrt(fan_in),
            "t5": fan_in**-0.5,
        }
        return own.get(self.scheme, math.sqrt(0.125 / fan_in))
