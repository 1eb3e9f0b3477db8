"""A user's own config file, small enough to train in a moment, and the text that it is trained on."""

import re

import numpy as np

TEMPLATE = """\"\"\"A config of one's own.\"\"\"

from efficient_attn.data import AudioFiles, ImageArray, TextFiles
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import Constant, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=2,
        width=16,
        heads=2,
        attention=Sparse(patterns=("Causal() & Window(left=7)",)),
        positions=TablePositions(sizes=(8, 8)),
        dropout=0.1,
    ),
    source={kind}(path={path!r}),
    context=32,
    batch_size=8,
    steps=6,
    schedule=Schedule(peak=1e-2, warmup_steps=2, decay=Constant()),
    checkpoint_every=2,
    log_every=2,
    tensorboard="off",
)
"""


def write_config_for(kind: str, data, **changes: str) -> str:
    """Writes ``small.py`` beside ``data``, of a source's kind, with other text for some fields; returns its path."""
    text = TEMPLATE.format(kind=kind, path=str(data))
    for field, value in changes.items():
        text, found = re.subn(rf"^(    {field}=).*,$", rf"\g<1>{value},", text, flags=re.MULTILINE)
        assert found == 1, field
    config = data.with_name("small.py")
    config.write_text(text)
    return str(config)


def write_config(folder) -> str:
    """Writes ``small.py`` and its text in ``folder``, and returns the config's path."""
    text = folder / "text.txt"
    words = np.random.default_rng(0).choice(["so ", "it ", "was ", "then ", "here\n"], 800)
    text.write_text("".join(words))
    return write_config_for("TextFiles", text)
