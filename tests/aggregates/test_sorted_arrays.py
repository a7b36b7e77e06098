"""Runs, places, look-ups and sums of sorted arrays are what plain Python says."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.aggregates.sorted_arrays import added, distinct, matched, place_in_run, ranges, run_starts

NUMBERS = st.lists(st.integers(0, 5), max_size=20)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20))
def test_runs_are_of_equal_rows(rows: list[tuple[int, int]]) -> None:
    rows.sort()
    starts = run_starts(*np.array(rows, np.int64).reshape(-1, 2).T)
    assert [rows[at] for at in starts] == [row for row, _ in itertools.groupby(rows)]


@given(NUMBERS, NUMBERS)
def test_distinct_values_ascend(one: list[int], other: list[int]) -> None:
    assert distinct(np.array(one, np.int64), np.array(other, np.int64)).tolist() == sorted({*one, *other})


@given(NUMBERS)
def test_the_place_in_a_run_counts_equals_before(numbers: list[int]) -> None:
    numbers.sort()
    assert place_in_run(np.array(numbers, np.int64)).tolist() == [numbers[:at].count(n) for at, n in enumerate(numbers)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=9))
def test_ranges_follow_one_another(wanted: list[tuple[int, int]]) -> None:
    first, many = np.array(wanted, np.int64).reshape(-1, 2).T
    assert ranges(first, many).tolist() == [n for start, count in wanted for n in range(start, start + count)]


@given(NUMBERS, NUMBERS)
def test_what_is_matched_is_a_name(wanted: list[int], numbers: list[int]) -> None:
    names = np.unique(np.array(numbers, np.int64))
    at, place = matched(np.array(wanted, np.int64), names)
    assert at.tolist() == [i for i, n in enumerate(wanted) if n in numbers]
    assert names[place].tolist() == [n for n in wanted if n in numbers]


@given(NUMBERS, NUMBERS, NUMBERS)
def test_values_are_added_by_name_and_others_are_left_out(one: list[int], other: list[int], asked: list[int]) -> None:
    names = np.unique(np.array(asked, np.int64))
    parts = [np.unique(np.array(part, np.int64), return_counts=True) for part in (one, other)]
    counts = Counter(one + other)
    assert added(names, *parts).tolist() == [counts[n] for n in names.tolist()]
