"""The singular values of attention: of matrices whose values are known, of a run, and of a checkpoint."""

import json

import jax
import numpy as np
import pytest
from fine_tuned import write_tokenizer
from small_run import write_config

from efficient_attn import save_pretrained
from efficient_attn.__main__ import main
from efficient_attn.bench import spectrum
from efficient_attn.experiment import load_config, train
from efficient_attn.models import EncoderConfig, encoder_of
from efficient_attn.nn.text_embedding import CountedPositions


def test_shares_of_known_matrices():
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    even, falling = np.eye(16), turned @ np.diag([5.0, 3.0] + [0.0] * 14) @ turned
    found = spectrum.cumulative(np.stack([even, falling]))
    np.testing.assert_allclose(found[0], np.arange(1, 17) / 16, atol=1e-6)
    np.testing.assert_allclose(found[1], [5 / 8] + [1.0] * 15, atol=1e-6)
    shares = spectrum.Spectrum("known", found[:, None]).shares()
    np.testing.assert_allclose(shares, [[1 / 16, 1 / 8, 1 / 4, 1 / 2], [5 / 8, 1, 1, 1]], atol=1e-6)
    # Rows that have nothing in common: far from low rank.
    assert spectrum.of_noise("noise", 64, 1, 1).shares()[0, 2] < 0.6


def test_a_run_is_measured_and_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, workdir = write_config(tmp_path), str(tmp_path / "run")
    train(load_config(path), workdir)
    capsys.readouterr()
    picture = tmp_path / "spectrum.svg"
    main(
        [
            "bench",
            "linformer",
            "--spectrum",
            "--config",
            path,
            "--workdir",
            workdir,
            "--texts",
            "3",
            "--picture",
            str(picture),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    assert (report["tokens"], report["texts"], np.shape(report["quarter_by_head"])) == (32, 3, (2, 2))
    assert [line.split(" | ")[0] for line in lines[2:-1]] == ["| trained"] * 2 + ["| as drawn"] * 2 + [
        "| random scores"
    ] * 2
    shares = report["shares"]["trained"]
    assert all(0 < a < b < c < d <= 1 for a, b, c, d in shares)
    assert shares != report["shares"]["as drawn"]
    assert "<svg" in picture.read_text()


def test_a_checkpoint_reads_a_text(tmp_path, capsys):
    vocab = write_tokenizer(tmp_path)
    config = EncoderConfig(
        vocab=vocab,
        depth=1,
        width=8,
        heads=2,
        ff_width=8,
        pad_token=1,
        token_types=1,
        positions=CountedPositions(rows=18),
    )
    model = encoder_of(config)
    save_pretrained(model.module(model.init(jax.random.key(0))), tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("ab cd ef gh . the in of\n" * 40)
    main(["bench", "linformer", "--spectrum", "--workdir", str(tmp_path), "--text", str(text), "--texts", "2"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["tokens"], report["texts"]) == (16, 2)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs a trained model: --workdir DIR of a run of --config FILE"),
        (["--workdir", "no/such/folder"], "there is no no/such/folder: bench linformer --spectrum needs"),
        (["--workdir", ".", "--texts", "0"], "texts must be at least 1, got 0"),
        (["--workdir", ".", "--picture", "x.gif"], "a picture is a .png or .svg, got x.gif"),
    ],
    ids=["no model", "no folder", "no texts", "no picture"],
)
def test_what_is_wanted_is_said(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "linformer", "--spectrum", *arguments])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.fast
def test_a_workdir_without_a_spectrum_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "linformer", "--workdir", "runs/mine"])
    assert stopped.value.code == 2
    assert "--workdir is of the trained model that --spectrum looks at" in capsys.readouterr().err
