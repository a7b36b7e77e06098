"""Groups that have nothing in common are no more alike than random rows, however many they are; those that do are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.aggregates.coherence import WIDTH, Groups, excess

DRAWS = 60


def texts(rows: int, seed: int, own: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Unit vectors of a few filled cells each, a part of which all texts have in common, and some, `own`, these rows besides."""
    rng = np.random.default_rng(seed)
    made = np.zeros((rows, WIDTH))
    cells = rng.integers(WIDTH, size=(rows, 20))
    np.put_along_axis(made, cells, rng.choice([-1.0, 1.0], cells.shape), axis=1)
    made[:, :8] += 0.8
    if own is not None:
        made += own
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def groups(members: list[NDArray[np.float64]], phrase: bool = False) -> Groups:
    length = np.array([len(m) for m in members], dtype=np.float64)
    return Groups(np.stack([m.sum(0) for m in members]), length, length, length, np.full(len(members), phrase))


@pytest.mark.parametrize("size", [10, 60, 120])
def test_random_groups_from_outside_the_sample_lie_around_nought(size: int) -> None:
    """With each sampled row's own part in what all have in common, 120 of 800 would seem two deviations more alike than they are."""
    whole, trimmed = excess(groups([texts(size, 100 + i) for i in range(DRAWS)]), np.ones(DRAWS, bool), texts(800, 0))
    assert abs(whole.mean()) < 0.5
    assert abs(trimmed.mean()) < 1.0
    assert max(whole.std(), trimmed.std()) < 1.6


def test_what_many_cells_share_is_seen_and_what_a_phrase_fills_is_left_out() -> None:
    rng = np.random.default_rng(7)
    topic = np.where(rng.random(WIDTH) < 0.3, rng.choice([-0.5, 0.5], WIDTH), 0.0)
    phrase = np.zeros(WIDTH)
    phrase[[40, 90, 130, 200]] = 0.7
    whole, trimmed = excess(groups([texts(60, 1, topic), texts(60, 2, phrase)]), np.ones(2, bool), texts(800, 0))
    assert whole.min() > 8
    assert trimmed[0] > 6
    assert abs(trimmed[1]) < 3.5


def test_where_the_shared_cells_hold_most_nothing_can_be_told() -> None:
    prefix = np.zeros(WIDTH)
    prefix[[40, 90, 130, 200]] = 3.0
    _, trimmed = excess(groups([texts(60, 1, prefix)]), np.ones(1, bool), texts(800, 0))
    assert trimmed[0] == np.inf
