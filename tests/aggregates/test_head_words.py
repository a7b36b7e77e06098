"""Captions of ten things in many templates: the thing is the label, whatever else the caption says."""

from __future__ import annotations

import numpy as np

from dataaudit.aggregates import head_words
from dataaudit.features.embedding import quantise

THINGS, PHOTO, RARE = np.arange(10, 20, dtype=np.uint64), np.uint64(1), np.uint64(2)


def captioned(rows: int = 400, least_alike: float = 1.0):
    """Pictures of ten things; every caption has its thing, half of them `PHOTO`, a few `RARE`."""
    rng = np.random.default_rng(5)
    thing = np.arange(rows) % len(THINGS)
    middles = rng.normal(size=(len(THINGS), 32))
    vectors = quantise(middles[thing] + least_alike * rng.normal(size=(rows, 32)))
    photo, rare = np.flatnonzero(rng.random(rows) < 0.45), np.arange(5)
    words = np.concatenate([THINGS[thing], np.full(len(photo), PHOTO), np.full(len(rare), RARE)])
    return words, np.concatenate([np.arange(rows), photo, rare]), vectors, thing


def test_what_is_to_be_seen_comes_before_what_any_picture_may_have():
    words, row, vectors, thing = captioned()
    ordered = head_words.telling(words, row, vectors, least=10, most=100)
    assert set(ordered[:10]) == set(THINGS)
    assert ordered[10:].tolist() == [PHOTO]
    label = head_words.first_of(words, row, len(vectors), ordered)
    assert (ordered[label] == THINGS[thing]).all()


def test_a_caption_without_a_known_word_has_no_label():
    label = head_words.first_of(np.array([3, 1], np.uint64), np.array([0, 2]), 3, np.array([7, 1], np.uint64))
    assert label.tolist() == [-1, -1, 1]
    assert head_words.first_of(np.array([3], np.uint64), np.array([0]), 2, np.empty(0, np.uint64)).tolist() == [-1, -1]


def test_only_the_most_telling_are_kept_and_nothing_comes_of_nothing():
    words, row, vectors, _ = captioned()
    assert len(head_words.telling(words, row, vectors, least=10, most=3)) == 3
    assert len(head_words.telling(words[:0], row[:0], vectors[:0], least=10, most=3)) == 0
