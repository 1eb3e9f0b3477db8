"""``python -m efficient_attn sample --workdir DIR --prompt 'def '``: continue a text, an image or a sound with a trained model."""

import dataclasses
from pathlib import Path

import numpy as np

from efficient_attn.commands.media import Medium, Sentences, Tokens, medium_of
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import draw, load_language_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, what to continue, and how."""

    workdir: str
    """Where the run is."""
    config: str = "configs/quickstart.py"
    """The config that was trained there."""
    prompt: str = ""
    """Text to continue."""
    prompt_file: Path | None = None
    """A file to continue, of the kind that the model was trained on: a text, a PNG or JPEG, a WAV."""
    share: float | None = None
    """How much of that file is given, from its start; default: the upper half of an image, else all."""
    length: int | None = None
    """Tokens in all, those given included; default: 400 bytes of text, an image, a sound as long as the context."""
    count: int = 1
    """Samples to draw: an image is a grid of them, sounds have a file each."""
    out: Path | None = None
    """Where samples go: a .png of images, a .wav of sounds; a text may go to standard output, which is the default."""
    shape: tuple[int, int] | None = None
    """Height and width of images; default: the square that fills the context."""
    rate: int = 12_000
    """Samples of sound per second, which the tokens do not say."""
    temperature: float = 0.8
    """Divides the logits; 0 takes the most probable token."""
    top_k: int | None = None
    """Only the k most probable tokens."""
    top_p: float | None = None
    """Only the most probable tokens that together have this probability."""
    seed: int = 0
    """Randomness."""


def main(args: Args) -> None:
    """Writes what was given and its continuations."""
    options = SamplingOptions(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)
    config = load_language_model(args.config)
    medium = medium_of(config, args.shape, args.rate)
    # What can be refused is refused before minutes of drawing.
    length = _check(args, medium)
    given = _given(args, medium)
    samples = draw(config, args.workdir, np.repeat(given[None], args.count, axis=0), length, options, args.seed)
    medium.write(args.out, samples)


def _check(args: Args, medium: Medium) -> int:
    """The length to draw; all else that is asked for is possible."""
    length = medium.length if args.length is None else args.length
    for name, value in (("length", length), ("count", args.count)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    kinds = " or ".join(suffix or "no suffix" for suffix in medium.suffixes)
    if args.out is None and "" not in medium.suffixes:
        raise ValueError(f"this model draws no text: name a file with {kinds} by --out")
    if args.out is not None and args.out.suffix.lower() not in medium.suffixes:
        raise ValueError(f"--out must have {kinds} for this model's samples, got {args.out}")
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder for --out {args.out}")
    return length


def _given(args: Args, medium: Medium) -> Tokens:
    """The tokens to continue."""
    if args.prompt_file is None:
        if args.share is not None:
            raise ValueError(f"--share is a share of --prompt-file, and none was named; got {args.share}")
        prompt = np.frombuffer(args.prompt.encode(), np.uint8)
        return medium.words(prompt) if isinstance(medium, Sentences) else prompt
    if args.prompt:
        raise ValueError("a prompt and a prompt file were given: name one of them")
    share = medium.share if args.share is None else args.share
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1], got {share}")
    tokens = medium.read(args.prompt_file)
    return tokens[: round(share * len(tokens))]
