"""Schedules at the steps that matter, against the published numbers."""

import jax
import numpy as np
import pytest

from efficient_attn.training import Constant, Cosine, Drop, InverseSquareRoot, Linear, Polynomial, Schedule


def at(schedule, *steps, total=100):
    rate = schedule.build(total)
    return [float(rate(step)) for step in steps]


def test_inverse_square_root_is_the_transformer_papers_at_updates_1_4000_10000():
    schedule = Schedule(peak=512**-0.5 * 4000**-0.5, warmup_steps=4000, decay=InverseSquareRoot())
    expected = [1.74693e-7, 6.98771e-4, 4.41942e-4]
    np.testing.assert_allclose(at(schedule, 0, 3999, 9999, total=100_000), expected, rtol=1e-5)


def test_inverse_square_root_is_t5s_at_updates_1_10000_40000():
    schedule = Schedule(peak=0.01, decay=InverseSquareRoot(flat=10_000))
    np.testing.assert_allclose(at(schedule, 0, 9999, 39_999, total=2**19), [0.01, 0.01, 0.005], rtol=1e-5)
    with pytest.raises(ValueError, match="must not be negative; got -1"):
        InverseSquareRoot(flat=-1)


DECAYS = [Constant(), Cosine(), Linear(), Polynomial(power=3.0), InverseSquareRoot(), Drop(at=50)]


@pytest.mark.parametrize("decay", DECAYS, ids=repr)
def test_warmup_rises_from_the_first_update_to_the_peak(decay):
    rates = at(Schedule(peak=2.0, warmup_steps=10, decay=decay), 0, 4, 9)
    np.testing.assert_allclose(rates, [0.2, 1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("decay", "middle", "end"),
    [
        (Constant(), 1.0, 1.0),
        (Cosine(), 0.5, 0.0),
        (Cosine(final=0.1), 0.55, 0.1),
        (Linear(), 0.5, 0.0),
        (Linear(final=0.2), 0.6, 0.2),
        (Polynomial(power=3.0), 0.125, 0.0),
    ],
    ids=repr,
)
def test_decay_at_its_middle_and_at_its_end(decay, middle, end):
    rates = at(Schedule(peak=1.0, warmup_steps=20, decay=decay), 20, 60, 100, 1000)
    np.testing.assert_allclose(rates, [1.0, middle, end, end], atol=1e-6)


def test_the_last_update_of_a_decay_to_zero_still_moves():
    assert at(Schedule(peak=1.0, decay=Linear()), 99)[0] == pytest.approx(0.01, rel=1e-4)


def test_decay_steps_free_the_schedule_from_the_length_of_the_run():
    schedule = Schedule(peak=1.0, decay=Linear(), decay_steps=10)
    assert at(schedule, 5, total=100) == at(schedule, 5, total=1000) == [0.5]


def test_a_traced_step_gives_the_rate_of_a_plain_one():
    rate = Schedule(peak=1.0, warmup_steps=3).build(17)
    np.testing.assert_allclose(jax.jit(jax.vmap(rate))(np.arange(20)), [rate(s) for s in range(20)], atol=1e-6)


def test_drop_falls_at_its_step_and_stays():
    schedule = Schedule(peak=2.0, warmup_steps=10, decay=Drop(at=50))
    np.testing.assert_allclose(at(schedule, 9, 49, 50, 99), [2.0, 2.0, 0.2, 0.2], rtol=1e-6)
    with pytest.raises(ValueError, match="at is a step, at least 1; got 0"):
        Drop(at=0)
