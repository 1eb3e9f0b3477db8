"""Published figures of Image GPT.

References:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020.
"""

from efficient_attn.results.record import Row, Table, published, rows

_MODELS = ("layers", "width", "heads", "params", "ImageNet test nats/token")
_PROBES = ("data", "model", "resolution", "features", "accuracy")
_TUNED = ("data", "resolution", "accuracy")
_FEW = ("labels per class", "accuracy")

MODELS = Table(
    key="I1",
    system="Image GPT",
    title="Models",
    columns=_MODELS,
    rows=tuple(
        Row(
            label=label,
            published=published(_MODELS, figures),
            status="not run",
            config=f"configs/image_gpt_{label[5:].lower()}.py",
        )
        for label, *figures in [
            ("iGPT-S", "24", "512", "8", "76M", "2.0895"),
            ("iGPT-M", "36", "1024", "8", "455M", "2.0614"),
            ("iGPT-L", "48", "1536", "16", "1362M", "2.0466"),
            ("iGPT-XL", "60", "3072", "", "6801M", ""),
        ]
    ),
    note="Losses are those of the released checkpoints of a million steps, at 32x32.",
)

_NOTE = "Probed are the models of table I1, by `python -m efficient_attn probe`, whose `--images` says how many labelled ones."


def _probed(model: str, columns: tuple[str, ...], label: str, *figures: str) -> Row:
    config = f"configs/image_gpt_{model.lower()}.py"
    return Row(label=label, published=published(columns, figures), status="not run", config=config)


PROBES = Table(
    key="I2",
    system="Image GPT",
    title="Linear probes",
    columns=_PROBES,
    rows=(
        *(
            _probed(line[2], _PROBES, *line)
            for line in [
                ("1", "CIFAR-10", "L", "32x32", "", "96.3"),
                ("2", "CIFAR-100", "L", "32x32", "", "82.8"),
                ("3", "STL-10", "L", "32x32", "", "95.5"),
                ("4", "ImageNet", "S", "32x32", "", "41.9"),
                ("5", "ImageNet", "M", "32x32", "", "54.5"),
                ("6", "ImageNet", "L", "32x32", "", "60.3"),
                ("8", "ImageNet", "XL", "64x64", "3,072", "68.7"),
                ("9", "ImageNet", "XL", "64x64", "15,360 of five layers", "72.0"),
            ]
        ),
        Row(
            label="7",
            published=published(_PROBES, ("ImageNet", "L", "48x48", "", "65.2")),
            status="not run",
            lacks="ImageNet at 48x48, which TFDS does not have",
        ),
        *rows(_PROBES, [("10", "ImageNet", "L on VQ-VAE tokens (first version)", "", "", "69.0")], "quoted only"),
    ),
    note=_NOTE,
)

_CLASSES = "configs/image_gpt_classes.py"


def _tuned(variant: str, *figures: str) -> Row:
    config = f"{_CLASSES}:{variant}" if variant else _CLASSES
    return Row(label=figures[0], published=published(_TUNED, figures[1:]), status="not run", config=config)


TUNED = Table(
    key="I3",
    system="Image GPT",
    title="Fine-tuned",
    columns=_TUNED,
    rows=(
        _tuned("", "L", "CIFAR-10", "32x32", "99.0"),
        _tuned("cifar100", "L", "CIFAR-100", "32x32", "88.5"),
        _tuned("imagenet", "L", "ImageNet", "32x32", "66.3"),
        _tuned("bert", "BERT-L", "CIFAR-10", "32x32", "98.6"),
        _tuned("imagenet_bert", "BERT-L", "ImageNet", "32x32", "66.5"),
        *(
            Row(
                label=label,
                published=published(_TUNED, ("ImageNet", "48x48", figure)),
                status="not run",
                lacks="ImageNet at 48x48, which TFDS does not have",
            )
            for label, figure in (("L", "72.6"), ("L from scratch", "53.2"))
        ),
    ),
    note="Tuned are the models of table I1, and `configs/image_gpt_l.py:bert`.",
)

FEW_LABELS = Table(
    key="I4",
    system="Image GPT",
    title="CIFAR-10 with few labels",
    columns=_FEW,
    rows=(
        _probed("L", _FEW, "L, probe", "4", "73.2"),
        _probed("L", _FEW, "L, probe", "25", "87.6"),
        Row(
            label="L, fine-tuned",
            published=published(_FEW, ("4", "42.1")),
            status="not run",
            lacks="four labels of each class alone: TFDS takes shares of a split, not of its classes",
        ),
    ),
    note=_NOTE,
)

TABLES = (MODELS, PROBES, TUNED, FEW_LABELS)
