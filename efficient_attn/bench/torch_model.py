"""A plain decoder in PyTorch with the shapes of a ``DecoderConfig``, for comparison of speed."""

import torch
from torch import nn

from efficient_attn.models import DecoderConfig


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        width, hidden = config.width, config.hidden_width
        self.heads = config.heads
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        """The block on a batch of sequences."""
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        hidden = self.expand(self.feedforward_norm(x))
        return x + self.contract(hidden * torch.sigmoid(1.702 * hidden))


class Model(nn.Module):
    """Tokens to logits, with a table of learned positions."""

    def __init__(self, config: DecoderConfig, longest: int = 8192):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab, config.width)
        self.positions = nn.Embedding(longest, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab, bias=False)

    def forward(self, tokens):
        """Logits of the next token at every position."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
