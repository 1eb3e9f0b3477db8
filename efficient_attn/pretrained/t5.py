"""T5 checkpoints: T5ForConditionalGeneration of versions 1.0 and 1.1.

The first has one table for source, target and logits, whose logits are divided by the root of the width; the other a table of
logits alone, and gated feed-forwards. ``transformers`` shifts a target by its ``decoder_start_token_id``, which is ``bos_token``
here. Buckets of offsets have no longest text: ``longest`` is ``n_positions`` where a config has it, or 512, and may be replaced.
One rate of dropout is everywhere. Refused are an encoder alone and classifiers, and one table whose logits are not divided.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from efficient_attn.models.seq2seq import Seq2Seq
from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.models.t5 import t5
from efficient_attn.nn.relative_buckets import RelativeBuckets
from efficient_attn.nn.sparse import Sparse
from efficient_attn.patterns.algebra import Full
from efficient_attn.patterns.local import Causal
from efficient_attn.pretrained.architecture import Architecture, Tensor
from efficient_attn.pretrained.modules import Path, kernel, layer_place, read_activation, write_activation

_CLASS = "T5ForConditionalGeneration"
_RATES = ("dropout", "end_dropout", "attention_dropout", "ff_dropout")
_TRAINING = (*_RATES, "remat", "precision", "initialization", "longest")
_HEAD = "lm_head.weight"
_PARTS = {"query": "q", "key": "k", "value": "v", "output": "o"}
# By the attribute of a block here: the name of the sublayer there.
_ATTENTIONS = {"attention": "SelfAttention", "cross": "EncDecAttention"}


def _read_config(fields: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> Seq2SeqConfig:
    (name, *_) = fields.get("architectures") or (_CLASS,)
    if name not in (_CLASS, "T5WithLMHeadModel"):
        raise NotImplementedError(f"a T5 of class {name!r}; offered is {_CLASS}")
    network, activation = _read_network(fields.get("feed_forward_proj", "relu"))
    depth = fields["num_layers"]
    rate = fields.get("dropout_rate", 0.1)
    return t5(
        vocab=fields["vocab_size"],
        width=fields["d_model"],
        ff_width=fields["d_ff"],
        heads=fields["num_heads"],
        head_size=fields["d_kv"],
        encoder_depth=depth,
        decoder_depth=fields.get("num_decoder_layers") or depth,
        longest=fields.get("n_positions", 512),
        norm_epsilon=fields["layer_norm_epsilon"],
        positions=RelativeBuckets(
            buckets=fields["relative_attention_num_buckets"],
            longest=fields.get("relative_attention_max_distance", 128),
        ),
        ff_network=network,
        activation=activation,
        sharing=_read_sharing(fields, stored),
        pad_token=fields["pad_token_id"],
        bos_token=fields.get("decoder_start_token_id", fields["pad_token_id"]),
        eos_token=fields["eos_token_id"],
        **dict.fromkeys(_RATES, rate),
    )


def _read_network(theirs: str) -> tuple[str, Any]:
    """Network and activation of a ``feed_forward_proj``."""
    if theirs == "gated-gelu":
        # So named, and approximated all the same.
        return "gated", "gelu_tanh"
    gated = theirs.startswith("gated-")
    return ("gated" if gated else "plain"), read_activation(theirs.removeprefix("gated-"))


def _write_network(config: Seq2SeqConfig) -> str:
    """The reverse."""
    if config.ff_network == "gated" and config.activation == "gelu_tanh":
        return "gated-gelu"
    return ("gated-" if config.ff_network == "gated" else "") + write_activation(config.activation)


def _read_sharing(fields: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> str:
    """Newer files say apart whether logits are divided; older ones let that follow from what they say of tables."""
    divided = fields.get("scale_decoder_outputs", fields.get("tie_word_embeddings") is not False)
    shared = _HEAD not in stored or np.array_equal(stored[_HEAD], stored.get("shared.weight", stored[_HEAD]))
    if divided != shared:
        raise NotImplementedError(
            f"a T5 with {'one table' if shared else 'a table of logits alone'} whose logits are "
            f"{'' if divided else 'not '}divided by the root of the width; one table with them divided, as in version 1.0, or "
            "two without, as in 1.1, are offered"
        )
    return "all" if shared else "tokens"


def _write_config(config: Seq2SeqConfig) -> dict[str, Any]:
    positions, tied = config.positions, config.sharing == "all"
    assert isinstance(positions, RelativeBuckets)
    return {
        "model_type": "t5",
        "architectures": [_CLASS],
        "vocab_size": config.vocab,
        "d_model": config.width,
        "d_kv": config.heads_width // config.heads,
        "d_ff": config.ff_width,
        "num_layers": config.encoder_depth,
        "num_decoder_layers": config.decoder_depth,
        "num_heads": config.heads,
        "n_positions": config.longest,
        "relative_attention_num_buckets": positions.buckets,
        "relative_attention_max_distance": positions.longest,
        "dropout_rate": config.dropout,
        "layer_norm_epsilon": config.norm_epsilon,
        "feed_forward_proj": _write_network(config),
        "is_encoder_decoder": True,
        "tie_word_embeddings": tied,
        "scale_decoder_outputs": tied,
        "pad_token_id": config.pad_token,
        "decoder_start_token_id": config.bos_token,
        "eos_token_id": config.eos_token,
    }


def _holds(config: Seq2SeqConfig) -> bool:
    """Whether a file says all of a model but how it is trained and in which format it computes."""
    patterns = {"encoder_attention": Full(), "decoder_attention": Causal()}
    dense = all(
        type(getattr(config, name)) is Sparse and set(getattr(config, name).parsed()) == {pattern}
        for name, pattern in patterns.items()
    )  # fmt: skip
    if not dense or not isinstance(config.positions, RelativeBuckets) or config.sharing not in ("all", "tokens"):
        return False
    # One table that differs is enough to tell that there are two.
    tables = {"shared.weight": np.zeros(1), _HEAD: np.full(1, config.sharing == "tokens")}
    written = _read_config(_write_config(config), tables)
    kept = {name: getattr(config, name) for name in (*_TRAINING, *patterns)}
    sized = dataclasses.replace(config, head_size=config.heads_width // config.heads)
    return dataclasses.replace(written, **kept) == sized


def _tensors(config: Seq2SeqConfig) -> list[Tensor]:
    tied = config.sharing == "all"
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *((_HEAD,) if tied else ()))
    tensors = [Tensor(name="shared.weight", aliases=copies, path=("embedding", "target", "tokens"))]
    if not tied:
        tensors.append(Tensor(name=_HEAD, path=("embedding", "head", "tokens")))
    for side, depth in (("encoder", config.encoder_depth), ("decoder", config.decoder_depth)):
        cycle = len(getattr(config, f"{side}_attention").parsed())
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        tensors += [
            Tensor(name=bias, path=(f"{side}_bias", "table")),
            Tensor(name=f"{side}.final_layer_norm.weight", path=(f"{side}_norm", "scale")),
            *(t for n in range(depth) for t in _layer(config, side, n, layer_place(n, cycle, depth, side))),
        ]
    return tensors


def _layer(config: Seq2SeqConfig, side: str, number: int, place: tuple[Path, int | None]) -> list[Tensor]:
    path, row = place
    name = f"{side}.block.{number}.layer"
    attentions = ["attention", "cross"] if side == "decoder" else ["attention"]
    tensors = []
    for sublayer, ours in enumerate((*attentions, "feedforward")):
        norm = Tensor(name=f"{name}.{sublayer}.layer_norm.weight", path=(*path, f"{ours}_norm", "scale"), row=row)
        inside, parts = _ATTENTIONS.get(ours, "DenseReluDense"), _PARTS if ours in _ATTENTIONS else _networks(config)
        tensors += [norm, *(kernel(f"{name}.{sublayer}.{inside}.{t}", (*path, ours, o), row) for o, t in parts.items())]
    return tensors


def _networks(config: Seq2SeqConfig) -> dict[str, str]:
    if config.ff_network == "gated":
        return {"expand": "wi_0", "gate": "wi_1", "contract": "wo"}
    return {"expand": "wi", "contract": "wo"}


T5 = Architecture(
    model=Seq2Seq,
    build=Seq2Seq,
    holds=_holds,
    read_config=_read_config,
    write_config=_write_config,
    tensors=_tensors,
    # A table of cross-attention that is never read, which the first releases have.
    ignored=(".EncDecAttention.relative_attention_bias.weight",),
)
