"""Image GPT checkpoints: ImageGPTModel, ImageGPTForCausalImageModeling and ImageGPTForImageClassification.

The second is a ``Decoder``, which shifts its tokens itself: its logits of an image are those of ``transformers`` for the start,
number ``vocab_size - 1``, and all pixels but the last. The others are an ``ImageReader``, which reads what ``transformers`` reads.

The published parameters have no biases, and ``transformers`` adds some: where all of a file are 0, the model here has none, and
they are written as 0. Dropout of attention weights has no counterpart here: it is read over, and written as 0; dropout of the
embedding is that of the sublayers' outputs.

The checkpoints of the paper's authors, S, M and L at 32 x 32 after 131, 262, 524 and 1,000 thousand steps, by next and by
masked pixels, are TensorFlow's, in 32 to 64 shards, and are read here once ``transformers``' own conversion has made a folder of
them. Their arrays, each under ``model/``, and what they are in such a folder; sizes of 1 before the others are dropped:

  ``wte`` ``[512, d]`` and ``sos`` ``[d]``: rows 0 to 511 and 512 of ``wte.weight``
  ``wpe`` ``[1024, d]``: ``wpe.weight``; row ``i`` is added to what tells pixel ``i``, the start being the first
  ``wtet`` ``[512, d]``: ``lm_head.weight``
  ``hN/attn/{q,k,v}_proj/w``, an output to each row once ``[d, d]``: transposed, the thirds of ``h.N.attn.c_attn.weight``
  ``hN/attn/c_proj/w``, an input to each row once ``[d, d]``: ``h.N.attn.c_proj.weight``
  ``hN/mlp/{c_fc,c_proj}/w``, an input to each row: ``h.N.mlp.{c_fc,c_proj}.weight``
  ``hN/ln_1/g``, ``hN/ln_2/g``, ``ln_f/g``: the weights of these norms

The moments of their optimizer lie beside them and are left.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from efficient_attn.models.decoder import Decoder
from efficient_attn.models.decoder_config import RECOMPUTED, DecoderConfig
from efficient_attn.models.image_gpt import ImageReader, ImageReaderConfig
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.nn.sparse import Sparse
from efficient_attn.patterns.local import Causal
from efficient_attn.pretrained.architecture import TRANSPOSED, Architecture, Layout, Tensor
from efficient_attn.pretrained.modules import Path, layer_place, read_activation, write_activation

AnyConfig = DecoderConfig | ImageReaderConfig

_CAUSAL, _BARE, _CLASSES = "ImageGPTForCausalImageModeling", "ImageGPTModel", "ImageGPTForImageClassification"
# What is offered of a choice that has no counterpart here.
_FIXED = {
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": False,
}
# The start is the table's last row.
_ROW = Layout(lambda x: x[0], lambda x: x[None])
_TRAINING = (*RECOMPUTED, "dropout", "precision", "initialization")


def _read_config(fields: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> AnyConfig:
    (name, *_) = fields["architectures"] or (_BARE,)
    if name not in (_CAUSAL, _BARE, _CLASSES):
        raise NotImplementedError(f"an Image GPT of class {name!r}; those offered are {_CAUSAL}, {_BARE}, {_CLASSES}")
    for field, offered in _FIXED.items():
        if fields.get(field, offered) != offered:
            raise NotImplementedError(f"an Image GPT with {field}={fields[field]!r}; only {offered!r} is offered")
    biases = any(
        x.any() for tensor, x in stored.items() if tensor.endswith((".c_attn.bias", ".c_proj.bias", ".c_fc.bias"))
    )
    decoder = DecoderConfig(
        depth=fields["n_layer"],
        width=fields["n_embd"],
        heads=fields["n_head"],
        ff_width=fields.get("n_inner"),
        vocab=fields["vocab_size"] - 1,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=biases,
        ff_bias=biases,
        positions=TablePositions(sizes=(fields["n_positions"],)),
        slot_positions="predicted",
        norm_kind="rms",
        activation=read_activation(fields["activation_function"]),
        logits="untied_zero" if name == _CAUSAL else "tied",
        initialization="image_gpt",
        dropout=fields["resid_pdrop"],
    )
    labels = len(fields.get("id2label") or "01") if name == _CLASSES else None
    return decoder if name == _CAUSAL else ImageReaderConfig(decoder=decoder, labels=labels)


def _decoder(config: AnyConfig) -> DecoderConfig:
    return config if isinstance(config, DecoderConfig) else config.decoder


def _prefix(config: AnyConfig) -> str:
    """Before the names of all but a head: nothing where there is none."""
    return "" if isinstance(config, ImageReaderConfig) and config.labels is None else "transformer."


def _write_config(config: AnyConfig) -> dict[str, Any]:
    decoder, labels = _decoder(config), getattr(config, "labels", None)
    head = _CAUSAL if config is decoder else _BARE if labels is None else _CLASSES
    classes = {str(n): f"LABEL_{n}" for n in range(labels or 0)}
    return {
        "model_type": "imagegpt",
        "architectures": [head],
        "vocab_size": decoder.vocab + 1,
        "n_positions": decoder.positions.length,
        "n_embd": decoder.width,
        "n_layer": decoder.depth,
        "n_head": decoder.heads,
        "n_inner": decoder.ff_width,
        "activation_function": write_activation(decoder.activation),
        "resid_pdrop": decoder.dropout,
        "embd_pdrop": decoder.dropout,
        "attn_pdrop": 0.0,
        **_FIXED,
        **({"id2label": classes, "label2id": {name: int(n) for n, name in classes.items()}} if classes else {}),
    }


def _holds(config: AnyConfig) -> bool:
    """Whether a file says all of a model but how it is trained and in which format it computes."""
    decoder = _decoder(config)
    dense = isinstance(decoder.attention, Sparse) and set(decoder.attention.parsed()) == {Causal()}
    if not dense or not isinstance(decoder.positions, TablePositions) or len(decoder.positions.sizes) != 1:
        return False
    # One array for each kind of bias is enough to tell that there are some.
    biases = {"h.0.mlp.c_fc.bias": np.full(1, decoder.ff_bias)}
    written = _decoder(_read_config(_write_config(config), biases))
    trained = {name: getattr(decoder, name) for name in (*_TRAINING, "attention")}
    return dataclasses.replace(written, **trained) == decoder


def _tensors(config: AnyConfig) -> list[Tensor]:
    decoder = _decoder(config)
    base: Path = () if config is decoder else ("decoder",)
    prefix = _prefix(config)
    embedding = (*base, "embedding")
    tensors = [
        Tensor(name=f"{prefix}wte.weight", path=(*embedding, "tokens"), joined=0),
        Tensor(name=f"{prefix}wte.weight", path=(*embedding, "start"), joined=0, layout=_ROW),
        Tensor(name=f"{prefix}wpe.weight", path=(*embedding, "tables", 0)),
        *(t for number in range(decoder.depth) for t in _layer(decoder, prefix, base, number)),
        Tensor(name=f"{prefix}ln_f.weight", path=(*base, "final_norm", "scale")),
    ]
    if config is decoder:
        return [*tensors, Tensor(name="lm_head.weight", path=("embedding", "head"), layout=TRANSPOSED)]
    if config.labels is not None:
        tensors.append(Tensor(name="score.weight", path=("score", "kernel"), layout=TRANSPOSED))
    return tensors


def _layer(decoder: DecoderConfig, prefix: str, base: Path, number: int) -> list[Tensor]:
    inside, row = layer_place(number, len(decoder.cycle), decoder.depth)
    path, name = (*base, *inside), f"{prefix}h.{number}."
    # These maps are stored as they are here, [in, out]; queries, keys and values are side by side.
    maps = {
        f"{name}attn.c_attn": [("attention", part) for part in ("query", "key", "value")],
        f"{name}attn.c_proj": [("attention", "output")],
        f"{name}mlp.c_fc": [("feedforward", "expand")],
        f"{name}mlp.c_proj": [("feedforward", "contract")],
    }
    kinds = [("weight", "kernel", 1), *([("bias", "bias", 0)] if decoder.ff_bias else [])]
    return [
        Tensor(name=f"{name}ln_1.weight", path=(*path, "attention_norm", "scale"), row=row),
        Tensor(name=f"{name}ln_2.weight", path=(*path, "feedforward_norm", "scale"), row=row),
        *(
            Tensor(name=f"{theirs}.{kind}", path=(*path, *part, ours), row=row, joined=axis)
            for theirs, parts in maps.items()
            for kind, ours, axis in kinds
            for part in parts
        ),
    ]


def _zeros(config: AnyConfig) -> dict[str, tuple[int, ...]]:
    decoder = _decoder(config)
    if decoder.ff_bias:
        return {}
    prefix, width, hidden = _prefix(config), decoder.width, decoder.hidden_width
    sizes = {"attn.c_attn": 3 * width, "attn.c_proj": width, "mlp.c_fc": hidden, "mlp.c_proj": width}
    return {f"{prefix}h.{n}.{name}.bias": (size,) for n in range(decoder.depth) for name, size in sizes.items()}


def _build(config: AnyConfig, *, key: jax.Array) -> nnx.Module:
    return (Decoder if isinstance(config, DecoderConfig) else ImageReader)(config, key=key)


IMAGE_GPT = Architecture(
    model=(Decoder, ImageReader),
    build=_build,
    holds=_holds,
    read_config=_read_config,
    write_config=_write_config,
    tensors=_tensors,
    zeros=_zeros,
    # The causal mask and its filling, which older versions stored beside the parameters.
    ignored=(".attn.bias", ".attn.masked_bias"),
)
