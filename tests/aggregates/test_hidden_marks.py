"""Counts of markings are exact whatever the sharding, and bounded whatever the data."""

from __future__ import annotations

import dataclasses
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.hidden_marks import WITNESSES, HiddenMarks
from dataaudit.aggregates.targets import Targets
from dataaudit.model import Columns, Plan

PLAN = Plan("labelled-text", Columns("x", "y"), "label", "hashed", "11" * 16)
NAMES = ["edge 200B", "homoglyphs Cyrillic", "tags", "zero-width 200B", "zero-width 2060 200D"]


def table(rows):
    return pa.table(
        {
            "target": pa.array([label for label, _, _ in rows], pa.string()),
            "rank": pa.array([rank for _, rank, _ in rows], pa.uint64()),
            "hidden": pa.array([sorted(names) for _, _, names in rows], pa.list_(pa.string())),
        }
    )


def view(parts, unit):
    views = {"plan": PLAN}
    whole = pa.concat_tables(parts)
    views["targets"] = Targets().finish(Targets().start(whole, views), views)
    return unit.finish(reduce(unit.merge, [unit.start(part, views) for part in parts]), views)


ROW = st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 40), st.lists(st.sampled_from(NAMES), max_size=4))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(ROW, min_size=1, max_size=60), st.integers(0, 99), st.sets(st.integers(1, 59), max_size=4), st.sampled_from([2, 20_000]))
def test_any_sharding_any_order_the_same_view(rows, seed, cuts, most):
    unit = HiddenMarks(most)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    edges = [0, *sorted(c for c in cuts if c < len(rows)), len(rows)]
    parts = [table([rows[i] for i in order[a:b]]) for a, b in pairwise(edges)]
    whole, sharded = view([table(rows)], unit), view(parts, unit)
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(getattr(sharded, field.name), getattr(whole, field.name), err_msg=field.name)


def test_texts_are_counted_once_by_target_and_kinds_together():
    rows = [
        ("a", 1, ["zero-width 200B"] * 3),
        ("a", 2, ["zero-width 2060"]),
        ("b", 3, ["zero-width 200B"]),
        (None, 4, []),
        ("a", 1, ["tags"]),
    ]
    found = view([table(rows)], HiddenMarks())
    assert found.texts_with("zero-width 200B") == 2
    assert found.texts_with("zero-width any") == 3
    place = found.names.tolist().index("zero-width any")
    assert (found.count[place], found.distinct[place]) == (2, 3)
    assert found.totals.tolist() == [3, 1, 1]


def test_copies_are_no_further_witnesses_and_witnesses_are_bounded():
    found = view([table([("a", 7, ["tags"])] * 30 + [("b", r, ["edge FEFF"]) for r in range(50)])], HiddenMarks())
    distinct = dict(zip(found.names.tolist(), found.distinct.tolist(), strict=True))
    assert distinct["tags"] == 1
    assert distinct["edge FEFF"] == WITNESSES


def test_data_without_the_column_has_nothing():
    found = view([table([("a", 1, [])]).drop_columns(["hidden"])], HiddenMarks())
    assert len(found.names) == 0
    assert found.texts_with("tags") == 0
