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

_CLASSES = "configs/image_gpt_classes.py"
_NOTE = "Probed are the models of table I1 and `configs/image_gpt_l48.py`, once they are trained."


def _probed(columns: tuple[str, ...], model: str, of: str, label: str, *figures: str) -> Row:
    """A row whose model is probed with the images of a config, ``of``; empty: its own."""
    name = f"image_gpt_{model}"
    command = f"python -m efficient_attn probe configs/{name}.py --workdir runs/{name}"
    return Row(label=label, published=published(columns, figures), status="not run", command=f"{command} {of}".strip())


# As many images as there are, each once.
_DESCENT = "--images 1230000 --rates 0.003 0.01 0.03 --descent-steps 100000 --layers"


PROBES = Table(
    key="I2",
    system="Image GPT",
    title="Linear probes",
    columns=_PROBES,
    rows=(
        *(
            _probed(_PROBES, *line)
            for line in [
                ("l", f"--data {_CLASSES}", "1", "CIFAR-10", "L", "32x32", "", "96.3"),
                ("l", f"--data {_CLASSES}:cifar100", "2", "CIFAR-100", "L", "32x32", "", "82.8"),
                ("l", f"--data {_CLASSES}:stl10", "3", "STL-10", "L", "32x32", "", "95.5"),
                ("s", f"{_DESCENT} 12", "4", "ImageNet", "S", "32x32", "", "41.9"),
                ("m", f"{_DESCENT} 18", "5", "ImageNet", "M", "32x32", "", "54.5"),
                ("l", f"{_DESCENT} 24", "6", "ImageNet", "L", "32x32", "", "60.3"),
                ("l48", f"{_DESCENT} 24", "7", "ImageNet", "L", "48x48", "", "65.2"),
                ("xl", f"{_DESCENT} 30", "8", "ImageNet", "XL", "64x64", "3,072", "68.7"),
                (
                    "xl",
                    f"{_DESCENT} 28 29 30 31 32 --together 5",
                    *("9", "ImageNet", "XL", "64x64", "15,360 of five layers", "72.0"),
                ),
            ]
        ),
        *rows(_PROBES, [("10", "ImageNet", "L on VQ-VAE tokens (first version)", "", "", "69.0")], "quoted only"),
    ),
    note=_NOTE,
)


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
        _tuned("imagenet48", "L", "ImageNet", "48x48", "72.6"),
        _tuned("imagenet48_scratch", "L from scratch", "ImageNet", "48x48", "53.2"),
    ),
    note="Tuned are the models of table I1, `configs/image_gpt_l.py:bert` and `configs/image_gpt_l48.py`.",
)

FEW_LABELS = Table(
    key="I4",
    system="Image GPT",
    title="CIFAR-10 with few labels",
    columns=_FEW,
    rows=(
        _probed(_FEW, "l", f"--data {_CLASSES}:four", "L, probe", "4", "73.2"),
        _probed(_FEW, "l", f"--data {_CLASSES}:twentyfive", "L, probe", "25", "87.6"),
        Row(
            label="L, fine-tuned",
            published=published(_FEW, ("4", "42.1")),
            status="not run",
            config=f"{_CLASSES}:four",
        ),
    ),
    note=_NOTE,
)

TABLES = (MODELS, PROBES, TUNED, FEW_LABELS)
