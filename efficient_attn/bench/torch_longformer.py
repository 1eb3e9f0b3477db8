"""Hugging Face's ``LongformerSelfAttention`` in PyTorch, with a projection back where a layer is asked for."""

import dataclasses
import json
import sys
from collections.abc import Callable

import torch
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from efficient_attn.bench.apart import largest_mib
from efficient_attn.bench.longformer import HEADS, SIZE, WINDOW, Part, Row
from efficient_attn.bench.timing import median_ms


def measure(part: Part, length: int) -> Row:
    """Times the layer on random tokens, none of them padding."""
    torch.set_num_threads(2)
    attend, parameters = _attention(part, length)
    leaves = [torch.randn(1, length, HEADS * SIZE) for _ in range(3 if part == "core" else 1)]
    slope = torch.randn(1, length, HEADS * SIZE)
    before = largest_mib()

    def forward() -> None:
        with torch.no_grad():
            attend(*leaves)

    def both() -> None:
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        torch.autograd.grad((attend(*own) * slope).sum(), [*own, *parameters])

    times = median_ms(forward, 3), median_ms(both, 3)
    return Row("transformers", part, length, *times, largest_mib() - before)


def _attention(part: Part, length: int) -> tuple[Callable[..., torch.Tensor], list[torch.nn.Parameter]]:
    """A function of the tokens, or of queries, keys and values for the core; and what else has a gradient."""
    config = LongformerConfig(
        hidden_size=HEADS * SIZE,
        num_attention_heads=HEADS,
        attention_window=[2 * WINDOW],
        attention_probs_dropout_prob=0.0,
    )
    layer, back = LongformerSelfAttention(config, 0).eval(), torch.nn.Linear(HEADS * SIZE, HEADS * SIZE)
    chosen = torch.zeros(1, length, dtype=torch.bool)
    chosen[0, 0] = "global" in part
    given = {
        "attention_mask": 10_000 * chosen.float(),
        "is_index_masked": torch.zeros(1, length, dtype=torch.bool),
        "is_index_global_attn": chosen,
        "is_global_attn": bool(chosen.any()),
    }
    if part != "core":
        used = [p for name, p in layer.named_parameters() if given["is_global_attn"] or "global" not in name]
        return lambda x: back(layer(x, **given)[0]), [*used, *back.parameters()]

    def core(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        for name, ready in (("query", query), ("key", key), ("value", value)):
            setattr(layer, name, _Ready(ready))
        return layer(query, **given)[0]

    return core, []


class _Ready(torch.nn.Module):
    """A projection whose result is there already. A copy, because the layer scales its queries in place."""

    def __init__(self, result: torch.Tensor):
        super().__init__()
        self.result = result

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.result.transpose(0, 1).clone()


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(sys.argv[1], int(sys.argv[2])))))
