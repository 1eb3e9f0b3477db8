"""RoBERTa checkpoints: BERT's blocks, counted positions, and a classifier with a hidden layer of its own."""

from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.pretrained.bert import ATTENTION_NORM, PROJECTIONS
from efficient_attn.pretrained.encoders import FULL, LM_HEAD, Family, token_types

ROBERTA = Family(
    model_type="roberta",
    prefix="roberta.",
    heads={
        "RobertaModel": "none",
        "RobertaForMaskedLM": "masked_lm",
        "RobertaForSequenceClassification": "classification",
        "RobertaForQuestionAnswering": "question_answering",
        "RobertaForTokenClassification": "token_classification",
        "RobertaForMultipleChoice": "multiple_choice",
    },
    positions=CountedPositions,
    projections=PROJECTIONS,
    attention_norm=ATTENTION_NORM,
    masked_lm=LM_HEAD,
    read_own=lambda fields: {"token_types": fields["type_vocab_size"]},
    write_own=lambda config: {"type_vocab_size": config.token_types},
    holds_own=lambda config: (
        config.attention == FULL
        and config.relative is None
        and config.token_types > 0
        and config.head_activation == "gelu"
    ),
    own_tensors=token_types,
).architecture()
