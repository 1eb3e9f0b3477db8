"""``python -m efficient_attn tokenizer configs/x.py``: learn the pieces of words that an encoder-decoder reads and writes."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from efficient_attn.experiment import load_config
from efficient_attn.pair_experiment import pair_experiment


@dataclasses.dataclass(frozen=True)
class Args:
    """Which config, and where the pieces go."""

    config: Annotated[str, tyro.conf.Positional]
    """A config of an encoder-decoder: pieces are learned from its training split, as many as it says."""
    out: Path | None = None
    """The ``.model`` file to write; default: the one that the config reads."""


def main(args: Args) -> None:
    """Writes the model, and prints what it is as a JSON object.

    Raises:
      FileExistsError: if the file is there already.
    """
    config = pair_experiment(load_config(args.config), args.config)
    subwords = config.source.subwords
    file = Path(subwords.file if args.out is None else args.out).expanduser()
    if file.exists():
        raise FileExistsError(f"{file} is there already: remove it, or name another by --out")
    pairs = config.source.sentences("train")
    pieces = subwords.fit(pairs, config.learned_pieces)
    pieces.save(file)
    report = {"file": str(file), "pieces": len(pieces), "kind": subwords.kind, "digest": pieces.digest}
    print(json.dumps(report | {"data": pairs.description}))
