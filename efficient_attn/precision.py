"""Which number formats a model stores, computes in and reduces in: one record, so that no module casts on its own."""

import dataclasses
from typing import Literal

DTypeName = Literal["float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """Formats of the three kinds of number in a model.

    Softmax, normalisation statistics and losses are always float32, whatever is chosen here.
    """

    parameters: DTypeName = "float32"
    """Format in which parameters and optimizer state are kept."""
    compute: DTypeName = "float32"
    """Format of matrix products and activations."""
