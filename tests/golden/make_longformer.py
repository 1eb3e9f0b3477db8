"""Writes ``longformer.npz``: Hugging Face's ``LongformerSelfAttention`` on small random weights, with gradients.

Run it where ``torch`` and ``transformers`` are installed: ``python tests/golden/make_longformer.py``. A case has its input, masks,
parameters, output and the gradients of ``(output * slope).sum()``. Hugging Face wants lengths that are multiples of the window:
inputs are filled up with hidden tokens, as its model does, and outputs cut again. Made with torch 2.13.0, transformers 5.24.0.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

WIDTH, HEADS = 12, 3
# For each case: two-sided window, and for each row its length and its global tokens. Lengths are odd on purpose; 23 is no multiple.
CASES = {
    "local": (6, ((23, ()), (23, ()))),
    "padded": (6, ((23, (0, 5)), (17, (0,)), (11, ()))),
    "neighbours": (4, ((21, (3, 4, 5, 6, 7, 20)), (21, (19,)))),
    "padded globals": (4, ((9, (0, 10)), (13, (2,)))),
    "wide": (64, ((13, (1,)), (7, (0, 3)))),
}
PROJECTIONS = tuple(f"{name}{kind}" for kind in ("", "_global") for name in ("query", "key", "value"))


def answer(window: int, rows: tuple, seed: int) -> dict[str, np.ndarray]:
    """One case's arrays."""
    torch.manual_seed(seed)
    config = LongformerConfig(
        hidden_size=WIDTH, num_attention_heads=HEADS, attention_window=[window], attention_probs_dropout_prob=0.0
    )
    layer = LongformerSelfAttention(config, 0).eval()
    longest = max(length for length, _ in rows)
    x, slope = (torch.randn(len(rows), longest, WIDTH) for _ in range(2))
    x.requires_grad_()
    key_mask, global_mask = (torch.zeros(len(rows), longest, dtype=torch.bool) for _ in range(2))
    for row, (length, found) in enumerate(rows):
        key_mask[row, :length] = True
        global_mask[row, list(found)] = True
    output = attend(layer, x, key_mask, global_mask, -longest % window)
    (output * slope).sum().backward()
    named = {"x": x, "slope": slope, "key_mask": key_mask, "global_mask": global_mask, "output": output}
    named |= {"gradient.x": x.grad}
    for name in PROJECTIONS:
        for kind, tensor in (("kernel", getattr(layer, name).weight.T), ("bias", getattr(layer, name).bias)):
            named[f"{name}.{kind}"] = tensor
        gradient = getattr(layer, name).weight.grad
        named[f"gradient.{name}"] = torch.zeros(WIDTH, WIDTH) if gradient is None else gradient.T
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


def attend(layer, x, key_mask, global_mask, missing: int) -> torch.Tensor:
    """The layer called as its model calls it."""
    padded = torch.nn.functional.pad(x, (0, 0, 0, missing))
    marks = torch.nn.functional.pad(key_mask.int() * (global_mask.int() + 1), (0, missing)) - 1
    given = {
        "attention_mask": marks.float() * 10_000,
        "is_index_masked": marks < 0,
        "is_index_global_attn": marks > 0,
        "is_global_attn": bool((marks > 0).any()),
    }
    return layer(padded, **given)[0][:, : x.shape[1]]


if __name__ == "__main__":
    found = {
        f"{case}/{name}": array
        for seed, (case, (window, rows)) in enumerate(CASES.items())
        for name, array in answer(window, rows, seed).items()
    }
    np.savez_compressed(Path(__file__).parent / "longformer.npz", **found)
