"""Texts as vectors of 256 signed cells: their words by hash, weighted by rarity.

This is tf-idf with feature hashing (Weinberger et al. 2009).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.aggregates.answer_sketch import AnswerSketchView
from dataaudit.aggregates.coherence import WIDTH
from dataaudit.aggregates.ngram_sketch import NgramSketchView
from dataaudit.features.ngrams import order_of

SCALE = 1024


def unit_vectors(
    row: NDArray[np.int64], ngram: NDArray[np.uint64], sketch: NgramSketchView | AnswerSketchView, rows: int
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Unit vectors of the rows' single words in units of 1/1024, int16 (rows, 256), and the norms before; nothing in common is 0."""
    single = order_of(ngram) == 1
    row, word = row[single], ngram[single]
    dense = np.bincount(row * WIDTH + vector_cell(word), signed_rarity(word, sketch), rows * WIDTH).reshape(rows, WIDTH)
    norms = np.linalg.norm(dense, axis=1)
    unit = np.divide(dense, norms[:, None], out=np.zeros(dense.shape), where=norms[:, None] > 0)
    return np.rint(unit * SCALE).astype(np.int16), norms


def without(
    vectors: NDArray[np.int16], words: NDArray[np.uint64], norms: NDArray[np.float64], sketch: NgramSketchView
) -> NDArray[np.int32]:
    """The vectors (n, 256) less what their own `words` (n, k), 0 for none, put into them."""
    left = vectors.astype(np.int32)
    for part in range(words.shape[1]):
        there = np.flatnonzero((words[:, part] != 0) & (norms > 0))
        own = words[there, part]
        left[there, vector_cell(own)] -= np.rint(signed_rarity(own, sketch) / norms[there] * SCALE).astype(np.int32)
    return left


def vector_cell(word: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a word in a vector."""
    return ((word >> np.uint64(48)) % np.uint64(WIDTH)).astype(np.int64)


def signed_rarity(word: NDArray[np.uint64], sketch: NgramSketchView | AnswerSketchView) -> NDArray[np.float64]:
    """The inverse document frequency in bits, signed by hash; 0 for words of one text, which no other can share."""
    texts = sketch.texts_with(word)
    rarity = np.where(texts >= 2, np.log2(np.maximum(sketch.rows, 2) / np.maximum(texts, 1)), 0.0)
    return np.where((word >> np.uint64(63)) == 1, 1.0, -1.0) * np.maximum(rarity, 0.0)
