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


def _main(label: str, config: str, *figures: str) -> Row:
    # ImageNet 64x64 was published with two splits, and the papers report the second.
    split = "validation" if config == _IMAGENET64 else "test"
    return Row(label=label, published=published(_MAIN, figures), status="not run", config=config, split=split)


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
        _main("ImageNet 64x64, samples", _IMAGENET64, "12,288", "96", "16", "512", "300M", "strided", "samples only"),
        _main("classical music, 12 kHz", _AUDIO, "65,536", "", "", "", "152M", "strided", "1.97 bits/byte"),
        _main("classical music, 12 kHz", _AUDIO, "262,144", "", "", "", "25M", "strided", "2.17 bits/byte"),
        _main("classical music, 12 kHz", _AUDIO, "1,048,576", "", "", "", "3M", "strided", "2.99 bits/byte"),
    ),
    note="Mean and deviation over three seeds: CIFAR-10 2.798 +- .004, enwik8 0.992 +- .001. A row that shares its "
    "configuration with another differs from it by command-line fields (layers, tokens, width).",
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
    note="Each row names the configuration of one of its two data sets; the other takes the same pattern field.",
)

CONTEXT = Table(
    key="S3",
    system="Sparse Transformer",
    title="enwik8 with a guaranteed context",
    columns=("bits/byte",),
    rows=tuple(
        Row(label=f"at least {context} bytes", published={"bits/byte": bits}, status="not run", config=_ENWIK8)
        for context, bits in (
            ("6,144", "0.9952"),
            ("9,216", "0.9936"),
            ("10,752", "0.9932"),
            ("11,904", "0.9930"),
            ("12,096", "0.9922"),
            ("12,160", "0.9908"),
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
