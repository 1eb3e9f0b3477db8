"""``python -m efficient_attn sample --workdir DIR --prompt 'def '``: continue a prompt with a trained model."""

import dataclasses
import sys

from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import load_config, write


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, what to continue, and how."""

    workdir: str
    """Where the run is."""
    config: str = "configs/quickstart.py"
    """The config that was trained there."""
    prompt: str = ""
    """Text to continue."""
    length: int = 400
    """Bytes in all, the prompt's included."""
    temperature: float = 0.8
    """Divides the logits; 0 takes the most probable byte."""
    top_k: int | None = None
    """Only the k most probable bytes."""
    top_p: float | None = None
    """Only the most probable bytes that together have this probability."""
    seed: int = 0
    """Randomness."""


def main(args: Args) -> None:
    """Writes the prompt and its continuation to standard output."""
    if args.length < 1:
        raise ValueError(f"length must be at least 1 byte, got {args.length}")
    options = SamplingOptions(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)
    text = write(load_config(args.config), args.workdir, args.prompt.encode(), args.length, options, args.seed)
    sys.stdout.buffer.write(text + b"\n")
