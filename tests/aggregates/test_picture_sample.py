"""The bounded sample of pictures: the same for any sharding, and no label crowds out another."""

from __future__ import annotations

from functools import reduce
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from dataaudit.aggregates.picture_sample import DISAGREEMENT_STEPS, PictureSample, PictureSampleState, with_mates
from dataaudit.features.thumbnail import BYTES

SAMPLES = PictureSample(sample=15, min_label=3)
COUNTS = np.array([20, 2, 9, 4])
"""Label 1 is too rare to be learnt, so each of the other three has room for five; label 3 does not fill its own."""


def rows() -> pa.Table:
    """A sample of each label's count, then two without a label, then copies of the first ten."""
    rng = np.random.default_rng(0)
    target = np.concatenate([np.repeat(np.arange(len(COUNTS)), COUNTS), [-1, -1]])
    columns = {
        "target": pa.array(target, pa.int32()),
        "rank": pa.array(rng.permutation(10 * len(target))[: len(target)], pa.uint64()),
        "doubt": pa.array(rng.exponential(size=len(target))),
        "thumbnail": pa.array([p.tobytes() for p in rng.integers(0, 256, (len(target), 32, 32, 3), dtype=np.uint8)], pa.binary(BYTES)),
    }
    return pa.concat_tables([pa.table(columns), pa.table(columns).slice(0, 10)]).combine_chunks()


def views(known: NDArray[np.int64] = COUNTS) -> dict[str, Any]:
    """Stand-ins that read the answers from columns; `known` counts are what the moments were learnt on."""
    return {
        "targets": SimpleNamespace(counts=COUNTS, index=lambda table: np.asarray(table.column("target"))),
        "moments": SimpleNamespace(counts=known, disagreement=lambda table, _: np.asarray(table.column("doubt"))),
    }


def sampled(pieces: list[pa.Table]) -> PictureSampleState:
    return SAMPLES.finish(reduce(SAMPLES.merge, [SAMPLES.start(piece, views()) for piece in pieces]), views())


def same(a: PictureSampleState, b: PictureSampleState) -> None:
    assert a.cap == b.cap
    for name in ("rank", "target", "steps", "grey"):
        assert_array_equal(getattr(a, name), getattr(b, name))


def test_the_smallest_ranks_of_each_label_are_kept_and_each_rank_once() -> None:
    table = rows()
    target, rank = np.asarray(table.column("target")), np.asarray(table.column("rank"))
    state = sampled([table])
    assert state.cap == 15 // 3
    assert_array_equal(state.target, np.repeat([0, 2, 3], [5, 5, 4]))
    assert_array_equal(state.rank, np.concatenate([np.unique(rank[target == label])[:5] for label in (0, 2, 3)]))


def test_each_picture_keeps_its_own_doubt_and_grey_values() -> None:
    table = rows()
    state = sampled([table])
    at = [np.asarray(table.column("rank")).tolist().index(rank) for rank in state.rank]
    assert np.abs(state.disagreement - np.asarray(table.column("doubt"))[at]).max() <= 0.5 / DISAGREEMENT_STEPS
    pictures = np.array([np.frombuffer(table.column("thumbnail")[i].as_py(), np.uint8).reshape(-1, 3) for i in at])
    assert np.abs(state.grey - pictures.mean(axis=2)).max() < 0.5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(1, rows().num_rows - 1), max_size=6))
def test_any_pieces_merged_in_any_order_give_the_same_sample(seed: int, cuts: set[int]) -> None:
    table = rows()
    order = np.random.default_rng(seed).permutation(table.num_rows)
    pieces = [table.take(pa.array(part)) for part in np.split(order, sorted(cuts))]
    same(sampled(pieces), sampled([table]))


def test_merging_pairs_first_gives_the_same_sample() -> None:
    a, b, c, d = (SAMPLES.start(rows().slice(at, 12), views()) for at in (0, 12, 24, 36))
    same(SAMPLES.merge(SAMPLES.merge(a, b), SAMPLES.merge(c, d)), sampled([rows()]))


def test_of_copies_with_other_vectors_the_least_doubtful_counts_whichever_comes_first() -> None:
    doubtful = rows().set_column(2, "doubt", pa.array(np.asarray(rows().column("doubt")) + 1))
    a, b = SAMPLES.start(rows(), views()), SAMPLES.start(doubtful, views())
    same(SAMPLES.merge(a, b), a)
    same(SAMPLES.merge(b, a), a)


def test_a_piece_without_rows_changes_nothing() -> None:
    same(sampled([rows().slice(0, 0), rows()]), sampled([rows()]))


def test_without_pictures_moments_or_frequent_labels_nothing_is_sampled() -> None:
    table = rows()
    assert not len(SAMPLES.start(table.drop_columns(["thumbnail"]), views()).rank)
    assert not len(SAMPLES.start(table, views(np.empty(0, np.int64))).rank)
    assert not len(PictureSample(min_label=1000).start(table, views()).rank)


def test_rare_labels_take_no_room_from_those_that_can_be_learnt() -> None:
    counts = np.concatenate([np.full(10, 400), np.ones(5000, np.int64)])
    assert PictureSample().learnable(counts).nonzero()[0].tolist() == list(range(10))


def test_more_labels_than_there_is_room_for_leave_out_the_smallest() -> None:
    counts = np.arange(100, 1100)
    learnt = PictureSample().learnable(counts)
    assert learnt.nonzero()[0].tolist() == list(range(200, 1000))
    assert learnt.sum() == 48_000 // 60


@pytest.mark.parametrize(("contradicted", "mates"), [(30, 500), (2000, 2000), (9990, 10)])
def test_contradicted_rows_get_about_as_many_mates_from_everywhere(contradicted: int, mates: int) -> None:
    mask = np.arange(10_000) % 10_000 < contradicted
    both = with_mates(mask)
    assert both[mask].all()
    others = np.flatnonzero(both & ~mask)
    assert mates <= len(others) <= 2 * mates
    assert others.min() - contradicted <= 10_000 // mates
    assert 10_000 - others.max() <= 10_000 // mates


def test_without_contradicted_rows_or_without_others_there_are_no_more_mates_than_rows() -> None:
    assert with_mates(np.zeros(40, bool)).all()
    assert with_mates(np.ones(40, bool)).all()
