"""Parameters of the published models, counted from their configs; nothing is allocated."""

from pathlib import Path

import pytest

from efficient_attn.experiment import load_config, parameters

CONFIGS = Path(__file__).parents[2] / "configs"
MILLIONS = {
    "sparse_transformer_enwik8": 94.9,
    "transformer_enwik8": 94.9,
    "sparse_transformer_cifar10": 59.2,
    "sparse_transformer_imagenet64": 151.6,
    "sparse_transformer_audio": 151.8,
    # Counted from the released configurations; the paper prints none.
    "reformer_enwik8": 56.4,
    "reformer_imagenet64": 70.1,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters(name):
    report = parameters(load_config(str(CONFIGS / f"{name}.py")))
    assert round(report["parameters"] / 1e6, 1) == MILLIONS[name]
    assert sum(report["parts"].values()) == report["parameters"]
    assert set(report["parts"]) == {"embedding", "stack", "final_norm"}
