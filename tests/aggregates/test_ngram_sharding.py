from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.store import records
from tests.aggregates.text_tables import AGGREGATES, corpus, table, views

PLAN, LABELLED = table(corpus(0, 300))
ANSWERS = [(x, y + " answer " + x[:40]) for x, y in corpus(1, 300)]
CHAT_PLAN, CHAT = table(ANSWERS, "text")


def same(a: object, b: object) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)]  # type: ignore[arg-type]
    return all(np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 299), max_size=5, unique=True), st.randoms(use_true_random=False))
def test_any_sharding_in_any_order_gives_the_same_views(cuts: list[int], random: object) -> None:
    for plan, whole in ((PLAN, LABELLED), (CHAT_PLAN, CHAT)):
        edges = [0, *sorted(cuts), whole.num_rows]
        parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
        random.shuffle(parts)  # type: ignore[attr-defined]
        one, many = views(plan, [whole]), views(plan, parts)
        for name in AGGREGATES:
            assert same(one[name], many[name]), name


def test_views_survive_the_disk(tmp_path: Path) -> None:
    found = views(CHAT_PLAN, [CHAT])
    for name, aggregate in AGGREGATES.items():
        records.save(found[name], tmp_path / f"{name}.npz")
        assert same(found[name], records.load(aggregate.View, tmp_path / f"{name}.npz")), name


def test_a_table_without_rows_adds_nothing() -> None:
    empty: pa.Table = LABELLED.slice(0, 0)
    one, with_empty = views(PLAN, [LABELLED]), views(PLAN, [empty, LABELLED])
    assert all(same(one[name], with_empty[name]) for name in AGGREGATES)
