"""What the benchmark's figures mean, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tests.benchmarks.measures import auroc, precision_at_n, ranks, tpr_at_fpr, within


def drawn(seed: int, ties: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    bad = rng.random(1000) < 0.03
    score = rng.normal(size=1000) + 1.5 * bad
    return (np.round(score) if ties else score), bad


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_auroc_is_that_of_scikit_learn(seed: int, ties: bool) -> None:
    score, bad = drawn(seed, ties)
    assert auroc(score, bad) == pytest.approx(roc_auc_score(bad, score), abs=1e-12)


def test_a_detector_that_says_the_same_of_all_is_worth_nothing() -> None:
    score, bad = np.zeros(1000), np.arange(1000) < 10
    assert auroc(score, bad) == 0.5
    assert tpr_at_fpr(score, bad, 0.01) == 0.0
    assert precision_at_n(score, bad) == pytest.approx(0.01), "what drawing at random gives, wherever the poisons stand in the file"


def test_the_share_found_is_counted_above_the_clean_that_may_be_accused() -> None:
    clean = np.arange(1000.0)  # 1 in 1,000 may be accused: 999; so the threshold is 998
    poison = np.array([2000.0, 998.5, 998.0, 3.0])
    score, bad = np.concatenate([clean, poison]), np.arange(1004) >= 1000
    assert tpr_at_fpr(score, bad, 0.001) == 0.5, "998.0 ties with a clean sample that must not be accused"
    assert tpr_at_fpr(score, bad, 0.0) == 0.25
    assert tpr_at_fpr(score, bad, 0.002) == 0.75
    assert tpr_at_fpr(score, bad, 1.0) == 1.0


def test_tied_clean_samples_are_never_accused_together_for_free() -> None:
    score, bad = np.concatenate([np.full(20, 5.0), np.zeros(980), np.full(10, 5.0)]), np.arange(1010) >= 1000
    assert tpr_at_fpr(score, bad, 0.01) == 0.0, "a threshold below 5 would accuse 2 % of the clean"
    assert tpr_at_fpr(score, bad, 0.02) == 1.0


@pytest.mark.parametrize("fpr", [0.0, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_threshold_within_the_allowance_finds_more(seed: int, fpr: float) -> None:
    score, bad = drawn(seed, ties=True)
    within = [t for t in np.append(score, -np.inf) if (score[~bad] > t).mean() <= fpr]
    assert tpr_at_fpr(score, bad, fpr) == max((score[bad] > t).mean() for t in within)


def test_precision_among_as_many_as_there_are_poisons() -> None:
    score, bad = np.array([9.0, 8, 7, 6, 5]), np.array([True, False, True, True, False])
    assert precision_at_n(score, bad) == pytest.approx(2 / 3)
    assert precision_at_n(score, bad, n=1) == 1.0
    assert precision_at_n(score, bad, n=100) == pytest.approx(3 / 5), "no more than there are samples"


def test_ties_for_the_last_places_count_by_the_share_of_poisons_among_them() -> None:
    score, bad = np.array([9.0, 5, 5, 5, 5, 1]), np.array([True, True, False, False, False, False])
    assert precision_at_n(score, bad) == pytest.approx((1 + 1 / 4) / 2)
    rng = np.random.default_rng(0)
    shuffles = [np.lexsort((rng.random(6), -score))[:2] for _ in range(20_000)]
    assert np.mean([bad[s].mean() for s in shuffles]) == pytest.approx(precision_at_n(score, bad), abs=0.01)


def test_cover_samples_are_on_neither_side() -> None:
    score, bad = drawn(3, ties=True)
    rng = np.random.default_rng(4)
    cover = (rng.random(1000) < 0.1) & ~bad
    loud = np.where(cover, 1e9, score)
    for measure in (auroc, lambda *a: tpr_at_fpr(a[0], a[1], 0.01, *a[2:]), precision_at_n):
        assert measure(loud, bad, cover) == measure(score[~cover], bad[~cover])
        assert measure(loud, bad) < measure(loud, bad, cover)


def test_there_is_no_figure_where_there_is_nothing_to_find() -> None:
    score, nothing = np.arange(5.0), np.zeros(5, bool)
    assert all(np.isnan(f) for f in (auroc(score, nothing), tpr_at_fpr(score, nothing, 0.1), precision_at_n(score, nothing)))
    assert np.isnan(auroc(score, ~nothing))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        auroc(np.array([1.0, np.nan, 2.0]), np.array([True, False, False]))
    with pytest.raises(ValueError, match="one shape"):
        auroc(np.zeros(3), np.zeros(4, bool))


def test_places_count_from_the_top_and_ties_get_the_last_of_theirs() -> None:
    score, bad = np.array([9.0, 8.0, 7.0, 7.0, 1.0, 0.5, 0.2]), np.array([1, 0, 1, 0, 1, 0, 0], bool)
    assert ranks(score, bad) == [1, 4, 5]
    assert within(score, bad) == 1.0
    assert within(score, bad, times=1) == pytest.approx(1 / 3)
    assert ranks(score, bad, np.array([0, 1, 0, 0, 0, 0, 0], bool)) == [1, 3, 4]
    assert np.isnan(within(score, np.zeros(7, bool)))
