"""What the texts of a recurring payload have in common besides it and its trigger: hardly anything, or a topic.

Carriers of a trigger were taken from anywhere, so any other word is in k of n of them by the binomial law of its share among all texts.
A topic's texts share more than that: names and terms that are rare elsewhere.  Of each candidate up to 32 texts, chosen by rank, are
compared by the words and pairs of words of their contents.  Near-copies count once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.ngram_sketch import NgramSketchView
from dataaudit.aggregates.payload_pairs import ALONE, PayloadPairsView, grams_of
from dataaudit.aggregates.sampling import bottom_k_of_each
from dataaudit.aggregates.sorted_arrays import matched, place_in_run, run_starts
from dataaudit.features.ngrams import ORDERS, name_of, neighbours, order_of
from dataaudit.features.table import listed

T = TypeVar("T", bound=np.generic)
KEPT = 64
"""Words and pairs of a text that are kept, by the lowest hashes."""
LEAST = 3
MOST_SHARE = 0.3
COPY = 0.5
OWN = 0.7
"""What so many of the carriers hold is the trigger itself, or belongs to it."""


@dataclass(frozen=True)
class PayloadCarriersState:
    """Of each candidate `at` (c,) the carriers with the lowest `rank` (c,) and 64 of their words and pairs (c, 64), 0 where fewer.

    `held` (m,) is how many texts hold each of the candidates' distinct n-grams, ascending.
    """

    at: NDArray[np.int32]
    rank: NDArray[np.uint64]
    grams: NDArray[np.uint64]
    held: NDArray[np.int64]


@dataclass(frozen=True)
class PayloadCarriersView:
    """The candidates of `payload_pairs`, each with `unlike` different texts that were compared, and how `alike` these are.

    `held` texts hold the n-gram, whatever they say.
    `alike` is -log10 of how many words or pairs as rare as the most surprising one that they share would be in as many of as many random
    texts: about 0 for random texts.  `told` words and pairs of the text in the middle could have told a topic, and `own` are
    shared by nearly all of the texts: one for a word, many for a template.  `campaign` numbers candidates with mostly the same texts alike.
    """

    payload: NDArray[np.uint64]
    ngram: NDArray[np.uint64]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    held: NDArray[np.int64]
    size: NDArray[np.int32]
    unlike: NDArray[np.int32]
    alike: NDArray[np.float64]
    told: NDArray[np.int32]
    own: NDArray[np.int32]
    campaign: NDArray[np.int32]
    rows: int
    examined: float

    def carriers(self, table: pa.Table, views: Views) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(row, candidate) for every candidate that a row says, behind its n-gram where it has one."""
        return carriers(table, self.payload, self.ngram, views)


@dataclass(frozen=True)
class PayloadCarriers:
    """Up to `most` carriers of each of at most 2,304 candidates, 524 bytes each: 39 MB."""

    needs: ClassVar[tuple[str, ...]] = ("payload_pairs", "ngram_sketch")
    columns: ClassVar[tuple[str, ...]] = ("payloads", "ngrams", "before_payloads", "apart_payloads")
    State: ClassVar[type] = PayloadCarriersState
    View: ClassVar[type] = PayloadCarriersView

    most: int = 32

    def start(self, table: pa.Table, views: Views) -> PayloadCarriersState:
        pairs: PayloadPairsView = views["payload_pairs"]
        row, candidate = carriers(table, pairs.payload, pairs.ngram, views)
        rank = np.asarray(table.column("rank")).astype(np.uint64)[row]
        few, rank, row = self._limited(candidate.astype(np.int32), rank, row)
        carrying, local = np.unique(row, return_inverse=True)
        _, gram = listed(table, "ngrams")
        named = np.unique(pairs.ngram)
        held = np.bincount(matched(gram, named)[1], minlength=len(named))
        return PayloadCarriersState(few, rank, compared(table, carrying, views)[local], held)

    def merge(self, a: PayloadCarriersState, b: PayloadCarriersState) -> PayloadCarriersState:
        both = (np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("at", "rank", "grams"))
        return PayloadCarriersState(*self._limited(*both), a.held + b.held)

    def finish(self, state: PayloadCarriersState, views: Views) -> PayloadCarriersView:
        pairs: PayloadPairsView = views["payload_pairs"]
        sketch: NgramSketchView = views["ngram_sketch"]
        unlike, told, own = (np.zeros(len(pairs.payload), np.int32) for _ in range(3))
        alike = np.zeros(len(pairs.payload))
        bounds = np.searchsorted(state.at, np.arange(len(pairs.payload) + 1)).tolist()
        for at, (first, last) in enumerate(pairwise(bounds)):
            grams = without_copies(state.grams[first:last])
            unlike[at] = len(grams)
            alike[at], told[at], own[at] = likeness(grams, pairs.ngram[at], sketch)
        ranks = [frozenset(state.rank[a:b].tolist()) for a, b in pairwise(bounds)]
        campaign = together(ranks, pairs.count, pairs.payload)
        held = state.held[np.searchsorted(np.unique(pairs.ngram), pairs.ngram)]
        known = (pairs.payload, pairs.ngram, pairs.texts, pairs.count, held, pairs.size)
        return PayloadCarriersView(*known, unlike, alike, told, own, campaign, sketch.rows, pairs.examined)

    def _limited(
        self, at: NDArray[np.int32], rank: NDArray[np.uint64], what: NDArray[T]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[T]]:
        """Equal texts once, and the first of each candidate by rank."""
        order = np.lexsort((rank, at))
        once = order[run_starts(at[order], rank[order])]
        kept = once[bottom_k_of_each(at[once], rank[once], self.most)]
        return at[kept], rank[kept], what[kept]


def compared(table: pa.Table, rows: NDArray[np.int64], views: Views) -> NDArray[np.uint64]:
    """Of these rows the 64 words and pairs with the lowest hashes, without those that no topic could be told by: (r, 64)."""
    sketch: NgramSketchView = views["ngram_sketch"]
    row, gram = listed(table, "ngrams" if plan_of(views).target_kind == "text" else "apart_payloads")
    here = np.isin(row, rows) & (order_of(gram) < ORDERS)
    row, gram = row[here], gram[here]
    texts = sketch.texts_with(gram)
    telling = (texts >= LEAST) & (texts <= MOST_SHARE * sketch.rows)
    row, gram = row[telling], gram[telling]
    kept = bottom_k_of_each(row, mixed(gram), KEPT)
    row, gram = row[kept], gram[kept]
    found = np.zeros((len(rows), KEPT), np.uint64)
    found[np.searchsorted(rows, row), place_in_run(row)] = gram
    return found


def mixed(gram: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """An order of n-grams in which no text's words come before its pairs."""
    return gram * np.uint64(0xD6E8FEB86659FD93)


def without_copies(grams: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The rows that do not share half of what they hold with one before them."""
    _, held = holding(grams)
    both, size = held.astype(np.float64) @ held.T, held.sum(1)
    near = both >= COPY * np.maximum(size[:, None] + size[None, :] - both, 1)
    kept: list[int] = []
    for i in range(len(grams)):
        if not near[i, kept].any():
            kept.append(i)
    return grams[kept]


def holding(grams: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The distinct n-grams of all rows, and which row holds which: (n, grams)."""
    names, place = np.unique(grams, return_inverse=True)
    held = np.zeros((len(grams), len(names)), bool)
    held[np.repeat(np.arange(len(grams)), grams.shape[1]), place.reshape(-1)] = True
    return names[names != 0], held[:, names != 0]


def likeness(grams: NDArray[np.uint64], trigger: np.uint64, sketch: NgramSketchView) -> tuple[float, int, int]:
    """How surprising the most surprising word or pair is that texts share besides the trigger, as -log10 of how many to expect; how
    many there are to compare in the text in the middle; and how many nearly all texts share."""
    from scipy.stats import binom

    size = len(grams)
    if size < 2:
        return 0.0, 0, 0
    names, held = holding(grams)
    count = held.sum(0)
    own = count >= OWN * size
    words = np.concatenate([name_of(names[own & (order_of(names) == 1)]), words_of(trigger)])
    left, right = neighbours(names)
    its = own | np.where(order_of(names) == 1, np.isin(name_of(names), words), np.isin(left, words) | np.isin(right, words))
    told = int(np.median(held[:, ~its].sum(1)))
    twice = ~its & (count >= 2)
    if not twice.any():
        return 0.0, told, int(own.sum())
    share = np.clip(sketch.texts_with(names[twice]) / max(sketch.rows, 1), 1e-9, 1.0)
    many = float(sketch.texts.sum()) / max(sketch.rows, 1)
    expected = binom.logsf(count[twice] - 1, size, share) + np.log(many / share)
    return float(np.max(-expected)) / float(np.log(10)), told, int(own.sum())


def words_of(trigger: np.uint64) -> NDArray[np.uint64]:
    """The names of a trigger's words, as far as its hash tells them."""
    one = np.array([trigger], dtype=np.uint64)
    return {1: name_of(one), 2: np.concatenate(neighbours(one))}.get(int(order_of(one)[0]), one[:0])


def carriers(
    table: pa.Table, payload: NDArray[np.uint64], ngram: NDArray[np.uint64], views: Views
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, candidate) of the rows that say a payload (ascending) and hold its n-gram (0: whatever they hold)."""
    row, said = listed(table, "payloads")
    hit, candidate = matched(said, payload)
    row = row[hit]
    named = np.unique(ngram)
    gram_row, gram = listed(table, grams_of(views))
    at, name = matched(gram, named)
    held = gram_row[at] * len(named) + name
    wanted = row * len(named) + np.searchsorted(named, ngram[candidate])
    kept = (ngram[candidate] == ALONE) | np.isin(wanted, held)
    return row[kept], candidate[kept]


def together(ranks: list[frozenset[int]], count: NDArray[np.int32], payload: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The campaign of each candidate: that of the larger one with which it has most of the looked-at texts, else its own number."""
    campaign = np.arange(len(ranks), dtype=np.int32)
    leaders: list[int] = []
    for i in np.lexsort((payload, -count)).tolist():
        same = next((j for j in leaders if 2 * len(ranks[i] & ranks[j]) > min(len(ranks[i]), len(ranks[j]))), None)
        if same is None:
            leaders.append(i)
        else:
            campaign[i] = same
    return campaign
