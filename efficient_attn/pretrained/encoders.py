"""What the checkpoints of the families around BERT have in common: one list of tensors under different names.

``initializer_range`` and fields of no consequence here, as ``use_cache``, are read over and not written. A head without a pooler
keeps one that the file has: published checkpoints often hold both.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from efficient_attn.models.encoder import Encoder, EncoderConfig
from efficient_attn.models.encoder_heads import POOLED, HeadName
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.text_embedding import TextPositions
from efficient_attn.pretrained.architecture import Architecture, Tensor
from efficient_attn.pretrained.modules import layer_place, linear, norm, read_activation, write_activation

FULL = Sparse(patterns=("Full()",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedLMNames:
    """Where the head of masked language modelling lies in the file."""

    dense: str
    norm: str
    bias: str
    decoder: str
    """A copy of the token table and of the bias."""


LM_HEAD = MaskedLMNames(
    dense="lm_head.dense", norm="lm_head.layer_norm", bias="lm_head.bias", decoder="lm_head.decoder"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A ``model_type`` with the blocks of BERT.

    Args:
      model_type: as ``config.json`` has it.
      prefix: of all tensors but the head's; the bare model's file is without.
      heads: of the classes that are offered, the bare model's first.
      positions: which row of the table a token takes.
      projections: names in a layer of those of our attention.
      attention_norm: name in a layer.
      masked_lm: names of that head.
      pooler: name of the pooler's projection.
      read_own: fields of our config that not all families have, from the file's.
      write_own: the reverse.
      holds_own: whether these fields of our config are the family's.
      own_tensors: tensors that not all families have, from our config and the prefix.
      unused: beginnings of names of parameters without a place here.
    """

    model_type: str
    prefix: str
    heads: Mapping[str, HeadName]
    positions: type[TextPositions]
    projections: Mapping[str, str]
    attention_norm: str
    masked_lm: MaskedLMNames
    read_own: Callable[[Mapping[str, Any]], dict[str, Any]]
    write_own: Callable[[EncoderConfig], dict[str, Any]]
    holds_own: Callable[[EncoderConfig], bool]
    own_tensors: Callable[[EncoderConfig, str], Sequence[Tensor]]
    unused: tuple[str, ...] = ()
    pooler: str = "pooler.dense"

    def architecture(self) -> Architecture:
        """The family as the reader and the writer of folders take it."""
        return Architecture(
            model=Encoder,
            build=Encoder,
            holds=self._holds,
            read_config=self._read_config,
            write_config=self._write_config,
            tensors=self._tensors,
            ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
            unused=self.unused,
        )

    def _holds(self, config: EncoderConfig) -> bool:
        return (
            config.head in self.heads.values() and type(config.positions) is self.positions and self.holds_own(config)
        )

    def _read_config(self, fields: Mapping[str, Any], stored: Collection[str]) -> EncoderConfig:
        head = self._head(fields, stored)
        prefix = "" if head == "none" else self.prefix
        dropout, own = fields["hidden_dropout_prob"], fields.get("classifier_dropout")
        return EncoderConfig(
            vocab=fields["vocab_size"],
            depth=fields["num_hidden_layers"],
            width=fields["hidden_size"],
            heads=fields["num_attention_heads"],
            ff_width=fields["intermediate_size"],
            positions=self.positions(rows=fields["max_position_embeddings"]),
            pad_token=fields["pad_token_id"],
            activation=read_activation(fields["hidden_act"]),
            head=head,
            labels=_labels(fields, head),
            pooler=head in POOLED or f"{prefix}{self.pooler}.weight" in stored,
            dropout=dropout,
            attention_dropout=fields["attention_probs_dropout_prob"],
            head_dropout=dropout if own is None else own,
            norm_epsilon=fields["layer_norm_eps"],
            **self.read_own(fields),
        )

    def _head(self, fields: Mapping[str, Any], stored: Collection[str]) -> HeadName:
        """What the class has on top; nothing where the file is a bare model's, though the config may name another class."""
        _refuse_choices(fields)
        name = (fields.get("architectures") or list(self.heads))[0]
        if name not in self.heads:
            raise NotImplementedError(f"a model of class {name!r}; those offered are {', '.join(self.heads)}")
        bare = not any(tensor.startswith(self.prefix) for tensor in stored)
        return "none" if bare else self.heads[name]

    def _write_config(self, config: EncoderConfig) -> dict[str, Any]:
        names = dict(enumerate(config.labels))
        return {
            "model_type": self.model_type,
            "architectures": [next(name for name, head in self.heads.items() if head == config.head)],
            "vocab_size": config.vocab,
            "num_hidden_layers": config.depth,
            "hidden_size": config.width,
            "num_attention_heads": config.heads,
            "intermediate_size": config.ff_width,
            "max_position_embeddings": config.positions.rows,
            "pad_token_id": config.pad_token,
            "hidden_act": write_activation(config.activation),
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.attention_dropout,
            "classifier_dropout": None if config.head_dropout == config.dropout else config.head_dropout,
            "layer_norm_eps": config.norm_epsilon,
            "tie_word_embeddings": True,
            "id2label": {str(n): name for n, name in names.items()},
            "label2id": {name: n for n, name in names.items()},
            **self.write_own(config),
        }

    def _tensors(self, config: EncoderConfig) -> list[Tensor]:
        prefix = "" if config.head == "none" else self.prefix
        decoder = (f"{self.masked_lm.decoder}.weight",) if config.head == "masked_lm" else ()
        table, embedding = f"{prefix}embeddings.word_embeddings.weight", ("embedding",)
        layers = range(config.depth)
        return [
            Tensor(name=table, path=(*embedding, "tokens"), aliases=decoder),
            Tensor(name=f"{prefix}embeddings.position_embeddings.weight", path=(*embedding, "positions")),
            *norm(f"{prefix}embeddings.LayerNorm", (*embedding, "norm")),
            *(t for layer in layers for t in self._layer(config, f"{prefix}encoder.layer.{layer}.", layer)),
            *(linear(f"{prefix}{self.pooler}", ("pooler", "dense")) if config.pooler else ()),
            *self.own_tensors(config, prefix),
            *self._head_tensors(config.head),
        ]

    def _layer(self, config: EncoderConfig, prefix: str, number: int) -> list[Tensor]:
        path, row = layer_place(number, len(config.attention.parsed()), config.depth)
        maps = {("attention", ours): theirs for ours, theirs in self.projections.items()}
        maps |= {("feedforward", "expand"): "intermediate.dense", ("feedforward", "contract"): "output.dense"}
        return [
            *(t for ours, name in maps.items() for t in linear(f"{prefix}{name}", (*path, *ours), row)),
            *norm(f"{prefix}{self.attention_norm}", (*path, "attention_norm"), row),
            *norm(f"{prefix}output.LayerNorm", (*path, "feedforward_norm"), row),
        ]

    def _head_tensors(self, head: HeadName) -> list[Tensor]:
        if head == "none":
            return []
        if head == "masked_lm":
            names = self.masked_lm
            bias = Tensor(name=names.bias, path=("head", "bias"), aliases=(f"{names.decoder}.bias",))
            return [*linear(names.dense, ("head", "dense")), *norm(names.norm, ("head", "norm")), bias]
        if head in ("classification", "activated_classification"):
            return [
                *linear("classifier.dense", ("head", "dense")),
                *linear("classifier.out_proj", ("head", "project")),
            ]
        if head == "residual_question_answering":
            names, network = "qa_classifier", ("head", "feedforward")
            return [
                *linear(f"{names}.intermediate.dense", (*network, "expand")),
                *linear(f"{names}.output.dense", (*network, "contract")),
                *norm(f"{names}.output.LayerNorm", ("head", "norm")),
                *linear(f"{names}.qa_outputs", ("head", "project")),
            ]
        return linear("qa_outputs" if head == "question_answering" else "classifier", ("head", "project"))


def token_types(config: EncoderConfig, prefix: str) -> list[Tensor]:
    """The table of token types, for families that have one."""
    del config
    return [Tensor(name=f"{prefix}embeddings.token_type_embeddings.weight", path=("embedding", "types"))]


def _labels(fields: Mapping[str, Any], head: HeadName) -> tuple[str, ...]:
    """Names of the classes in order; two without names where the file has none, as ``transformers`` then has."""
    names = fields.get("id2label") or {str(n): f"LABEL_{n}" for n in range(fields.get("num_labels", 2))}
    labels = tuple(names[key] for key in sorted(names, key=int))
    if head.endswith("question_answering") and len(labels) != 2:
        raise ValueError(f"a model that answers questions has 2 labels, where the answer begins and ends; got {labels}")
    return labels


def _refuse_choices(fields: Mapping[str, Any]) -> None:
    offered = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}
    for name, value in offered.items():
        if fields.get(name, value) != value:
            raise NotImplementedError(f"{name} {fields[name]!r} in a {fields['model_type']}; offered is {value!r}")
