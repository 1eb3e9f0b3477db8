"""Runs side by side: the table, the picture, what is refused."""

import json

import pytest

from efficient_attn.__main__ import main

pytestmark = pytest.mark.fast


def run(folder, losses, score):
    folder.mkdir()
    rows = [{"step": 10 * n, "loss": x, "seconds_per_step": 0.1 * n} for n, x in enumerate(losses, start=1)]
    rows += [] if score is None else [{"step": 10 * len(losses), "eval/loss": score}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def test_the_best_run_comes_first_and_the_first_interval_is_not_timed(tmp_path, capsys):
    dirs = run(tmp_path / "a", [3.0, 2.0, 1.5], 1.5), run(tmp_path / "b", [3.0, 2.0], 1.0)
    main(["compare", *dirs, "--picture", str(tmp_path / "losses.png")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| b | 20 | 1.443 | 200 |", "| a | 30 | 2.164 | 250 |"]
    assert [row["run"] for row in json.loads(lines[-1])] == ["b", "a"]
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_refuses(tmp_path, capsys):
    unfinished, empty = run(tmp_path / "a", [3.0], None), run(tmp_path / "b", [], None)
    for dirs, message in (
        ([], "needs the directory of at least one run, got none"),
        ([unfinished], "was not evaluated"),
        ([empty], "holds no metrics"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["compare", *dirs])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
