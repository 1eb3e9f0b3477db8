"""The register of results: every published row is there, and the page is what the records say."""

import collections
import importlib
import math
import pathlib
import re
import shlex

import pytest

from efficient_attn.__main__ import main
from efficient_attn.commands import launch
from efficient_attn.experiment import load_config, parameters
from efficient_attn.results.record import Measured, Row
from efficient_attn.results.register import TABLES

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parents[2]
BY_KEY = {table.key: table for table in TABLES}

# Rows of each published table.
ROWS = {
    "S1": 7, "S2": 3, "S3": 6, "S4": 1, "V1a": 2, "V1b": 2, "I1": 4, "I2": 10, "I3": 7, "I4": 3,
    "T1a": 11, "T1b": 11, "T1c": 9, "T2a": 5, "T2b": 5, "T3a": 6, "T3b": 6, "T4a": 2, "T4b": 2, "T4c": 3,
    "T5a": 5, "T5b": 12, "T5c": 8,
    "A1": 7, "A2": 6, "E1": 12, "E2": 2, "R1": 2, "R2": 4, "R3": 3, "R4": 3, "T6a": 25, "T6b": 25, "T6c": 6,
    "B1": 10, "G1": 9, "G2": 6, "T7a": 3, "T7b": 1, "T7c": 4, "T7d": 3,
}  # fmt: skip

# A figure from each table, by row and metric, so that a shifted column is seen.
FIGURES = [
    ("S1", "CIFAR-10", "result", "2.80 bits/dim"),
    ("S2", "strided", "enwik8 bits", "1.13"),
    ("S3", "at least 12,160 bytes", "bits/byte", "0.9908"),
    ("T1c", "random + vanilla", "LM1B PPL", "40.05"),
    ("T1b", "Transformer (control)", "EnFr BLEU", "41.83"),
    ("T2a", "R+V", "RTE", "81.2"),
    ("T2b", "D+V", "WSC", "68.3"),
    ("T3a", "Longformer", "enwik8 test", "1.00"),
    ("T3b", "Sparse Transformer", "BPC", "0.99"),
    ("T4a", "95th percentile", "TriviaQA", "17,126"),
    ("T4b", "Longformer-base", "Hyperpartisan", "94.8"),
    ("T5a", "Reformer", "sequential operations", "O(log n)"),
    ("T5c", "n=65536", "k=2048", "7.9 / 18"),
    ("T6a", "9", "order", "interleaved baseline"),
    ("T6b", "25", "PPL", "18.12"),
    ("T7c", "MPNet", "avg", "87.7"),
    ("T7d", "ELECTRA", "CoLA", "64.6"),
    ("E1", "En-De, alpha-entmax", "BLEU", "26.93"),
    ("G1", "MoE(2048E, 36L)", "BLEU average", "44.3"),
    ("R2", "LSH-1", "full", "0.8"),
]


def test_every_published_row_is_present():
    assert {key: len(table.rows) for key, table in BY_KEY.items()} == ROWS
    assert len(BY_KEY) == len(TABLES), "two tables share a key"


@pytest.mark.parametrize(("key", "label", "metric", "figure"), FIGURES)
def test_figures_stand_in_their_columns(key, label, metric, figure):
    (row,) = [row for row in BY_KEY[key].rows if row.label == label]
    assert row.published[metric] == figure


def test_random_orders_hold_five_seeds_of_the_baseline():
    for key in ("T6a", "T6b"):
        orders = collections.Counter(row.published["order"] for row in BY_KEY[key].rows)
        assert orders == {"random": 20, "interleaved baseline": 5}
        perplexities = [float(row.published["PPL"]) for row in BY_KEY[key].rows]
        assert perplexities == sorted(perplexities, reverse=True)


def test_linformer_savings_have_68_cells():
    assert sum(len(row.published) for row in BY_KEY["T5c"].rows) * 2 == 68


def test_systems_that_are_here_name_their_configurations():
    here = [row for table in TABLES if table.system == "Sparse Transformer" for row in table.rows]
    assert all(row.config for row in here if row.status != "quoted only")


def test_every_configuration_named_exists():
    named = {row.config.partition(":")[0] for table in TABLES for row in table.rows if row.config}
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []


WITH_COMMANDS = [row for table in TABLES for row in table.rows if row.config]


def test_every_row_with_a_configuration_has_commands():
    assert all(len(row.commands) == 2 for row in WITH_COMMANDS)
    # TFDS has no test split of ImageNet 64x64.
    splits = {row.commands[1].split()[-1] for row in WITH_COMMANDS if "imagenet64" in row.config}
    assert splits == {"validation"}


@pytest.fixture
def requested(monkeypatch):
    """Reads a printed command as its program does, and gives what it would run: the experiment and its other arguments."""

    class Requested(Exception):
        """Stands in for the run."""

    def stand_in(*arguments):
        raise Requested(*arguments)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(launch, "train_experiment", stand_in)
    monkeypatch.setattr(launch, "evaluate_experiment", stand_in)

    def request(command):
        _, program, *arguments = shlex.split(command)
        with pytest.raises(Requested) as caught:
            {"train.py": launch.train, "eval.py": launch.evaluate}[program](arguments)
        return caught.value.args

    return request


@pytest.mark.parametrize("row", WITH_COMMANDS, ids=lambda row: row.label)
def test_the_commands_of_a_row_are_those_of_its_experiment(row, requested):
    (trained, where), (scored, there, split, _) = map(requested, row.commands)
    assert (where, trained.model, row.split) == (there, scored.model, split)
    # A table of how many bytes a byte is told from says so of each row.
    if "at least" in row.label:
        assert f"{scored.context - scored.eval_scored:,} bytes" in row.label
    if "tokens" in row.published:
        assert f"{trained.context:,}" == row.published["tokens"]
    if "params" in row.published:
        published = float(re.search(r"\d+(?=M)", row.published["params"])[0])
        assert parameters(trained)["parameters"] / 1e6 == pytest.approx(published, rel=0.06)


OTHER_COMMANDS = sorted({row.command for table in TABLES for row in table.rows if row.command})


@pytest.mark.parametrize("command", OTHER_COMMANDS)
def test_other_commands_can_be_given(command, monkeypatch):
    _, _, package, name, *arguments = shlex.split(command)
    module = importlib.import_module(f"{package}.commands.{name}")
    given = []
    monkeypatch.setattr(module, "main", given.append)
    main([name, *arguments])
    (request,) = given
    if name == "plan":
        config = load_config(str(ROOT / request.config))
        _, _, shape = request.topology.partition(":")
        assert math.prod(map(int, shape.split("x"))) == request.mesh.expert == config.model.experts.number
        assert (request.batch_size or config.batch_size) % request.mesh.expert == 0


def test_a_row_that_is_not_run_says_how_it_could_be_or_what_it_lacks():
    lacking = Row(label="x", published={}, status="not run", lacks="a corpus")
    assert lacking.commands == ()
    assert Row(label="x", published={}, status="not run", command="make it").commands == ("make it",)
    for other in ({"status": "quoted only"}, {"status": "not run", "command": "make it"}):
        with pytest.raises(ValueError, match="only a row that is 'not run' and has no command lacks something"):
            Row(label="x", published={}, lacks="a corpus", **other)


def test_a_variant_trains_in_a_workdir_of_its_own():
    row = Row(label="x", published={}, status="not run", config="configs/x.py:small")
    assert row.commands[0] == "python train.py configs/x.py:small --workdir runs/x_small"


def test_a_measurement_says_on_which_data():
    measured = Measured(values={"bits/byte": "2.5"}, data="6 MB of Wikipedia, 100 steps")
    assert (
        Row(label="x", published={}, status="measured", config="configs/x.py", measured=measured).measured is measured
    )
    with pytest.raises(ValueError, match="exactly when it holds a measurement"):
        Row(label="x", published={}, status="measured")
    with pytest.raises(ValueError, match="names the configuration to run"):
        Row(label="x", published={}, status="not run")


def test_the_page_is_what_the_records_say(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    main(["results", "--check"])
    assert "is up to date" in capsys.readouterr().out


def test_check_fails_on_another_page(tmp_path, capsys):
    page = tmp_path / "results.md"
    main(["results", "--out", str(page)])
    main(["results", "--out", str(page), "--check"])
    page.write_text(page.read_text() + "edited by hand\n")
    with pytest.raises(SystemExit) as caught:
        main(["results", "--out", str(page), "--check"])
    assert caught.value.code == 1
    assert "is not what the records say" in capsys.readouterr().err


def test_the_page_is_a_sound_set_of_tables():
    lines = (ROOT / "docs" / "results.md").read_text().splitlines()
    headers = [n for n, line in enumerate(lines) if line.startswith("|---")]
    assert len(headers) == len(TABLES) + 1
    for n in headers:
        width = lines[n].count("|")
        row = n - 1
        while row < len(lines) and lines[row].startswith("|"):
            assert lines[row].count("|") == width
            row += 1
