"""A text's own words can be taken out of its vector again, and words that tell nothing are not in it."""

from __future__ import annotations

import numpy as np

from dataaudit.aggregates.answer_sketch import CELLS, AnswerSketchView
from dataaudit.aggregates.word_vectors import SCALE, signed_rarity, unit_vectors, without
from dataaudit.features.ngrams import order_of
from dataaudit.features.table import listed
from tests.aggregates.text_tables import corpus, table, views

PLAN, TABLE = table(corpus(5, 200))
SKETCH = views(PLAN, [TABLE])["ngram_sketch"]
ROW, NGRAM = listed(TABLE, "ngrams")


def test_without_all_of_its_words_nothing_is_left_of_a_vector() -> None:
    vectors, norms = unit_vectors(ROW, NGRAM, SKETCH, len(TABLE))
    assert np.allclose(np.linalg.norm(vectors[norms > 0], axis=1), SCALE, rtol=0.01)
    own = NGRAM[(ROW == 0) & (order_of(NGRAM) == 1)]
    left = without(vectors[:1], own[None, :], norms[:1], SKETCH)
    assert np.abs(left).max() <= len(own)
    assert (vectors[0] != left[0]).any()


def test_a_text_without_words_has_no_vector() -> None:
    vectors, norms = unit_vectors(ROW[:0], NGRAM[:0], SKETCH, 2)
    assert not vectors.any()
    assert not norms.any()


def test_a_word_of_a_crowded_cell_is_not_rarer_than_none() -> None:
    crowded = AnswerSketchView(10, np.full(CELLS, 12, np.int32))
    assert not signed_rarity(NGRAM[:5], crowded).any()
