"""Writes ``reformer/``: small checkpoints of ``transformers`` and what they answer, with the rotations that they hashed with.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0.
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

FOLDER = Path(__file__).parent / "reformer"
SMALL = {
    "hidden_size": 12,
    "num_attention_heads": 2,
    "attention_head_size": 4,
    "feed_forward_size": 10,
    "vocab_size": 11,
    "axial_pos_shape": (4, 8),
    "axial_pos_embds_dim": (4, 8),
    "max_position_embeddings": 32,
    "lsh_attn_chunk_length": 6,
    "local_attn_chunk_length": 4,
    "hash_seed": 3,
}
# Class of the model, length of the text, tokens that are hidden at the end of its second row, and the config.
CASES = {
    "causal": (
        "ReformerModelWithLMHead",
        24,
        0,
        {"is_decoder": True, "attn_layers": ["local", "lsh"] * 2, "num_hashes": 4, "num_buckets": 4},
    ),
    "masked": (
        "ReformerForMaskedLM",
        22,
        5,
        {"attn_layers": ["local", "lsh", "local"], "num_buckets": 4, "local_num_chunks_after": 1},
    ),
    "classes": (
        "ReformerForSequenceClassification",
        24,
        7,
        {
            "attn_layers": ["lsh", "lsh"],
            "num_hashes": 4,
            "num_buckets": [2, 4],
            "lsh_num_chunks_after": 1,
            "axial_pos_embds": False,
            "num_labels": 3,
        },
    ),
    "answers": (
        "ReformerForQuestionAnswering",
        30,
        0,
        {
            "attn_layers": ["lsh", "local"],
            "num_buckets": 6,
            "hidden_act": "gelu",
            "lsh_attn_chunk_length": 5,
            "local_attn_chunk_length": 5,
        },
    ),
    "bare": (
        "ReformerModel",
        24,
        3,
        {"is_decoder": True, "attn_layers": ["lsh", "local", "local"], "num_hashes": 4, "hidden_act": "gelu_new"},
    ),
    "short": ("ReformerModel", 4, 1, {"attn_layers": ["lsh", "local"], "num_buckets": 4}),
}


def build(name: str) -> torch.nn.Module:
    """The model of a case, with weights large enough that hashing and masks matter."""
    kind, _, _, changes = CASES[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.ReformerConfig(**SMALL | changes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    if hasattr(model, "lm_head"):
        # The file has its bias twice.
        model.lm_head.bias.data = model.lm_head.decoder.bias.data.clone()
    return model


def drawn(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask of a case."""
    _, length, hidden, _ = CASES[name]
    tokens = np.random.default_rng(len(name)).integers(1, SMALL["vocab_size"], (2, length))
    return tokens, np.arange(length) < np.array([[length], [length - hidden]])


def answer(model: torch.nn.Module, tokens: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The model's result, and the rotations that it hashed with: the same in every layer.

    In double precision: the weights of a token that sees only itself are off by up to 1/256 in single, as its score is -1e5.
    """
    model = model.double()
    inputs = {"input_ids": torch.tensor(tokens)}
    if not mask.all():
        inputs["attention_mask"] = torch.tensor(mask, dtype=torch.long)
    with torch.no_grad():
        output = model(**inputs)
    if "start_logits" in output:
        result = torch.stack([output.start_logits, output.end_logits], -1)
    else:
        result = output.logits if "logits" in output else output.last_hidden_state
    return result.float().numpy(), rotations(model)


def rotations(model: torch.nn.Module) -> tuple[np.ndarray, ...]:
    """What the model draws from its seed, by factors of the number of buckets."""
    layer = next(m for m in model.modules() if isinstance(m, LSHSelfAttention))
    config = model.config
    if layer.num_buckets is None:
        return ()
    factors = [layer.num_buckets] if isinstance(layer.num_buckets, int) else list(layer.num_buckets)
    torch.manual_seed(config.hash_seed)
    shape = (config.num_attention_heads, config.attention_head_size, config.num_hashes, sum(factors) // 2)
    whole = torch.randn(shape, dtype=torch.float64).float().numpy()
    return tuple(np.split(whole, np.cumsum([f // 2 for f in factors])[:-1], axis=-1))


def main() -> None:
    """Writes a folder for each case."""
    for name in CASES:
        model, (tokens, mask) = build(name), drawn(name)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
        result, turned = answer(model, tokens, mask)
        named = {f"rotations_{place}": x for place, x in enumerate(turned)}
        np.savez(FOLDER / name / "answers.npz", tokens=tokens.astype(np.int32), mask=mask, result=result, **named)


if __name__ == "__main__":
    main()
