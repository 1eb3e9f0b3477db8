"""Published figures of the Sparse Transformer.

References:
  Child, Gray, Radford, Sutskever, "Generating Long Sequences with Sparse Transformers", 2019, section 7.
"""

from efficient_attn.results.record import Row, Table, published, rows

_ENWIK8 = "configs/sparse_transformer_enwik8.py"
_CIFAR10 = "configs/sparse_transformer_cifar10.py"
_IMAGENET64 = "configs/sparse_transformer_imagenet64.py"
_AUDIO = "configs/sparse_transformer_audio.py"
_DENSE_ENWIK8 = "configs/transformer_enwik8.py"

_MAIN = ("tokens", "layers", "heads", "width", "params", "pattern", "result")
_COMPARED = ("enwik8 bits", "enwik8 s/iteration", "CIFAR-10 bits", "CIFAR-10 s/iteration")


def _main(label: str, config: str, *figures: str, flags: str = "", variant: str = "") -> Row:
    # ImageNet 64x64 was published with two splits, and the papers report the second.
    split = "validation" if config == _IMAGENET64 else "test"
    figures_by_column = published(_MAIN, figures)
    return Row(
        label=label,
        published=figures_by_column,
        status="not run",
        config=config,
        split=split,
        flags=flags,
        variant=variant,
    )


DENSITY = Table(
    key="S1",
    system="Sparse Transformer",
    title="Density modelling",
    columns=_MAIN,
    rows=(
        _main("CIFAR-10", _CIFAR10, "3,072", "128", "2", "256", "59M", "strided", "2.80 bits/dim"),
        _main("enwik8", _ENWIK8, "12,288", "30", "8", "512", "95M", "fixed, stride 128, c 32", "0.99 bits/byte"),
        _main(
            "ImageNet 64x64", _IMAGENET64, "12,288", "48", "16", "512", "152M", "strided, stride 128", "3.44 bits/dim"
        ),
        _main(
            "ImageNet 64x64, samples",
            _IMAGENET64,
            "12,288",
            "96",
            "16",
            "512",
            "300M",
            "strided",
            "samples only",
            flags="--model.depth 96",
            variant="300m",
        ),
        _main("classical music, 12 kHz", _AUDIO, "65,536", "", "", "", "152M", "strided", "1.97 bits/byte"),
        _main(
            "classical music, 12 kHz",
            f"{_AUDIO}:25m",
            "262,144",
            "",
            "",
            "",
            "25M",
            "strided",
            "2.17 bits/byte",
        ),
        _main(
            "classical music, 12 kHz",
            f"{_AUDIO}:3m",
            "1,048,576",
            "",
            "",
            "",
            "3M",
            "strided",
            "2.99 bits/byte",
        ),
    ),
    note="Mean and deviation over three seeds: CIFAR-10 2.798 +- .004, enwik8 0.992 +- .001. A row that shares its "
    "configuration with another differs from it by the fields that its commands name. The paper gives neither depth nor "
    "width of the audio models: those here have the published number of parameters. Its recordings are not published; "
    "any folder of WAV files takes their place. `python -m efficient_attn sample` writes samples.",
)


def _compared(label: str, config: str, *figures: str) -> Row:
    return Row(label=label, published=published(_COMPARED, figures), status="not run", config=config)


PATTERNS = Table(
    key="S2",
    system="Sparse Transformer",
    title="Patterns compared",
    columns=_COMPARED,
    rows=(
        _compared("dense", _DENSE_ENWIK8, "1.00", "1.31", "2.82", "0.54"),
        _compared("fixed", _ENWIK8, "0.99", "0.55", "2.85", "0.47"),
        _compared("strided", _CIFAR10, "1.13", "0.35", "2.80", "0.38"),
    ),
    note="The commands are those of the data set on which the paper prefers the pattern. For the other, dense is "
    "`configs/sparse_transformer_cifar10.py` with `--model.attention.patterns 'Causal()'`, and either sparse pattern is that "
    "data set's configuration with the patterns of the row's.",
)

CONTEXT = Table(
    key="S3",
    system="Sparse Transformer",
    title="enwik8 with a guaranteed context",
    columns=("bits/byte",),
    rows=tuple(
        Row(
            label=f"at least {context:,} bytes",
            published={"bits/byte": bits},
            status="not run",
            config=_ENWIK8,
            protocol=f"--eval-scored {12_288 - context}",
        )
        for context, bits in (
            (6_144, "0.9952"),
            (9_216, "0.9936"),
            (10_752, "0.9932"),
            (11_904, "0.9930"),
            (12_096, "0.9922"),
            (12_160, "0.9908"),
        )
    ),
    note="Of each window of 12,288 bytes, only those after the given number are scored.",
)

AUGMENTED = Table(
    key="S4",
    system="Sparse Transformer",
    title="CIFAR-10 with distribution augmentation",
    columns=("params", "bits/dim"),
    rows=rows(("params", "bits/dim"), [("Jun et al. 2020", "150M", "2.56")], "quoted only"),
)

TABLES = (DENSITY, PATTERNS, CONTEXT, AUGMENTED)
