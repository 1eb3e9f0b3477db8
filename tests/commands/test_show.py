"""``show``: what it prints, what it writes, what it refuses, how fast it is."""

import time

import pytest

from efficient_attn.__main__ import main

pytestmark = pytest.mark.fast

ENWIK8 = "Causal() & fixed_heads(heads=8, stride=128, summary=32, groups=4)"


def lines_of(capsys, *arguments):
    main(["show", *arguments])
    return capsys.readouterr().out.splitlines()


def test_a_short_sequence_is_drawn_position_by_position(capsys):
    lines = lines_of(capsys, "Causal()", "--length", "3", "--block", "2")
    assert lines[:4] == ["■ · ·", "■ ■ ·", "■ ■ ■", "rows: queries, columns: keys; ■ seen"]
    assert lines[4:] == [
        "3 queries x 3 keys, blocks of 2",
        "3 of 4 blocks live (75.00%): 2 full, 1 partial; 85.7% of the work in them useful; "
        + lines[5].rpartition("; ")[2],
        "of the causal area, 3 of 3 blocks are live (100.00%)",
    ]


def test_the_share_of_the_causal_area(capsys):
    lines = lines_of(capsys, ENWIK8, "--length", "12288", "--block", "32")
    assert "of the causal area, 153600 of 591360 blocks are live (25.97%)" in lines


def test_a_pattern_that_looks_ahead_has_no_share_of_the_causal_area(capsys):
    assert "causal" not in "\n".join(lines_of(capsys, "Window(200, 200)"))


def test_heads_are_drawn_apart_and_can_be_chosen(capsys):
    titles = [line for line in lines_of(capsys, ENWIK8, "--length", "512", "--block", "32") if line.startswith("head")]
    assert titles == ["heads 0, 4", "heads 1, 5", "heads 2, 6", "heads 3, 7"]
    chosen = lines_of(capsys, ENWIK8, "--length", "512", "--block", "32", "--heads", "1", "6")
    assert [line for line in chosen if line.startswith("head")] == ["head 1", "head 6"]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_writes_a_picture(ending, tmp_path, capsys):
    if ending == "png":
        pytest.importorskip("matplotlib")
    path = tmp_path / f"x.{ending}"
    assert f"wrote {path}" in lines_of(capsys, "Causal()", "--length", "64", "--query", "9", "--out", str(path))
    assert path.read_bytes().startswith({"svg": b"<svg", "png": b"\x89PNG"}[ending])


@pytest.mark.parametrize("expression", ["Causal() & (Window(127) | Strided(128))", "Window(255, 255) | Global([0])"])
def test_a_million_positions_take_a_moment(expression, capsys):
    start = time.perf_counter()
    lines = lines_of(capsys, expression, "--length", "1048576")
    assert time.perf_counter() - start < 3
    assert "1048576 queries x 1048576 keys, blocks of 512" in lines


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["Causl()"], "did you mean Causal?"),
        (["Causal()", "--length", "0"], "--length must be at least 1, got 0"),
        (["Causal()", "--block", "0"], "--block must be at least 1, got 0"),
        (["Causal()", "--length", "1048576", "--block", "1"], "--block must be at least 64 at --length 1048576"),
        (["Causal()", "--query", "1024"], "--query must be a position below --length 1024, got 1024"),
        (["Causal()", "--out", "x.jpg"], "--out must end in .svg or .png, got x.jpg"),
        (["Causal()", "--out", "/dev/null/x.svg"], "Not a directory: /dev/null/x.svg"),
        (["Causal()", "--heads", "0"], "this pattern is the same for all heads"),
        ([ENWIK8, "--heads", "8"], "heads must lie in 0..7, got 8"),
        ([], "Required"),
        (["Causal()", "--lenght", "3"], "--length"),
    ],
)
def test_refuses(arguments, reason, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["show", *arguments])
    assert caught.value.code == 2
    written = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert reason in written


def test_tells_in_which_orders_a_pattern_runs(capsys):
    lines = lines_of(capsys, "Causal() & (Window(left=127) | Strided(128))", "--length", "4096")
    assert "runs as natural order, then each residue of 128 by itself" in lines[-1]
