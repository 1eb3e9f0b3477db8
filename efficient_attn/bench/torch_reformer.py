"""The core of Hugging Face's LSH attention in PyTorch: its layer with the projections taken out."""

import dataclasses
import json
import sys

import torch
from transformers import ReformerConfig
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

from efficient_attn.bench.apart import largest_mib
from efficient_attn.bench.reformer import CHUNK, HEADS, SIZE, Row
from efficient_attn.bench.timing import median_ms
from efficient_attn.ops.lsh import bucket_factors


def measure(length: int, rounds: int) -> Row:
    """Times the layer on vectors that are queries and values already."""
    torch.set_num_threads(2)
    factors = bucket_factors(length, CHUNK, 128)
    config = ReformerConfig(
        hidden_size=HEADS * SIZE,
        num_attention_heads=HEADS,
        attention_head_size=SIZE,
        lsh_attn_chunk_length=CHUNK,
        num_buckets=factors[0] if len(factors) == 1 else list(factors),
        num_hashes=rounds,
        is_decoder=True,
        attn_layers=["lsh"],
        hash_seed=0,
    )
    layer = LSHSelfAttention(config).eval()
    layer.query_key, layer.value = torch.nn.Identity(), torch.nn.Identity()
    x, slope = (torch.randn(1, length, HEADS * SIZE) for _ in range(2))
    before = largest_mib()

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    def both() -> None:
        leaf = x.clone().requires_grad_()
        (layer(leaf).hidden_states * slope).sum().backward()

    times = median_ms(forward, 3), median_ms(both, 3)
    return Row("transformers", length, rounds, *times, largest_mib() - before)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(*map(int, sys.argv[1:3])))))
