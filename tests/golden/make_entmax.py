"""Writes ``entmax.npz``: the published package's answers, in float64, to the rows of ``entmax_cases``.

Needs ``torch`` and ``entmax``; made with torch 2.13.0 and entmax 1.3.
"""

from pathlib import Path

import entmax
import numpy as np
import torch
from entmax_cases import LONG, ROWS, SHORT, drawn


def answers(z: np.ndarray, g: np.ndarray, alpha: np.ndarray) -> dict[str, np.ndarray]:
    """Results and gradients of alpha-entmax, entmax15 and sparsemax."""
    z, g, alpha = (torch.tensor(x, dtype=torch.float64) for x in (z, g, alpha))
    z.requires_grad_()
    alpha.requires_grad_()
    p = entmax.entmax_bisect(z, alpha, dim=-1, n_iter=100)
    dz, dalpha = torch.autograd.grad(p, (z, alpha), g)
    found = {"p": p, "dz": dz, "dalpha": dalpha}
    for name in ("entmax15", "sparsemax"):
        found[name] = getattr(entmax, name)(z, dim=-1)
        (found[name + "_dz"],) = torch.autograd.grad(found[name], z, g)
    return {name: x.detach().numpy().astype(np.float32) for name, x in found.items()}


def losses(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Fenchel-Young losses of three alphas."""
    x, y = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)
    return {
        "loss_2": entmax.sparsemax_loss(x, y).numpy(),
        "loss_1.5": entmax.entmax15_loss(x, y).numpy(),
        "loss_1.2": entmax.entmax_bisect_loss(x, y, 1.2).numpy(),
    }


if __name__ == "__main__":
    stored = answers(*drawn(ROWS, SHORT, seed=0))
    stored |= {"long_" + name: x for name, x in answers(*drawn(8, LONG, seed=1)).items()}
    logits = drawn(40, SHORT, seed=2)[0][3::4]
    stored |= losses(logits, np.arange(10))
    np.savez_compressed(Path(__file__).with_name("entmax.npz"), **stored)
