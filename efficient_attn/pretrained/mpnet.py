"""MPNet checkpoints: RoBERTa's blocks with a shared bias by buckets of offsets, and without token types."""

from collections.abc import Mapping
from typing import Any

from efficient_attn.models.encoder import EncoderConfig, RelativeBuckets
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.pretrained.architecture import Tensor
from efficient_attn.pretrained.encoders import FULL, LM_HEAD, Family

# transformers has these in its code, whatever its config says.
_BUCKETS = RelativeBuckets(buckets=32, longest=128)
_PADDING = 1


def _read_own(fields: Mapping[str, Any]) -> dict[str, Any]:
    if fields["relative_attention_num_buckets"] != _BUCKETS.buckets:
        raise NotImplementedError(
            f"relative_attention_num_buckets {fields['relative_attention_num_buckets']}; offered is {_BUCKETS.buckets}, "
            "which released code uses whatever the field says"
        )
    if fields["pad_token_id"] != _PADDING:
        raise NotImplementedError(
            f"pad_token_id {fields['pad_token_id']}; offered is {_PADDING}, from which released code counts positions"
        )
    return {"relative": _BUCKETS}


def _own_tensors(config: EncoderConfig, prefix: str) -> list[Tensor]:
    del config
    return [Tensor(name=f"{prefix}encoder.relative_attention_bias.weight", path=("relative", "table"))]


MPNET = Family(
    model_type="mpnet",
    prefix="mpnet.",
    heads={
        "MPNetModel": "none",
        "MPNetForMaskedLM": "masked_lm",
        "MPNetForSequenceClassification": "classification",
        "MPNetForQuestionAnswering": "question_answering",
        "MPNetForTokenClassification": "token_classification",
        "MPNetForMultipleChoice": "multiple_choice",
    },
    positions=CountedPositions,
    projections={ours: f"attention.attn.{ours[0]}" for ours in ("query", "key", "value", "output")},
    attention_norm="attention.LayerNorm",
    masked_lm=LM_HEAD,
    read_own=_read_own,
    write_own=lambda config: {"relative_attention_num_buckets": _BUCKETS.buckets},
    holds_own=lambda config: (
        config.attention == FULL
        and config.relative == _BUCKETS
        and config.token_types == 0
        and config.pad_token == _PADDING
        and config.head_activation == "gelu"
    ),
    own_tensors=_own_tensors,
).architecture()
