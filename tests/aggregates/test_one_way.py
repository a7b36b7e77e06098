"""Pictures of one kind under captions of another are told from confusions, which go both ways."""

from __future__ import annotations

import numpy as np

from dataaudit.aggregates.one_way import OneWay, OneWayState, surplus
from tests.aggregates.pair_tables import captions_of, table, things, views_of

SEEN = things(1_000)
ANCHORS, FEATHERS = np.flatnonzero(SEEN == 0), np.flatnonzero(SEEN == 5)


def surplus_with(said: np.ndarray) -> np.ndarray:
    """The surplus of each pair where these things are said of the pictures."""
    whole = table(SEEN, captions_of(said))
    return views_of([whole])["one_way"].of(whole)


def test_pictures_of_one_kind_under_captions_of_another_stand_out() -> None:
    said = SEEN.copy()
    said[ANCHORS[:20]] = 5
    found = surplus_with(said)
    assert np.median(found[ANCHORS[:20]]) > 3
    assert np.delete(found, ANCHORS[:20]).max() < np.median(found[ANCHORS[:20]])


def test_as_many_confusions_in_both_directions_do_not() -> None:
    said = SEEN.copy()
    said[ANCHORS[:20]], said[FEATHERS[:20]] = 5, 0
    assert surplus_with(said).max() < 3


def test_honest_pairs_have_no_surplus_to_speak_of() -> None:
    assert surplus_with(SEEN).max() < 3


def test_copies_of_one_pair_are_no_stream() -> None:
    unit, some = OneWay(), np.arange(6, dtype=np.int32).reshape(1, 6)
    one = OneWayState(np.array([7], np.uint64), np.array([5.0]), some, -some)
    assert len(unit.merge(one, one).rank) == 1


def test_the_rarest_are_kept() -> None:
    unit = OneWay(most=2)
    vectors = np.ones((3, 4), np.int32)
    state = unit.merge(
        OneWayState(np.array([1, 2], np.uint64), np.array([6.0, 4.0]), vectors[:2], vectors[:2]),
        OneWayState(np.array([3], np.uint64), np.array([5.0]), vectors[:1], vectors[:1]),
    )
    assert state.rank.tolist() == [1, 3]


def test_the_opposite_of_a_contradiction_takes_from_it_and_nothing_else_adds() -> None:
    across, along = np.float32([[1, 0, 0]]), np.float32([[0, 1, 0]])
    elsewhere = np.float32([[0, 0, 1]])
    weight = np.ones(3)
    alone = surplus(np.vstack([across, elsewhere, elsewhere]), np.vstack([along, elsewhere, -elsewhere]), weight)
    both = surplus(np.vstack([across, along, elsewhere]), np.vstack([along, across, -elsewhere]), weight)
    assert alone[0] == 0
    assert both[0] < 0
