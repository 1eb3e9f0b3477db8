"""``python -m efficient_attn bench linformer``: what Linformer saves, and with ``--spectrum`` why it can."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int

from efficient_attn.bench import linformer
from efficient_attn.bench import spectrum as spectra
from efficient_attn.data import StandardLibrary, TokenizedText, TokenStream
from efficient_attn.experiment import load_config, restore
from efficient_attn.models import Encoder, Functional, encoder_of
from efficient_attn.pretrained import load_pretrained
from efficient_attn.training.curve import check_picture, empty_figure

# As long as the texts of the paper's figure, where a checkpoint takes so many tokens.
_TOKENS = 512
_WANTED = (
    "bench linformer --spectrum needs a trained model: --workdir DIR of a run of --config FILE, whose attention compares all "
    "tokens, as train.py configs/small_linformer.py leaves it; or of an encoder's checkpoint as of ea.load_pretrained, with its "
    "tokenizer"
)


def savings(longest: int) -> None:
    """Time and memory of a sample at inference, and what Linformer saves of dense attention's."""
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its rows are left out", file=sys.stderr)
    dense: dict[tuple[str, int], linformer.Row] = {}
    print("| system | n | ms a sample | MiB a sample | time / memory saved over attend | over softmax |")
    print("|---|---|---|---|---|---|")
    for row in linformer.rows(longest):
        if row.system in (linformer.ATTEND, linformer.SOFTMAX):
            dense[row.system, row.length] = row
        saved = [row.saved(dense.get((base, row.length))) for base in (linformer.ATTEND, linformer.SOFTMAX)]
        print(f"| {row.system} | {row.length} | {row.time()} | {row.mib:.0f} | {saved[0]} | {saved[1]} |", flush=True)


def spectrum(config: str, workdir: str | None, text: Path | None, texts: int, picture: Path | None) -> None:
    """Prints the shares of the singular values of a model's attention, and as JSON last; and draws them.

    Args:
      config: the experiment that was trained in ``workdir``.
      workdir: a run's, or a checkpoint's folder.
      text: what the model reads; None: of a run its validation split, for a checkpoint that of the standard library.
      texts: how many windows of it.
      picture: a file to draw.

    Raises:
      ValueError: if no model is named, or its attention or its data are of another kind.
      FileNotFoundError: if there is no checkpoint.
    """
    if workdir is None:
        raise ValueError(_WANTED)
    if texts < 1:
        raise ValueError(f"texts must be at least 1, got {texts}")
    check_picture(picture)
    if picture is not None:
        empty_figure(1.0, 1.0)
    folder = Path(workdir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no {folder}: {_WANTED}")
    # A run keeps its checkpoints in a folder of that name.
    read = _of_run if (folder / "checkpoints").is_dir() else _of_checkpoint
    form, params, windows = read(config, workdir, text, texts)
    found = [
        spectra.of_model("trained", form, params, windows),
        spectra.of_model("as drawn", form, jax.jit(form.init)(jax.random.key(0)), windows),
    ]
    layers, heads, tokens = found[0].cumulative.shape
    found.append(spectra.of_noise("random scores", tokens, layers, heads))
    for line in spectra.table(found):
        print(line)
    if picture is not None:
        spectra.draw(found, picture)
    by_head = found[0].cumulative[..., tokens // 4 - 1]
    report = {"tokens": tokens, "texts": len(windows), "parts": spectra.PARTS, "quarter_by_head": by_head.tolist()}
    print(json.dumps(report | {"shares": {s.name: s.shares().tolist() for s in found}}))


def _of_run(
    path: str, workdir: str, text: Path | None, count: int
) -> tuple[Functional[Any], Any, Int[np.ndarray, "count T"]]:
    """The model of a run, its parameters and what it reads."""
    config = load_config(path)
    params, _ = restore(config, workdir)
    if text is not None:
        raise ValueError("text is for a checkpoint; a run reads the validation split of its config")
    stream = config.source.load("validation")
    if not isinstance(stream, TokenStream):
        raise ValueError(f"a config whose data are a stream of tokens is needed, got {type(config.source).__name__}")
    return config.form, params, _windows(stream.tokens, config.context, count)


def _of_checkpoint(
    path: str, folder: str, text: Path | None, count: int
) -> tuple[Functional[Any], Any, Int[np.ndarray, "count T"]]:
    """The model of a checkpoint's folder, its parameters and the tokens of its tokenizer, without special ones."""
    del path
    model = load_pretrained(folder)
    if not isinstance(model, Encoder):
        raise ValueError(f"an encoder's checkpoint is needed, and {folder} holds a {type(model).__name__}")
    form = encoder_of(model.config)
    given = StandardLibrary().load("validation").tokens.tobytes() if text is None else text.read_bytes()
    longest = min(_TOKENS, model.config.positions.longest(model.config.pad_token))
    # Few tokens have more than eight bytes on average. Where a line ends, no letter is cut.
    begin = given[: given.find(b"\n", 8 * longest * count) + 1] or given
    tokens = TokenizedText(text=StandardLibrary(), tokenizer=folder).numbered(np.frombuffer(begin, np.uint8))
    return form, nnx.to_pure_dict(nnx.split(model)[1]), _windows(tokens, longest, count)


def _windows(tokens: Any, length: int, count: int) -> Int[np.ndarray, "count T"]:
    """Windows spread evenly over the tokens."""
    if len(tokens) < length:
        raise ValueError(f"the text must have at least {length} tokens, as many as the model reads, got {len(tokens)}")
    first = np.linspace(0, len(tokens) - length, min(count, len(tokens) // length)).astype(int)
    return np.stack([np.asarray(tokens[i : i + length], np.int32) for i in first])
