"""Writes ``bigbird.npz``: Hugging Face's ``BigBirdBlockSparseAttention`` on small random weights, and the blocks that it draws.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0. In training its random blocks are drawn, in
evaluation they are all the first. The gradients are those of ``(output * slope).sum()``.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import BigBirdConfig
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel

WIDTH, HEADS, BLOCK, TOKENS, SEED = 12, 3, 4, 60, 5
LENGTHS = (TOKENS, 37)


def make(**choices) -> BigBirdBlockSparseAttention:
    config = BigBirdConfig(hidden_size=WIDTH, num_attention_heads=HEADS, **choices)
    return BigBirdBlockSparseAttention(config, seed=SEED)


def answers(training: bool) -> dict[str, np.ndarray]:
    """One mode's output and gradients, with what they come from."""
    torch.manual_seed(0)
    layer = make(block_size=BLOCK, num_random_blocks=2).train(training)
    x, slope = (torch.randn(len(LENGTHS), TOKENS, WIDTH) for _ in range(2))
    x.requires_grad_()
    mask = (torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]).float()
    blocked, band, of_queries, of_keys = BigBirdModel.create_masks_for_block_sparse_attn(mask, BLOCK)
    output = layer(x, band, of_queries, of_keys, blocked, blocked)[0]
    (output * slope).sum().backward()
    named = {"x": x, "slope": slope, "key_mask": mask.bool(), "output": output, "gradient.x": x.grad}
    for name in ("query", "key", "value"):
        named[f"{name}.kernel"] = getattr(layer, name).weight.T
        named[f"{name}.bias"] = getattr(layer, name).bias
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


def tables() -> dict[str, np.ndarray]:
    """Blocks as the layer draws them in training: for the paper's lengths, and for any other."""
    layer = make(block_size=64, num_random_blocks=3).train()
    np.random.seed(SEED)
    early = [layer._bigbird_block_rand_mask(4096, 4096, 64, 64, 3, last_idx=1024) for _ in range(2)]
    np.random.seed(SEED)
    lengths, counts = layer._get_rand_attn_plan(1280, 64, 3)
    other = layer._bigbird_block_rand_mask_with_head(1280, 1280, 64, 64, 2, lengths, counts)
    return {"early": np.stack(early), "other": np.stack(other)}


if __name__ == "__main__":
    found = {
        f"{mode}/{name}": x for mode in ("training", "evaluation") for name, x in answers(mode == "training").items()
    }
    np.savez_compressed(Path(__file__).parent / "bigbird.npz", **found, **tables())
