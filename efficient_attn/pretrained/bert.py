"""BERT checkpoints: BertModel, ...ForMaskedLM, ...ForSequenceClassification and so on."""

from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.pretrained.encoders import FULL, Family, MaskedLMNames, token_types
from efficient_attn.pretrained.modules import read_activation

PROJECTIONS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
}
ATTENTION_NORM = "attention.output.LayerNorm"
_HEAD = "cls.predictions"
MASKED_LM = MaskedLMNames(
    dense=f"{_HEAD}.transform.dense",
    norm=f"{_HEAD}.transform.LayerNorm",
    bias=f"{_HEAD}.bias",
    decoder=f"{_HEAD}.decoder",
)

BERT = Family(
    model_type="bert",
    prefix="bert.",
    heads={
        "BertModel": "none",
        "BertForMaskedLM": "masked_lm",
        "BertForPreTraining": "masked_lm",
        "BertForSequenceClassification": "pooled_classification",
        "BertForQuestionAnswering": "question_answering",
        "BertForTokenClassification": "token_classification",
        "BertForMultipleChoice": "multiple_choice",
    },
    positions=SlotPositions,
    projections=PROJECTIONS,
    attention_norm=ATTENTION_NORM,
    masked_lm=MASKED_LM,
    read_own=lambda fields: {
        "token_types": fields["type_vocab_size"],
        "head_activation": read_activation(fields["hidden_act"]),
    },
    write_own=lambda config: {"type_vocab_size": config.token_types},
    holds_own=lambda config: (
        config.attention == FULL
        and config.relative is None
        and config.token_types > 0
        and config.head_activation == config.activation
    ),
    own_tensors=token_types,
    # Whether a text follows another, which RoBERTa showed to be of no use.
    unused=("cls.seq_relationship.",),
).architecture()
