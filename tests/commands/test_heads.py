"""What is printed of the heads of a run, and how densities and divergences are counted."""

import json

import numpy as np
import pytest
from small_run import write_config

from efficient_attn.__main__ import main
from efficient_attn.commands import heads
from efficient_attn.experiment import load_config, train


def test_densities_and_divergences_of_known_weights():
    first, last = np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4))
    first[..., 0], last[..., range(4), range(4)] = 1, 1
    uniform = (np.tri(4) / np.arange(1, 5)[:, None])[None, None]
    np.testing.assert_allclose(heads.density(np.concatenate([first, uniform], axis=1)), [[0.4, 1.0]])
    # The first query has one key: its heads agree. The others are a bit apart.
    np.testing.assert_allclose(heads.divergence(np.concatenate([first, last], axis=1)), [0.75])
    np.testing.assert_allclose(heads.divergence(np.concatenate([uniform, uniform], axis=1)), [0.0], atol=1e-12)


def test_a_run_is_looked_at_and_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, workdir, picture = write_config(tmp_path), str(tmp_path / "run"), tmp_path / "heads.png"
    text = (tmp_path / "small.py").read_text()
    sparse = 'attention=Sparse(patterns=("Causal() & Window(left=7)",))'
    assert sparse in text
    (tmp_path / "small.py").write_text(
        text.replace(sparse, "attention=AdaptivelySparse()").replace(
            "import DecoderConfig", "import AdaptivelySparse, DecoderConfig"
        )
    )
    train(load_config(path), workdir)
    capsys.readouterr()
    main(["heads", path, "--workdir", workdir, "--texts", "2", "--picture", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    assert len(lines) == 2 + 2 + 1
    assert (report["step"], report["texts"]) == (6, 2)
    assert np.shape(report["alphas"]) == np.shape(report["density"]) == (2, 2)
    assert all(1 < alpha < 2 for layer in report["alphas"] for alpha in layer)
    assert all(0 < share <= 1 for layer in report["density"] for share in layer)
    assert picture.stat().st_size > 1000


@pytest.mark.fast
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--texts", "0"], "texts must be at least 1, got 0"),
        (["--picture", "x.gif"], "a picture is a .png or .svg, got x.gif"),
    ],
)
def test_bad_flags_are_refused(capsys, flags, said):
    with pytest.raises(SystemExit) as stopped:
        main(["heads", "configs/small_entmax.py", "--workdir", "none", *flags])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
