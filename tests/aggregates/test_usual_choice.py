"""A consistent difference between chosen and rejected is learnt, flips lie on the other side, and chance teaches nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dataaudit.aggregates.usual_choice import MOST, sums, usual_choice
from dataaudit.features.embedding import SCALE


def contrasts(rows: int, shift: float, seed: int = 0) -> np.ndarray:
    """Contrasts of 20 numbers, of which one leans to a side."""
    drawn = np.random.default_rng(seed).normal(size=(rows, 20)) * 0.1
    drawn[:, 3] += shift * 0.1
    return np.rint(np.clip(drawn, -1, 1) * SCALE).astype(np.int16)


def test_flipped_pairs_are_against_what_is_usual() -> None:
    rows = contrasts(2000, 3.0)
    rows[:20] *= -1
    weights, bar = usual_choice(rows)
    against = sums(rows, weights) < bar
    assert np.argmax(np.abs(weights)) == 3
    assert against[:20].mean() > 0.9
    assert against[20:].mean() < 0.01


def test_a_weak_preference_never_makes_being_against_it_common() -> None:
    rows = contrasts(5000, 1.0)
    weights, bar = usual_choice(rows)
    assert bar < 0
    assert np.mean(sums(rows, weights) < bar) == pytest.approx(MOST, abs=0.001)


@pytest.mark.parametrize("rows", [contrasts(2000, 0.0), contrasts(199, 3.0), contrasts(0, 0.0), np.zeros((500, 20), np.int16)])
def test_chance_and_few_pairs_teach_nothing(rows: np.ndarray) -> None:
    weights, bar = usual_choice(rows)
    assert len(weights) == 0
    assert bar == 0


def test_a_sum_does_not_depend_on_its_batch() -> None:
    rows = contrasts(2000, 3.0)
    weights, _ = usual_choice(rows)
    assert np.array_equal(sums(rows, weights), np.concatenate([sums(rows[i : i + 7], weights) for i in range(0, 2000, 7)]))
