"""BigBird checkpoints: BigBirdModel, ...ForMaskedLM, ...ForSequenceClassification and so on.

A loaded model computes what ``transformers`` computes in evaluation: every random block is the first, and a key counts as often as
its block is listed. Both are fields of the model's ``attention``; with ``drawn=True`` layers see random blocks as in training.
"""

from collections.abc import Mapping
from typing import Any

from efficient_attn.models.encoder import EncoderConfig
from efficient_attn.nn.bigbird_attention import BigBird
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.pretrained.bert import ATTENTION_NORM, MASKED_LM, PROJECTIONS
from efficient_attn.pretrained.encoders import FULL, Family, token_types
from efficient_attn.pretrained.modules import read_activation

_OFFERED = {"use_bias": True, "rescale_embeddings": False}


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in _OFFERED.items():
        if fields.get(name, value) != value:
            raise NotImplementedError(f"{name} {fields[name]!r} in a big_bird; offered is {value!r}")
    sparse = _evaluated(
        fields["block_size"], fields["num_random_blocks"], fields["max_position_embeddings"], fields["sep_token_id"]
    )
    return {
        "attention": FULL if fields["attention_type"] == "original_full" else sparse,
        "token_types": fields["type_vocab_size"],
        "head_activation": read_activation(fields["hidden_act"]),
    }


def _evaluated(block: int, random_blocks: int, longest: int, separator: int) -> BigBird:
    """The attention of ``transformers`` in evaluation."""
    return BigBird(
        block=block,
        random_blocks=random_blocks,
        longest=longest,
        separator=separator,
        drawn=False,
        draws=1,
        count_repeats=True,
    )


def _write(config: EncoderConfig) -> dict[str, Any]:
    attention = config.attention
    return {
        "type_vocab_size": config.token_types,
        "attention_type": "block_sparse",
        "block_size": attention.block,
        "num_random_blocks": attention.random_blocks,
        "sep_token_id": attention.separator,
        **_OFFERED,
    }


def _holds(config: EncoderConfig) -> bool:
    own = config.attention
    return (
        isinstance(own, BigBird)
        and own == _evaluated(own.block, own.random_blocks, config.positions.rows, own.separator)
        and config.token_types > 0
        and config.head_activation == config.activation
    )


BIG_BIRD = Family(
    model_type="big_bird",
    prefix="bert.",
    heads={
        "BigBirdModel": "none",
        "BigBirdForMaskedLM": "masked_lm",
        "BigBirdForPreTraining": "masked_lm",
        "BigBirdForSequenceClassification": "activated_classification",
        "BigBirdForQuestionAnswering": "residual_question_answering",
        "BigBirdForTokenClassification": "token_classification",
        "BigBirdForMultipleChoice": "multiple_choice",
    },
    positions=SlotPositions,
    projections=PROJECTIONS,
    attention_norm=ATTENTION_NORM,
    masked_lm=MASKED_LM,
    read_own=_read,
    write_own=_write,
    holds_own=_holds,
    own_tensors=token_types,
    pooler="pooler",
    unused=("cls.seq_relationship.",),
).architecture()
