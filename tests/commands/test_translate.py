"""``tokenizer``, ``train.py``, ``eval.py`` and ``translate`` as their users call them."""

import io
import json
import sys
import types

import numpy as np
import pytest

from efficient_attn.__main__ import main
from efficient_attn.commands import launch

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")

CONFIG = """
from efficient_attn.data import ParallelText, SentencePieces, SubwordPairs
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import Seq2SeqConfig
from efficient_attn.training import Constant, Schedule
from efficient_attn.translation_experiment import TranslationExperiment

CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(
        vocab=18, width=8, ff_width=8, heads=2, encoder_depth=1, decoder_depth=1, longest=16, bos_token=3
    ),
    source=SubwordPairs(
        pairs=ParallelText(path={folder!r}),
        subwords=SentencePieces(file={folder!r} + "/x.model", unknown="token", coverage=1.0),
    ),
    context=16,
    batch_size=8,
    steps=1,
    schedule=Schedule(peak=1e-2, warmup_steps=1, decay=Constant()),
    decoding=BeamOptions(beams=2, longest=4),
    resamples=1,
    tensorboard="off",
)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translation")
    draw = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for language in ("en", "de"):
            lines = [" ".join(draw.choice(list("abcdefg"), 4)) for _ in range(30)]
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    path = folder / "mine.py"
    path.write_text(CONFIG.format(folder=str(folder)))
    return str(path)


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_from_sentences_to_translations(config, tmp_path, capsysbinary, monkeypatch):
    main(["tokenizer", config])
    report = json.loads(capsysbinary.readouterr().out)
    assert (report["pieces"], report["kind"]) == (18, "unigram")
    launch.train([config, "--workdir", str(tmp_path / "run")])
    assert "bleu" in json.loads(capsysbinary.readouterr().out.splitlines()[-1])
    given = "a b c\n\nd \u2028 e\n".encode()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(given)))
    main(["translate", "--config", config, "--workdir", str(tmp_path / "run"), "--beams", "1"])
    printed = capsysbinary.readouterr().out
    assert printed.count(b"\n") == 3
    (tmp_path / "in.txt").write_bytes(given)
    files = ["--file", str(tmp_path / "in.txt"), "--out", str(tmp_path / "out.txt")]
    main(["translate", "--config", config, "--workdir", str(tmp_path / "run"), "--beams", "1", *files])
    assert (tmp_path / "out.txt").read_bytes() == printed
    (tmp_path / "in.txt").write_bytes(b"")
    main(["translate", "--config", config, "--workdir", str(tmp_path / "run"), *files])
    assert (tmp_path / "out.txt").read_bytes() == b""


def test_what_cannot_be_is_one_line(config, tmp_path, capsys):
    workdir = ["--workdir", str(tmp_path / "none")]
    assert "is there already: remove it, or name another by --out" in refusal(capsys, "tokenizer", config)
    assert "a config of an encoder-decoder is needed, and that of configs/quickstart.py is of type" in refusal(
        capsys, "tokenizer", "configs/quickstart.py"
    )
    (tmp_path / "in.txt").write_text("a b\n")
    file = ["--file", str(tmp_path / "in.txt")]
    assert "none has no checkpoints" in refusal(capsys, "translate", "--config", config, *workdir, *file)
    (tmp_path / "nothing.txt").write_text("")
    nothing = ["--file", str(tmp_path / "nothing.txt")]
    assert "none has no checkpoints" in refusal(capsys, "translate", "--config", config, *workdir, *nothing)
    assert "No such file" in refusal(capsys, "translate", "--config", config, *workdir, "--file", "nowhere.txt")
    assert "beams must be at least 1, got 0" in refusal(
        capsys, "translate", "--config", config, *workdir, *file, "--beams", "0"
    )
