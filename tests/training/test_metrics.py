"""What is written about a run, and where."""

import builtins
import json

import jax.numpy as jnp
import pytest

from efficient_attn.training import Mean, StepOptions, draw_curve, fit
from efficient_attn.training.metrics import JsonLines, describe, open_sinks

from . import toy


def test_the_log_has_every_number_and_standard_output_nothing(tmp_path, capfd):
    fit(toy.program(), toy.options(4, log_every=2), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert set(rows[0]) == {
        *("step", "loss", "bits", "tokens", "grad_norm", "learning_rate", "term/squares", "term/penalty"),
        *("seconds_per_step", "tokens_per_second"),
    }
    assert rows[0]["loss"] == pytest.approx(rows[0]["term/squares"] + rows[0]["term/penalty"])
    assert rows[0]["bits"] == pytest.approx(rows[0]["term/squares"] / 0.6931472)
    assert rows[0]["tokens"] == toy.batch(1)["valid"].sum()
    out, err = capfd.readouterr()
    assert out == ""
    assert "step 2/4  loss" in err and "tokens/s" in err and "left" in err


class Watched(toy.Regression):
    """The toy's objective, and how many positions of each slot are valid: three numbers, and a fourth of nothing."""

    observed = frozenset({"slots"})

    def counts(self, batch):
        rows = jnp.full(4, 1.0 * batch["x"].shape[0]).at[3].set(0.0)
        return super().counts(batch) | {"slots": rows}

    def __call__(self, params, batch, key, carry):
        terms, carry = super().__call__(params, batch, key, carry)
        slots = jnp.append(batch["valid"].sum(0), 0.0)
        return terms | {"slots": Mean(slots, self.counts(batch)["slots"])}, carry


def test_a_term_of_many_numbers_is_logged_by_their_places(tmp_path):
    for name, objective in {"watched": Watched(dropout=0.1), "plain": toy.Regression(dropout=0.1)}.items():
        step = StepOptions(accumulation=2)
        fit(toy.program(objective=objective), toy.options(1, step=step, log_every=1), tmp_path / name)
    watched, plain = (json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("watched", "plain"))
    assert watched["loss"] == plain["loss"]
    shares = [watched[f"term/slots/{n}"] for n in range(4)]
    assert shares == pytest.approx([*toy.batch(0)["valid"].mean(0), 0.0])
    assert "term/slots" not in watched


def test_resuming_drops_later_and_torn_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "lo')
    sink = JsonLines(path, 2)
    sink.write(3, {"loss": float("inf")})
    sink.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": null}\n'


def test_tensorboard_files_where_tensorboardx_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(toy.program(), toy.options(2, tensorboard="auto"), tmp_path)
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.fixture
def without(monkeypatch):
    """Makes packages look as if they were not installed."""
    real = builtins.__import__

    def hide(*names):
        def importing(name, *rest, **more):
            if name.split(".")[0] in names:
                raise ModuleNotFoundError(f"No module named {name!r}")
            return real(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", importing)

    return hide


def test_tensorboard_is_optional_unless_asked_for(tmp_path, without):
    without("tensorboardX")
    for sink in open_sinks(tmp_path, "auto", 10, 0):
        sink.close()
    with pytest.raises(ModuleNotFoundError, match=r"efficient-attn\[tensorboard\]"):
        open_sinks(tmp_path, "on", 10, 0)


def test_the_curve_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    lines = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": None}, {"step": 3, "loss": 2.0, "eval/loss": 2.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert draw_curve(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_the_curve_says_what_it_misses(tmp_path, without):
    with pytest.raises(ValueError, match="no metrics to draw"):
        draw_curve(tmp_path)
    without("matplotlib")
    with pytest.raises(ModuleNotFoundError, match=r"efficient-attn\[plots\]"):
        draw_curve(tmp_path)


def test_a_line_for_people_is_short():
    values = {"loss": 1.23456, "bits": 1.5, "tokens_per_second": 12345.6, "grad_norm": 3.0, "eval/loss": 1.0}
    assert describe(values) == "loss 1.2346  1.5000 bits  12,346 tokens/s  eval/loss 1.0000"
