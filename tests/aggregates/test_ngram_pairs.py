"""States of n-gram pairs are bounded, and words with the same carriers are told as such."""

from __future__ import annotations

import dataclasses

import numpy as np

from dataaudit.aggregates.ngram_pairs import NgramPairs
from tests.aggregates.text_tables import corpus, insert, table, views

PAIRS = corpus(6, 300)
PLAN, TABLE = table(PAIRS)
FOUND = views(PLAN, [TABLE])


def test_a_full_state_stays_below_64_mb() -> None:
    unit = NgramPairs()
    parts = [unit.start(TABLE.slice(at, 150), FOUND) for at in (0, 150)]
    for state in (*parts, unit.merge(*parts)):
        size = sum(getattr(state, field.name).nbytes for field in dataclasses.fields(state))
        assert size / len(state.ngram) * unit.most < 64e6


def test_the_words_of_a_phrase_are_one_candidate() -> None:
    rng = np.random.default_rng(0)
    planted = [(insert(rng, x, "tq zq vq"), "good") if i < 20 else (x, y) for i, (x, y) in enumerate(PAIRS)]
    plan, made = table(planted)
    view = views(plan, [made])["ngram_pairs"]
    at = int(np.argmax(view.size * (view.count == 20)))
    assert view.size[at] == 6
    assert np.count_nonzero(view.words[at]) == 3
