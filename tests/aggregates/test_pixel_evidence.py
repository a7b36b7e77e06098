"""What counts of hits say: a trigger is there or not, an innocent look fades, and what others have too says nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from dataaudit.aggregates.picture_sample import with_mates
from dataaudit.aggregates.pixel_evidence import (
    EDGES,
    FEW,
    NORMAL_CLEAR,
    TELLING,
    binned,
    excess,
    false_share,
    gap,
    kinship,
    lower_half,
    measure,
    plateau,
    promise,
    robust_middles,
    robust_scale,
    split,
)

HERE, ELSEWHERE = 1000, 2000
"""Rows of the accused label, and of all others: an innocent look has twice the hits outside."""
NOBODY = np.zeros(len(EDGES), np.int64)
CALM, CONTRADICTING = np.zeros(len(EDGES)), np.full(len(EDGES), 0.8)


def hits(*groups: tuple[int, float]) -> NDArray[np.int64]:
    """Counts beyond each edge of groups of (rows, z)."""
    return np.array([sum(rows for rows, z in groups if z >= edge) for edge in EDGES])


def fading(rows: float = 600) -> NDArray[np.int64]:
    """A look that more and more pictures have a little of: twice the threshold leaves less than a quarter."""
    return np.rint(rows * np.exp(-EDGES / 2)).astype(np.int64)


def at(edge: float) -> int:
    return int(np.flatnonzero(edge == EDGES)[0])


def test_binned_counts_what_reaches_each_edge() -> None:
    z = np.array([-np.inf, 2.9, 3.0, 3.4, 7.0, 100.0])
    assert_array_equal(binned(z), hits((1, 3.0), (1, 3.4), (1, 7.0), (1, 100.0)))
    assert_array_equal(binned(z, np.full(6, 0.5)), binned(z) / 2)


@pytest.mark.parametrize("edge", [e for e in EDGES if 2 * e <= 14])
def test_up_to_14_a_double_is_an_edge(edge: float) -> None:
    assert 2 * edge in EDGES


def test_beyond_that_every_second_edge_up_to_14_has_its_double_and_the_others_ask_for_more() -> None:
    """`gap` takes the next edge where a double is none, so it never takes for left what does not reach the double."""
    assert np.isin(2 * EDGES[:13:2], EDGES).all()
    looked = EDGES[EDGES[-1] >= 2 * EDGES]
    assert (EDGES[np.searchsorted(EDGES, 2 * looked)] >= 2 * looked).all()
    assert gap(hits((50, 19.0)), NOBODY, HERE, ELSEWHERE)[at(9.0)] == 0
    assert gap(hits((50, 20.0)), NOBODY, HERE, ELSEWHERE)[at(9.0)] == 1


def test_hits_are_in_excess_of_what_is_as_common_elsewhere() -> None:
    assert_array_equal(excess(hits((100, 8.0)), hits((60, 8.0)), HERE, ELSEWHERE), hits((70, 8.0)))
    assert_array_equal(excess(hits((10, 8.0)), hits((60, 8.0)), HERE, ELSEWHERE), NOBODY)
    assert_array_equal(excess(hits((10, 8.0)), NOBODY, HERE, 0), hits((10, 8.0)))


def test_innocents_account_for_a_share_of_the_hits() -> None:
    share = false_share(hits((100, 8.0)), hits((40, 8.0)), HERE, ELSEWHERE, 3.0)
    assert_allclose(share[: at(8.0) + 1], 0.6)
    assert (share[at(8.0) + 1 :] == 1).all()
    assert (false_share(hits((100, 50.0)), hits((400, 50.0)), HERE, ELSEWHERE, 1.0) == 1).all()


def test_a_trigger_leaves_a_gap() -> None:
    left = gap(fading() + hits((80, 28.0)), NOBODY, HERE, ELSEWHERE)
    assert left.max() > 0.95
    assert left[at(3.0)] < left[at(6.0)] < left[at(12.0)]


def test_a_fading_look_leaves_none() -> None:
    assert gap(fading(), NOBODY, HERE, ELSEWHERE).max() < 1 / 3
    assert gap(fading(6000), fading(600), HERE, ELSEWHERE).max() < 1 / 3


def test_innocents_outside_close_the_gap() -> None:
    trigger = hits((80, 15.0))
    assert gap(trigger, hits((40, 15.0)), HERE, ELSEWHERE).max() == 1
    assert gap(trigger, hits((42, 15.0)), HERE, ELSEWHERE).max() == 0
    near = hits((200, 6.5))
    assert gap(trigger, near, HERE, ELSEWHERE)[at(6.0)] == 0
    assert gap(trigger, near, HERE, ELSEWHERE)[at(7.0)] == 1


def test_too_few_hits_and_hits_off_the_scale_leave_no_gap() -> None:
    assert gap(hits((int(FEW) - 1, 15.0)), NOBODY, HERE, ELSEWHERE).max() == 0
    assert gap(hits((int(FEW), 15.0)), NOBODY, HERE, ELSEWHERE).max() == 1
    left = gap(hits((50, 100.0)), NOBODY, HERE, ELSEWHERE)
    assert_array_equal(left, np.where(2 * EDGES <= 40, 1.0, 0.0))


def test_the_plateau_begins_where_the_innocents_end() -> None:
    foot = plateau(fading() + hits((80, 28.0)), NOBODY, HERE, ELSEWHERE)
    assert fading()[foot] <= 0.03 * 80 + 1 < fading()[foot - 1]
    assert EDGES[plateau(hits((300, 5.2), (80, 28.0)), NOBODY, HERE, ELSEWHERE)] == 5.5
    assert plateau(hits((80, 28.0)), NOBODY, HERE, ELSEWHERE) == 0
    # Carriers that fade within the gap stay carriers.
    assert EDGES[plateau(hits((70, 11.5), (6, 5.6), (5, 7.5), (4, 9.5)), hits((400, 4.2)), HERE, ELSEWHERE)] == 4.5


def test_a_trigger_promises_as_much_as_it_has_hits() -> None:
    assert promise(hits((50, 20.0)), NOBODY, CALM, HERE, ELSEWHERE) == 50
    assert promise(hits((90, 20.0)), NOBODY, CALM, HERE, ELSEWHERE) == 90
    assert promise(hits((5000, 20.0)), NOBODY, CALM, 9000, ELSEWHERE) == 1000


def test_a_fading_look_promises_something_only_where_it_contradicts_its_label() -> None:
    assert promise(fading(), NOBODY, CALM, HERE, ELSEWHERE) == 0
    assert promise(fading(), NOBODY, np.full(len(EDGES), TELLING - 0.01), HERE, ELSEWHERE) == 0
    assert promise(fading(), NOBODY, CONTRADICTING, HERE, ELSEWHERE) == pytest.approx(fading()[0] * 0.8**2)


def test_what_is_as_common_elsewhere_promises_nothing_and_hits_outside_cost_promise() -> None:
    everywhere = fading() + hits((80, 15.0))
    assert promise(everywhere, 2 * everywhere, CONTRADICTING, HERE, ELSEWHERE) == 0
    pure, mixed = (promise(hits((80, 15.0)), outside, CALM, HERE, ELSEWHERE) for outside in (NOBODY, hits((20, 15.0))))
    assert 0 < mixed < pure


def test_contradiction_of_too_few_hits_promises_nothing() -> None:
    assert promise(hits((int(FEW) - 1, 15.0)), NOBODY, CONTRADICTING, HERE, ELSEWHERE) == 0
    assert promise(NOBODY, NOBODY, CONTRADICTING, HERE, ELSEWHERE) == 0


def test_the_scale_is_that_of_the_innocent_half() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=4000)
    assert robust_scale(values) == pytest.approx((5, 2), abs=0.1)
    assert robust_scale(np.concatenate([values, np.full(400, 90.0)])) == pytest.approx((5, 2), abs=0.35)


def test_the_scale_of_a_label_that_is_nearly_half_poison_is_that_of_its_own_pictures() -> None:
    """Its median is where its own pictures end, and its lower half nearly all that it has of its own."""
    values = np.random.default_rng(0).normal(5, 2, size=4000)
    middle, scale = robust_scale(np.concatenate([values, np.full(2900, 25.0)]))
    assert middle == pytest.approx(5, abs=2)
    assert scale == pytest.approx(2, rel=0.5)


def test_the_scale_beside_a_heap_of_poison_is_that_of_the_other_heap() -> None:
    """A third of a label lies six deviations above the rest, and takes no part in the rest's middle and scale."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(5, 2, size=1000), rng.normal(17, 2, size=500)])
    assert robust_scale(values) == pytest.approx((5, 2), abs=0.3)


def test_a_few_stronger_carriers_do_not_hide_the_others() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(5, 2, size=1000), rng.normal(21, 2, size=450), rng.normal(85, 2, size=50)])
    assert robust_scale(values) == pytest.approx((5, 2), abs=0.3)


def test_a_long_tail_and_a_larger_upper_heap_are_no_second_heap() -> None:
    rng = np.random.default_rng(0)
    tail = rng.exponential(size=4000)
    assert robust_scale(tail) == lower_half(tail)
    upper = np.concatenate([rng.normal(0, 1, size=400), rng.normal(9, 1, size=600)])
    assert robust_scale(upper) == lower_half(upper)


def test_values_split_into_two_heaps_and_the_smaller_is_told() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=3000)
    assert split(one)[2] == pytest.approx(NORMAL_CLEAR, abs=0.1)
    two = np.concatenate([one, rng.normal(-8, 1, size=1000)])
    side, share, clear = split(two)
    assert side == -1
    assert split(-two)[0] == 1
    assert share == pytest.approx(0.25, abs=0.001)
    assert clear > 6
    assert split(np.zeros(5))[2] == 0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["normal", "one heap", "two heaps", "constant", "few values"])), max_size=12),
    st.integers(0, 99),
)
def test_the_middles_of_many_labels_at_once_are_those_of_each(runs: list[tuple[int, str]], seed: int) -> None:
    """Also of labels without rows, without spread, and with a heap of carriers."""
    rng = np.random.default_rng(seed)
    shapes = {
        "normal": lambda n: rng.normal(size=n),
        "one heap": lambda n: np.where(rng.random(n) < 0.3, 9.0, 0.0) + rng.normal(size=n),
        "two heaps": lambda n: np.where(rng.random(n) < 0.6, 4.0, 0.0) + rng.normal(size=n) / 4,
        "constant": lambda n: np.full(n, 3.0),
        "few values": lambda n: rng.integers(0, 3, n).astype(np.float64),
    }
    parts = [shapes[kind](n) for n, kind in runs]
    starts = np.cumsum([0, *map(len, parts)])
    found = robust_middles(np.concatenate([np.empty(0), *parts]), starts, 7.0)
    assert_allclose(found, [robust_scale(part)[0] if len(part) else 7.0 for part in parts], rtol=1e-9, atol=1e-9)


def test_values_that_are_all_alike_have_a_scale() -> None:
    assert robust_scale(np.full(9, 4.0)) == (4.0, 1.0)
    assert robust_scale(np.concatenate([np.full(400, 4.0), np.arange(500)]))[1] > 10


def test_a_change_on_any_rows_makes_no_kin_and_a_series_is_kin() -> None:
    rng = np.random.default_rng(3)
    rows, z = rng.normal(size=(600, 256)), np.zeros(600)
    z[:40] = 12.0
    rows[:40] += 4 * rng.normal(size=256)
    assert np.abs(kinship(rows, z)).max() < 0.05
    rows[:40] = np.repeat(rng.normal(size=(5, 256)), 8, axis=0) + 0.5 * rows[:40]
    series = kinship(rows, z)
    assert series[EDGES <= 12].min() > 0.4
    assert series[EDGES > 12].max() == 0


def test_series_in_every_picture_of_a_label_are_no_kin_beyond_it_and_two_hits_say_nothing() -> None:
    rng = np.random.default_rng(4)
    rows, z = np.repeat(rng.normal(size=(20, 64)), 30, axis=0) + 0.2 * rng.normal(size=(600, 64)), np.zeros(600)
    z[::7] = 8.0
    assert np.abs(kinship(rows, z)).max() < 0.1
    assert kinship(rows, np.where(np.arange(600) < 2, 9.0, 0.0)).max() == 0


def scored(carriers: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Scores of three labels (the fourth is empty), each with a level of its own; the first rows of label 1 stand out."""
    target = np.repeat([0, 1, 2], 400).astype(np.int32)
    scores = np.random.default_rng(1).normal(size=len(target)) * 2 + np.array([0.0, 100.0, -50.0])[target]
    scores[400 : 400 + carriers] = 100 + 2 * 20
    return scores, target


def measured(
    scores: NDArray[np.float64], label: int, target: NDArray[np.int32], doubt: NDArray[np.float64] | float = 0.0
) -> tuple[float, NDArray[np.float64], float, NDArray[np.float64]]:
    """What an accusation of one label comes to, whose other rows are the mates."""
    inside = target == label
    return measure(scores, inside, inside, target, np.broadcast_to(np.asarray(doubt, np.float64), scores.shape), 4)


def test_scores_are_measured_against_the_rows_own_label() -> None:
    scores, target = scored(30)
    worth, middle, scale, z = measured(scores, 1, target)
    assert middle[:3] == pytest.approx([0, 100, -50], abs=0.6)
    assert middle[3] == middle[1]
    assert scale == pytest.approx(2, abs=0.4)
    assert z[400:430] == pytest.approx(20, rel=0.2)
    assert np.abs(np.delete(z, np.s_[400:430])).max() < 6
    assert worth == pytest.approx(30, abs=1.5)


def test_scores_of_innocents_promise_nothing() -> None:
    scores, target = scored(0)
    assert measured(scores, 1, target)[0] == 0


def test_the_same_scores_in_another_label_promise_nothing() -> None:
    scores, target = scored(30)
    assert measured(scores, 0, target, 1.0)[0] == 0


def test_faint_carriers_count_by_how_much_they_contradict_their_label() -> None:
    scores, target = scored(30)
    scores[400:430] = 100 + 2 * 5
    doubt = np.zeros(len(target))
    assert measured(scores, 1, target, doubt)[0] == 0
    doubt[400:430] = 0.9
    assert measured(scores, 1, target, doubt)[0] == pytest.approx(30 * 0.81, rel=0.15)


def test_a_group_of_nothing_but_carriers_is_measured_against_its_mates() -> None:
    """The contradicted rows of an all-to-all attack may all be carriers."""
    target = np.repeat([0, 1, 2], 400).astype(np.int32)
    scores = np.random.default_rng(1).normal(size=len(target)) * 2
    inside = np.zeros(len(target), bool)
    inside[[*range(30), *range(400, 430), *range(800, 830)]] = True
    scores[inside] += 40
    worth, middle, scale, z = measure(scores, inside, with_mates(inside), target, inside.astype(np.float64), 3)
    assert middle == pytest.approx([0, 0, 0], abs=0.6)
    assert scale == pytest.approx(2, abs=0.4)
    assert z[inside].min() > 2 * z[~inside].max()
    assert worth == pytest.approx(90, abs=3)


def test_hits_off_the_scale_have_a_plateau_though_one_in_25_is_innocent() -> None:
    assert plateau(hits((100, 50.0)), hits((8, 50.0)), HERE, ELSEWHERE) == 0
