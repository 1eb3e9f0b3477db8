"""``python -m efficient_attn sample --workdir DIR --prompt 'def '``: continue a text, an image or a sound with a trained model."""

import dataclasses
from pathlib import Path

import numpy as np

from efficient_attn.commands.media import Images, Medium, Sentences, Sound, medium_of
from efficient_attn.commands.sheets import Prompts, held_out, of_file, write_sheet
from efficient_attn.commands.sound_picture import SPECTRUM, draw_sounds
from efficient_attn.data import Split
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import Experiment, draw, load_language_model


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
    prompt_split: Split | None = None
    """A split of the data, ``count`` images of which are continued, each by one sample; drawn by the seed."""
    share: float | None = None
    """How much of a file or an image is given, from its start; default: the upper half of an image, else all."""
    length: int | None = None
    """Tokens in all, those given included; default: 400 bytes of text, an image, a sound as long as the context."""
    count: int = 1
    """Samples to draw: images are a grid, or where some are given, rows of what is given, the samples and the original; sounds have
    a file each."""
    nearest: bool = False
    """Whether the training images that are the nearest to the samples of images stand beside them."""
    zoom: int = 1
    """Pixels of a PNG, down and across, for each pixel of an image."""
    out: Path | None = None
    """Where samples go: a .png of images, a .wav of sounds; a text may go to standard output, which is the default."""
    shape: tuple[int, int] | None = None
    """Height and width of images; default: the square that fills the context."""
    rate: int = 12_000
    """Samples of sound per second, which the tokens do not say."""
    picture: Path | None = None
    """A PNG of the sounds' waveforms and spectrograms."""
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
    prompts = _prompts(args, medium, config)
    training = config.source.load("train").records if args.nearest else None
    samples = draw(config, args.workdir, prompts.given, length, options, args.seed)
    if isinstance(medium, Images) and args.out is not None:
        write_sheet(medium, args.out, prompts, samples, training, args.zoom)
    else:
        medium.write(args.out, samples)
    if isinstance(medium, Sound) and args.picture is not None:
        draw_sounds(args.picture, list(samples), args.rate)


def _check(args: Args, medium: Medium) -> int:
    """The length to draw; all else that is asked for is possible."""
    length = medium.length if args.length is None else args.length
    for name, value in (("length", length), ("count", args.count), ("zoom", args.zoom)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    kinds = " or ".join(suffix or "no suffix" for suffix in medium.suffixes)
    if args.out is None and "" not in medium.suffixes:
        raise ValueError(f"this model draws no text: name a file with {kinds} by --out")
    if args.out is not None and args.out.suffix.lower() not in medium.suffixes:
        raise ValueError(f"--out must have {kinds} for this model's samples, got {args.out}")
    for name, file in (("out", args.out), ("picture", args.picture)):
        if file is not None and not file.absolute().parent.is_dir():
            raise ValueError(f"there is no folder for --{name} {file}")
    if not isinstance(medium, Images) and (args.nearest or args.prompt_split is not None):
        raise ValueError("nearest and prompt_split are for images, which this model does not draw")
    if args.picture is not None and not isinstance(medium, Sound):
        raise ValueError("picture is for sounds, which this model does not draw")
    if args.picture is not None and length <= SPECTRUM:
        raise ValueError(f"a spectrogram needs more than {SPECTRUM} samples, got {length}")
    return length


def _prompts(args: Args, medium: Medium, config: Experiment) -> Prompts:
    """The tokens to continue, for each sample, and where they are from."""
    sources = {"prompt": args.prompt, "prompt_file": args.prompt_file, "prompt_split": args.prompt_split}
    named = [name for name, value in sources.items() if value]
    if len(named) > 1:
        raise ValueError(f"name one of what is continued, got {' and '.join(named)}")
    share = medium.share if args.share is None else args.share
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1], got {share}")
    if args.prompt_split is not None:
        return held_out(config, args.prompt_split, args.count, share, args.seed)
    if args.prompt_file is not None:
        return of_file(medium.read(args.prompt_file), args.count, share)
    if args.share is not None:
        raise ValueError(f"share is that of a prompt_file or of a prompt_split, and none was named; got {args.share}")
    prompt = np.frombuffer(args.prompt.encode(), np.uint8)
    prompt = medium.words(prompt) if isinstance(medium, Sentences) else prompt
    return Prompts(given=np.repeat(prompt[None], args.count, axis=0))
