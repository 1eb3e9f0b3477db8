"""The same training in PyTorch: a module for the cell, and a Python loop over it."""

from collections.abc import Callable

import torch

from efficient_attn.bench.recurrent import DEPTH, LENGTH, RATE, Shape
from efficient_attn.bench.timing import median_ms


class Cell(torch.nn.Module):
    """One step of BRC or nBRC, as its equations read."""

    def __init__(self, cell: str, inputs: int, width: int):
        super().__init__()
        self.input_a, self.input_c = (torch.nn.Linear(inputs, width) for _ in range(2))
        self.input_h = torch.nn.Linear(inputs, width, bias=False)
        make, self.back = _COUPLINGS[cell]
        self.recurrent_a, self.recurrent_c = (torch.nn.Parameter(make(width)) for _ in range(2))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        a = 1.0 + torch.tanh(self.input_a(x) + self.back(h, self.recurrent_a))
        c = torch.sigmoid(self.input_c(x) + self.back(h, self.recurrent_c))
        return c * h + (1.0 - c) * torch.tanh(self.input_h(x) + a * h)


_COUPLINGS: dict[str, tuple[Callable, Callable]] = {
    "brc": (torch.ones, torch.mul),
    "nbrc": (lambda width: torch.nn.init.orthogonal_(torch.empty(width, width)), torch.matmul),
}


def theirs(shape: Shape) -> float:
    """Steps per second of forward, backward and update."""
    torch.set_num_threads(2)
    cells = torch.nn.ModuleList([Cell(shape.cell, shape.width if layer else 1, shape.width) for layer in range(DEPTH)])
    readout = torch.nn.Linear(shape.width, 1)
    optimizer = torch.optim.Adam([*cells.parameters(), *readout.parameters()], RATE)
    inputs = torch.randn(shape.batch, LENGTH, 1)

    def step() -> None:
        x = inputs
        for cell in cells:
            h, states = torch.zeros(shape.batch, shape.width), []
            for t in range(LENGTH):
                h = cell(x[:, t], h)
                states.append(h)
            x = torch.stack(states, dim=1)
        loss = (readout(x[:, -1]) - inputs[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return 1e3 / median_ms(step, 5)
