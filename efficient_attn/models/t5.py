"""T5 as an encoder-decoder of this library: the choices of version 1.0, the small model's sizes by default.

Reference:
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, sections 2.1 and
  3.1.2, and released code.
"""

from typing import Any

from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.nn.relative_buckets import RelativeBuckets


def t5(**changes: Any) -> Seq2SeqConfig:
    """T5's choices: norms of the root mean square before each sublayer, no bias but that of buckets of offsets, plain products.

    Args:
      changes: fields that differ; version 1.1 has ``ff_network="gated"``, ``activation="gelu_tanh"`` and ``sharing="tokens"``.

    Raises:
      ValueError: if they do not fit.
    """
    choices: dict[str, Any] = {
        # 32,000 pieces, 100 sentinels, and room that makes the table a multiple of 128.
        "vocab": 32_128,
        "longest": 512,
        "products": "plain",
        "norm": "pre",
        "norm_kind": "rms",
        "positions": RelativeBuckets(),
        "embedding": "plain",
        "ff_bias": False,
        "initialization": "t5",
        "end_dropout": 0.1,
        "attention_dropout": 0.1,
        "ff_dropout": 0.1,
    }
    return Seq2SeqConfig(**choices | changes)
