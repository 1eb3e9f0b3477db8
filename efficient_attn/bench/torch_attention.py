"""PyTorch's fastest attentions on a CPU, for comparison: FlexAttention (forward) and the local-attention package."""

from efficient_attn.bench.attention import Row, Shape, matrix_rate
from efficient_attn.bench.timing import median_ms


def flex(shape: Shape, side: int, repeats: int = 5) -> Row:
    """Compiled FlexAttention with a two-sided window; it has no backward on a CPU."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    torch.set_num_threads(2)
    query, key, value = _arrays(torch, shape)
    mask = create_block_mask(
        lambda b, h, i, j: (i - j <= side) & (j - i <= side), None, None, shape.length, shape.length, device="cpu"
    )
    run = torch.compile(flex_attention)
    with torch.no_grad():
        ms = median_ms(lambda: run(query, key, value, block_mask=mask), repeats)
    return Row("torch FlexAttention", shape, ms, None, matrix_rate(), None)


def local_attention(shape: Shape, side: int, repeats: int = 5) -> Row:
    """The local-attention package with an exact two-sided window."""
    import torch
    from local_attention import LocalAttention

    torch.set_num_threads(2)
    layer = LocalAttention(
        window_size=side, causal=False, look_backward=1, look_forward=1, exact_windowsize=True, dim=None
    )
    arrays = _arrays(torch, shape)
    with torch.no_grad():
        forward = median_ms(lambda: layer(*arrays), repeats)
    for array in arrays:
        array.requires_grad_(True)

    def both():
        output = layer(*arrays)
        return torch.autograd.grad(output.sum(), arrays)

    return Row("local-attention", shape, forward, median_ms(both, repeats), matrix_rate(), None)


def _arrays(torch, shape: Shape):
    generator = torch.Generator().manual_seed(0)
    size = (1, shape.heads, shape.length, shape.size)
    return [torch.randn(size, generator=generator) for _ in range(3)]
