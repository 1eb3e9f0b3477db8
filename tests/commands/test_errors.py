"""How programs end: statuses, one line, tracebacks on request; and the table of commands."""

import errno
import importlib.util
import os
import subprocess
import sys

import pytest

from efficient_attn.__main__ import COMMANDS, main
from efficient_attn.commands import errors

pytestmark = pytest.mark.fast


def raising(error):
    def run():
        raise error

    return run


EXPECTED = {
    "value": (ValueError("rate must be below 1, got 2"), 2, "error: rate must be below 1, got 2"),
    "value, more lines": (
        ValueError("two fields differ:\n  a: 1, 2\n  b: 3, 4\n"),
        2,
        "two fields differ:; a: 1, 2; b: 3, 4",
    ),
    "missing file": (FileNotFoundError(2, "No such file or directory", "a.py"), 2, "No such file or directory: a.py"),
    "existing file": (FileExistsError(17, "File exists", "a"), 2, "error: File exists: a"),
    "not a directory": (NotADirectoryError(20, "Not a directory", "a"), 2, "error: Not a directory: a"),
    "a directory": (IsADirectoryError(21, "Is a directory", "a"), 2, "error: Is a directory: a"),
    "permission": (PermissionError(13, "Permission denied", "a"), 2, "error: Permission denied: a"),
    "own words": (FileNotFoundError("enwik8 is not in data/: fetch it"), 2, "error: enwik8 is not in data/: fetch it"),
    "failed run": (
        RuntimeError("RESOURCE_EXHAUSTED: out of memory\n\npages of text"),
        1,
        "RESOURCE_EXHAUSTED: out of memory",
    ),
    "cannot here": (NotImplementedError("pallas_tpu needs a TPU"), 1, "error: pallas_tpu needs a TPU"),
    "full disk": (OSError(errno.ENOSPC, "No space left on device", "ckpt"), 1, "error: No space left on device: ckpt"),
    "out of memory": (MemoryError(), 1, "error: MemoryError"),
    "interrupted": (KeyboardInterrupt(), 130, "error: interrupted"),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_expected_errors_end_in_one_line_and_a_status(case, capsys, monkeypatch):
    monkeypatch.delenv("EA_DEBUG", raising=False)
    error, status, line = EXPECTED[case]
    with pytest.raises(SystemExit) as caught:
        errors.run(raising(error))
    assert caught.value.code == status
    written = capsys.readouterr().err
    assert line in written
    assert written.count("\n") == 1


def test_debugging_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("EA_DEBUG", "1")
    with pytest.raises(SystemExit):
        errors.run(raising(ValueError("a reason")))
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert written.endswith("error: a reason\n")


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        errors.run(raising(ZeroDivisionError()))
    with pytest.raises(TypeError):
        errors.run(raising(TypeError()))


def test_success_is_silent(capsys):
    assert errors.run(lambda: print("done")) is None
    assert capsys.readouterr() == ("done\n", "")


def test_a_reader_that_leaves_early_is_no_error():
    program = "from efficient_attn.commands import errors; errors.run(lambda: [print(i) for i in range(100_000)])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments, capsys):
    main(arguments)
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("shwo", "did you mean show?"),
        ("result", "did you mean results?"),
        ("zzz", "the commands are show, sample, tokenizer, crops, translate, params"),
    ],
)
def test_an_unknown_command_is_refused_with_a_hint(typed, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        main([typed])
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module(name):
    assert importlib.util.find_spec(COMMANDS[name][0]) is not None


def test_the_program_runs_and_reports_its_status():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "efficient_attn", "show", "Causl()"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: column 1: no pattern is called 'Causl': did you mean Causal?\n"
