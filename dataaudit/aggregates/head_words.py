"""The words of captions that tell pictures apart: what a captioned picture is labelled with, so far as it can be.

A caption says many things, most of them in words that any picture may have ("a photo of the").  A word that names what is
to be seen has pictures that are alike: their mean pairwise cosine lies above that of all pictures.  Words are
ordered by how far it does, less two standard errors, and a caption's label is its first word in this order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.aggregates.moments import mean_cosine
from dataaudit.features import embedding

ERRORS = 2.0
"""How many standard errors are taken off a word's coherence: rare words are alike by chance."""


def telling(words: NDArray[np.uint64], row: NDArray[np.int64], vectors: NDArray[np.int16], least: int, most: int) -> NDArray[np.uint64]:
    """At most `most` words, the most telling first, of those that at least `least` and at most half of the pictures have.

    `words` (m,) occur in the captions of the pictures `row` (m,), each once a caption; `vectors` (n, d) are the pictures'.
    """
    known, inverse, number = np.unique(words, return_inverse=True, return_counts=True)
    some = np.flatnonzero((number >= least) & (2 * number <= len(vectors)))
    if not len(some):
        return np.empty(0, np.uint64)
    unit = vectors.astype(np.float64) / embedding.SCALE
    whole = unit.sum(axis=0)
    everyone = float(mean_cosine(whole[None], np.array([len(unit)]))[0])
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], some)
    bound = np.empty(len(some))
    for at, (start, size) in enumerate(zip(starts.tolist(), number[some].tolist(), strict=True)):
        own = unit[row[order[start : start + size]]]
        mean = own.mean(axis=0)
        # Each picture's nearness to the others' mean: its spread over the pictures is the coherence's error.
        nearness = (own @ mean * size - (own * own).sum(axis=1)) / (size - 1)
        bound[at] = nearness.mean() - everyone - ERRORS * 2 * nearness.std() / np.sqrt(size)
    # Rounded, so that the last bits of a sum in another order decide nothing; equals go by their hash.
    ranked = np.lexsort((known[some], -np.round(bound, 9)))[:most]
    return np.asarray(known[some[ranked]])


def first_of(words: NDArray[np.uint64], row: NDArray[np.int64], rows: int, ordered: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The place in `ordered` of the first of its words that each of `rows` rows has, -1 for none."""
    found = np.full(rows, len(ordered), np.int64)
    if len(ordered):
        by_hash = np.argsort(ordered)
        at = np.minimum(np.searchsorted(ordered[by_hash], words), len(ordered) - 1)
        known = ordered[by_hash[at]] == words
        np.minimum.at(found, row[known], by_hash[at[known]])
    return np.where(found < len(ordered), found, -1).astype(np.int32)
