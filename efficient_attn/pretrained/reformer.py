"""Reformer checkpoints: ReformerModel, ...ModelWithLMHead, ...ForMaskedLM, ...ForSequenceClassification, ...ForQuestionAnswering.

Dropout of attention weights has no counterpart here: it is read over, and written as 0. Rounds, buckets and chunks are those
of the file; rotations can be given to the model, and are otherwise drawn by JAX, so results of LSH layers differ from those
of another program in the buckets that were drawn.
"""

from collections.abc import Collection, Mapping
from typing import Any

from efficient_attn.models.reformer import Reformer, ReformerConfig
from efficient_attn.models.reformer_heads import HeadName
from efficient_attn.nn.embedding import AxialPositions, TablePositions
from efficient_attn.nn.lsh_attention import Hashing
from efficient_attn.patterns.local import NearChunks
from efficient_attn.pretrained.architecture import Architecture, Layout, Tensor
from efficient_attn.pretrained.modules import kernel, layer_place, linear, norm, read_activation, write_activation

_HEADS: Mapping[str, HeadName] = {
    "ReformerModel": "none",
    "ReformerModelWithLMHead": "language_modelling",
    "ReformerForMaskedLM": "language_modelling",
    "ReformerForSequenceClassification": "classification",
    "ReformerForQuestionAnswering": "question_answering",
}


def _read_config(fields: Mapping[str, Any], stored: Collection[str]) -> ReformerConfig:
    del stored
    (name, *_) = fields["architectures"] or ("none",)
    if name not in _HEADS:
        raise NotImplementedError(f"a Reformer of class {name!r}; those offered are {', '.join(_HEADS)}")
    return ReformerConfig(
        vocab=fields["vocab_size"],
        width=fields["hidden_size"],
        heads=fields["num_attention_heads"],
        head_size=fields["attention_head_size"],
        ff_width=fields["feed_forward_size"],
        layers=tuple(fields["attn_layers"]),
        positions=_positions(fields),
        causal=fields["is_decoder"],
        hashing=_hashing(fields),
        local=NearChunks(
            fields["local_attn_chunk_length"], fields["local_num_chunks_before"], fields["local_num_chunks_after"]
        ),
        activation=read_activation(fields["hidden_act"]),
        head=_HEADS[name],
        labels=len(fields.get("id2label") or "01"),
        dropout=fields["hidden_dropout_prob"],
        norm_epsilon=fields["layer_norm_eps"],
        pad_token=fields.get("pad_token_id") or 0,
        ff_stretch=fields.get("chunk_size_feed_forward") or None,
    )


def _positions(fields: Mapping[str, Any]) -> TablePositions | AxialPositions:
    if fields["axial_pos_embds"]:
        return AxialPositions(sizes=tuple(fields["axial_pos_shape"]), widths=tuple(fields["axial_pos_embds_dim"]))
    return TablePositions(sizes=(fields["max_position_embeddings"],))


def _hashing(fields: Mapping[str, Any]) -> Hashing:
    chunk, buckets = fields["lsh_attn_chunk_length"], fields["num_buckets"]
    return Hashing(
        chunk=chunk,
        buckets=(buckets,) if isinstance(buckets, int) else tuple(buckets) if buckets else None,
        # Where transformers goes over to two factors, if it chooses them.
        most_buckets=2 * max(int((fields["max_position_embeddings"] // chunk) ** 0.5), chunk),
        rounds=fields["num_hashes"],
        look_back=fields["lsh_num_chunks_before"],
        look_ahead=fields["lsh_num_chunks_after"],
        seed=fields.get("hash_seed") or 0,
    )


def _write_config(config: ReformerConfig) -> dict[str, Any]:
    hashing, local, positions = config.hashing, config.local, config.positions
    names = [name for name, head in _HEADS.items() if head == config.head]
    axial = isinstance(positions, AxialPositions)
    tables = {"axial_pos_shape": list(positions.sizes), "axial_pos_embds_dim": list(positions.widths)} if axial else {}
    classes = {str(n): f"LABEL_{n}" for n in range(config.labels)} if config.head == "classification" else {}
    return {
        "model_type": "reformer",
        "architectures": [names[0] if config.causal else names[-1]],
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "attention_head_size": config.head_size,
        "feed_forward_size": config.ff_width,
        "attn_layers": list(config.layers),
        "num_hidden_layers": len(config.layers),
        "axial_pos_embds": axial,
        **tables,
        "max_position_embeddings": positions.length,
        "is_decoder": config.causal,
        "hidden_act": write_activation(config.activation),
        "hidden_dropout_prob": config.dropout,
        "layer_norm_eps": config.norm_epsilon,
        "pad_token_id": config.pad_token,
        "chunk_size_feed_forward": config.ff_stretch or 0,
        "lsh_attn_chunk_length": hashing.chunk,
        "lsh_num_chunks_before": hashing.look_back,
        "lsh_num_chunks_after": hashing.look_ahead,
        "lsh_attention_probs_dropout_prob": 0.0,
        "num_buckets": list(hashing.buckets)
        if len(hashing.buckets or ()) > 1
        else next(iter(hashing.buckets or ()), None),
        "num_hashes": hashing.rounds,
        "hash_seed": hashing.seed or None,
        "local_attn_chunk_length": local.size,
        "local_num_chunks_before": local.left,
        "local_num_chunks_after": local.right,
        "local_attention_probs_dropout_prob": 0.0,
        "tie_word_embeddings": False,
        **({"id2label": classes, "label2id": {name: int(n) for n, name in classes.items()}} if classes else {}),
    }


def _tensors(config: ReformerConfig) -> list[Tensor]:
    base = "" if config.head == "none" else "reformer."
    layers = [
        t for number in range(len(config.layers)) for t in _layer(config, f"{base}encoder.layers.{number}.", number)
    ]
    return [
        Tensor(name=f"{base}embeddings.word_embeddings.weight", path=("tokens",)),
        *_tables(config, f"{base}embeddings.position_embeddings."),
        *layers,
        *norm(f"{base}encoder.layer_norm", ("norm",)),
        *_head(config.head),
    ]


def _tables(config: ReformerConfig, prefix: str) -> list[Tensor]:
    positions = config.positions
    if isinstance(positions, TablePositions):
        return [Tensor(name=f"{prefix}embedding.weight", path=("tables", 0))]

    def layout(axis: int) -> Layout:
        beside = [1] * len(positions.sizes)
        beside[axis] = positions.sizes[axis]
        return Layout(lambda x: x.reshape(-1, x.shape[-1]), lambda x: x.reshape(*beside, x.shape[-1]))

    return [
        Tensor(name=f"{prefix}weights.{axis}", path=("tables", axis), layout=layout(axis))
        for axis in range(len(positions.sizes))
    ]


def _layer(config: ReformerConfig, prefix: str, number: int) -> list[Tensor]:
    path, row = layer_place(number, len(config.cycle), len(config.layers))
    kinds = ("query_key", "value") if config.layers[number] == "lsh" else ("query", "key", "value")
    attention, feedforward = f"{prefix}attention.", f"{prefix}feed_forward."
    projections = {f"{attention}self_attention.{kind}": ("attention", kind) for kind in kinds}
    projections[f"{attention}output.dense"] = ("attention", "output")
    dense = {f"{feedforward}dense.dense": "expand", f"{feedforward}output.dense": "contract"}
    return [
        *norm(f"{attention}layer_norm", (*path, "attention_norm"), row),
        *(kernel(name, (*path, *own), row) for name, own in projections.items()),
        *norm(f"{feedforward}layer_norm", (*path, "feedforward_norm"), row),
        *(t for name, own in dense.items() for t in linear(name, (*path, "feedforward", own), row)),
    ]


def _head(head: HeadName) -> list[Tensor]:
    if head == "language_modelling":
        bias = Tensor(name="lm_head.decoder.bias", also=("lm_head.bias",), path=("head", "project", "bias"))
        return [kernel("lm_head.decoder", ("head", "project")), bias]
    if head == "classification":
        out = linear("classifier.out_proj", ("head", "project"))
        return [*linear("classifier.dense", ("head", "dense")), *out]
    return linear("qa_outputs", ("head", "project")) if head == "question_answering" else []


REFORMER = Architecture(
    model=Reformer,
    build=Reformer,
    holds=lambda config: True,
    read_config=_read_config,
    write_config=_write_config,
    tensors=_tensors,
    # Constants that older versions stored beside the parameters.
    ignored=("mask_value_float16", "mask_value_float32"),
)
