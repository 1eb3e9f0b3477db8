"""The layers of ``bench linformer`` in PyTorch: Linformer as its paper writes it, and dense attention by its fused kernel."""

import dataclasses
import json
import sys

import torch
from torch import nn

from efficient_attn.bench.apart import growth_mib
from efficient_attn.bench.linformer import DEPTH, HEADS, WIDTH, Row
from efficient_attn.bench.timing import median_ms


class Layer(nn.Module):
    """Attention, to slots where there is a projection, and feed-forward; norms after the sums."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def forward(self, x: torch.Tensor, projection: torch.Tensor | None) -> torch.Tensor:
        """The stream after the layer."""
        keys, values = self.key(x), self.value(x)
        if projection is not None:
            keys, values = projection @ keys, projection @ values
        heads = (a.unflatten(2, (HEADS, -1)).transpose(1, 2) for a in (self.query(x), keys, values))
        mixed = nn.functional.scaled_dot_product_attention(*heads)
        x = self.norms[0](x + self.output(mixed.transpose(1, 2).flatten(2)))
        return self.norms[1](x + self.contract(nn.functional.gelu(self.expand(x))))


def measure(length: int, slots: int, repeats: int) -> Row:
    """Times the layers on random inputs; 0 slots: dense attention."""
    torch.set_num_threads(2)
    layers = [Layer() for _ in range(DEPTH)]
    projection = torch.randn(slots, length) * 0.02 if slots else None
    x = torch.randn(1, length, WIDTH)

    def forward() -> None:
        stream = x
        with torch.no_grad():
            for layer in layers:
                stream = layer(stream, projection)

    # Before the times: what has been allocated once is kept.
    mib = growth_mib(forward)
    kind = f"Linformer, k={slots}" if slots else "dense, fused"
    return Row(f"PyTorch, {kind}", length, median_ms(forward, repeats), mib)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(*map(int, sys.argv[1:])))))
