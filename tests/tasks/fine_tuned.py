"""A small encoder of words, its tokenizer, and runs of ``train.py`` and ``eval.py`` with it."""

import json

import pytest

from efficient_attn.commands import launch

WORDS = (
    *(["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st", "uv", "wx", "yz"]),
    ".",
    ",",
    "the",
    "in",
    "of",
    "to",
    "is",
)
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")

CONFIG = """from efficient_attn import data
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import BigBird, EncoderConfig, Longformer, Sparse
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.training import AdamW, Linear, Schedule

CONFIG = FineTuningExperiment(
    model=EncoderConfig(
        depth=1,
        width=32,
        heads=2,
        ff_width=64,
        vocab={vocab},
        pad_token=1,
        positions=CountedPositions(rows=50),
        {model}
    ),
    source=data.{source},
    tokenizer={folder!r},
    context={context},
    batch_size=24,
    steps={steps},
    schedule=Schedule(peak={peak}, warmup_steps=5, decay=Linear()),
    optimizer=AdamW(b2=0.98, weight_decay=0.0),
    log_every=1000,
    checkpoint_every=1000,
    tensorboard="off",
)
"""


def write_tokenizer(folder, words=WORDS):
    """Writes ``tokenizer.json`` of whole words, framed as RoBERTa's; returns the size of its vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *words))}
    found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    found.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def write_config(folder, source, model, context=16, steps=100, peak=5e-3):
    """Writes ``config.py`` beside the data and the tokenizer, and returns its path."""
    vocab = write_tokenizer(folder)
    text = CONFIG.format(
        vocab=vocab, folder=str(folder), source=source, model=model, context=context, steps=steps, peak=peak
    )
    (folder / "config.py").write_text(text)
    return str(folder / "config.py")


def write_lines(folder, rows, names=("train", "validation")):
    """Writes rows as JSON lines, the same for each split."""
    for name in names:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_table(folder, header, rows, names=("train.tsv", "dev.tsv")):
    """Writes rows between tabs, the same for each split."""
    for name in names:
        lines = [*([header] if header else []), *rows]
        (folder / name).write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))


def learned(config, folder, capsys, *flags, split="train"):
    """The scores of the training data after training on it."""
    launch.train([config, "--workdir", str(folder / "run")])
    capsys.readouterr()
    launch.evaluate([config, "--workdir", str(folder / "run"), "--split", split, *flags])
    return json.loads(capsys.readouterr().out.splitlines()[-1])
