"""``python -m efficient_attn translate --workdir DIR < sentences``: translate with a trained model, line by line."""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from efficient_attn.data import Lines
from efficient_attn.experiment import load_config
from efficient_attn.files import replacing
from efficient_attn.translation_experiment import translate, translation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, what to translate, and how."""

    workdir: str
    """Where the run is."""
    config: str = "configs/small_translation.py"
    """The config that was trained there."""
    file: Path | None = None
    """Sentences, one a line; default: those of standard input."""
    out: Path | None = None
    """Where translations go, one a line; default: standard output."""
    beams: int | None = None
    """Translations that the search keeps; default: as the config says."""
    length_penalty: float | None = None
    """The power of the penalty of short translations; default: as the config says."""


def main(args: Args) -> None:
    """Writes a line for each line."""
    config = translation(load_config(args.config), args.config)
    if config.decoding is None:
        raise ValueError(f"{args.config} says nothing of decoding: it must not be None")
    asked = {"beams": args.beams, "length_penalty": args.length_penalty}
    decoding = dataclasses.replace(config.decoding, **{k: v for k, v in asked.items() if v is not None})
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder for --out {args.out}")
    given = sys.stdin.buffer.read() if args.file is None else args.file.read_bytes()
    sentences = Lines(np.frombuffer(given, np.uint8), str(args.file or "standard input"))
    written, cut = translate(dataclasses.replace(config, decoding=decoding), args.workdir, sentences)
    if cut:
        longest = config.model.longest
        print(f"{cut:,} sentences were cut to the {longest} tokens that the model takes", file=sys.stderr)
    text = "".join(f"{line}\n" for line in written)
    if args.out is None:
        sys.stdout.buffer.write(text.encode())
        return
    with replacing(args.out) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
