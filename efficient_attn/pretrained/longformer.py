"""Longformer checkpoints: RoBERTa's, with a second set of projections for global tokens and a window for each layer.

How many tokens of a text may be global, which programs of fixed shapes have to know, is not in published files: ``max_globals``
of ``config.json`` says so where it is there, and is written.
"""

from collections.abc import Mapping
from typing import Any

from efficient_attn.models.encoder import EncoderConfig
from efficient_attn.nn.longformer_attention import Longformer
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.pretrained.bert import ATTENTION_NORM, PROJECTIONS
from efficient_attn.pretrained.encoders import LM_HEAD, Family, token_types

_GLOBAL = {f"{name}_global": f"attention.self.{name}_global" for name in ("query", "key", "value")}


def _windows(fields: Mapping[str, Any]) -> tuple[int, ...]:
    """Tokens on each side by layer; one where all layers have the same."""
    depth, both = fields["num_hidden_layers"], fields["attention_window"]
    both = [both] * depth if isinstance(both, int) else both
    if len(both) != depth or any(window % 2 or window < 2 for window in both):
        raise ValueError(
            f"attention_window must have an even number of at least 2 for each of {depth} layers, got {both}"
        )
    halves = tuple(window // 2 for window in both)
    return halves[:1] if len(set(halves)) == 1 else halves


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    attention = Longformer(
        windows=_windows(fields), max_globals=fields.get("max_globals", 64), sep_token=fields["sep_token_id"]
    )
    return {"token_types": fields["type_vocab_size"], "attention": attention}


def _write(config: EncoderConfig) -> dict[str, Any]:
    attention = config.attention
    windows = (attention.windows * config.depth)[: config.depth]
    return {
        "type_vocab_size": config.token_types,
        "attention_window": [2 * window for window in windows],
        "sep_token_id": attention.sep_token,
        "max_globals": attention.max_globals,
    }


def _holds(config: EncoderConfig) -> bool:
    attention = config.attention
    return (
        isinstance(attention, Longformer)
        and attention.dilations == ((1,),)
        and attention.sep_token is not None
        and config.relative is None
        and config.token_types > 0
        and config.head_activation == "gelu"
    )


LONGFORMER = Family(
    model_type="longformer",
    prefix="longformer.",
    heads={
        "LongformerModel": "none",
        "LongformerForMaskedLM": "masked_lm",
        "LongformerForSequenceClassification": "classification",
        "LongformerForQuestionAnswering": "question_answering",
        "LongformerForTokenClassification": "token_classification",
        "LongformerForMultipleChoice": "multiple_choice",
    },
    positions=CountedPositions,
    projections=PROJECTIONS | _GLOBAL,
    attention_norm=ATTENTION_NORM,
    masked_lm=LM_HEAD,
    read_own=_read,
    write_own=_write,
    holds_own=_holds,
    own_tensors=token_types,
).architecture()
