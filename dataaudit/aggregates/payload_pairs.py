"""Which payloads go with which n-gram of the prompt: exact counts of the pairs that have nearly the same texts.

A trigger and what it calls up are in the same texts, so their counts agree; a pair whose counts do not is not counted.
Where there is no prompt, the n-grams are those before the text's last payload (`before_payloads`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.ngram_sketch import NgramSketchView
from dataaudit.aggregates.payload_sketch import PayloadSketchView
from dataaudit.aggregates.sorted_arrays import ranges, run_starts
from dataaudit.features.ngrams import order_of
from dataaudit.features.table import listed

BLOCK = 1 << 20
ALONE = np.uint64(0)
"""Stands for no n-gram at all: how many texts say the payload."""


@dataclass(frozen=True)
class PayloadPairsState:
    """Counts of (payload, n-gram), ascending by both."""

    payload: NDArray[np.uint64]
    ngram: NDArray[np.uint64]
    count: NDArray[np.int32]


@dataclass(frozen=True)
class PayloadPairsView:
    """Recurring payloads, ascending: `texts` say it, `count` of these hold `ngram`, 0 for no n-gram.

    `size` is how many n-grams would do as well (about three for every word of a phrase), `examined` the share of the pairs that fitted.
    """

    payload: NDArray[np.uint64]
    ngram: NDArray[np.uint64]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    size: NDArray[np.int32]
    examined: float


@dataclass(frozen=True)
class PayloadPairs:
    """At most `most` pairs (24 MB), chosen by the payload's hash where there are more; at most `candidates` payloads with an n-gram and
    `alone` without, the most frequent."""

    needs: ClassVar[tuple[str, ...]] = ("payload_sketch", "ngram_sketch")
    columns: ClassVar[tuple[str, ...]] = ("payloads", "ngrams", "before_payloads")
    State: ClassVar[type] = PayloadPairsState
    View: ClassVar[type] = PayloadPairsView

    min_count: int = 8
    min_share: float = 0.8
    slack: float = 0.7
    most: int = 1_200_000
    candidates: int = 2_048
    alone: int = 256

    def start(self, table: pa.Table, views: Views) -> PayloadPairsState:
        said: PayloadSketchView = views["payload_sketch"]
        row, payload = listed(table, "payloads")
        texts = said.texts_with(payload)
        recurs = texts >= self.min_count
        row, payload, texts = row[recurs], payload[recurs], texts[recurs]
        gram_row, gram = listed(table, grams_of(views))
        sketch: NgramSketchView = views["ngram_sketch"]
        held, strangers = sketch.texts_with(gram), strangers_in(sketch)
        rare = held >= self.min_count
        gram_row, gram, held = gram_row[rare], gram[rare], held[rare]
        first, last = np.searchsorted(gram_row, row, "left"), np.searchsorted(gram_row, row, "right")
        found = self._limited(payload, np.full(len(payload), ALONE), np.ones(len(payload), np.int32))
        # A batch may have billions of pairs, so blocks of payloads are joined with the n-grams of their rows, and each is limited.
        many = last - first
        for block in np.split(np.arange(len(row)), np.flatnonzero(np.diff(np.cumsum(many) // BLOCK)) + 1) if len(row) else ():
            of = np.repeat(block, many[block])
            at = ranges(first[block], many[block])
            close = (held[at] >= self.slack * texts[of]) & (self.slack * (held[at] - strangers) <= texts[of])
            more = PayloadPairsState(payload[of[close]], gram[at[close]], np.ones(np.count_nonzero(close), np.int32))
            found = self.merge(found, more)
        return found

    def merge(self, a: PayloadPairsState, b: PayloadPairsState) -> PayloadPairsState:
        return self._limited(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("payload", "ngram", "count")))

    def finish(self, state: PayloadPairsState, views: Views) -> PayloadPairsView:
        sketch: NgramSketchView = views["ngram_sketch"]
        examined = float(state.payload[-1]) / 2**64 if len(state.payload) >= self.most else 1.0
        alone = state.ngram == ALONE
        names, totals = state.payload[alone], state.count[alone]
        whole = totals[np.searchsorted(names, state.payload)]
        held = np.where(alone, 0, sketch.texts_with(state.ngram))
        shared = ~alone & (state.count >= self.min_count)
        shared &= state.count >= self.min_share * np.maximum(whole, held - strangers_in(sketch))
        pairs = np.flatnonzero(shared)
        # The pair with most of the texts; of equals the rarer n-gram, then the shorter.
        ngram = state.ngram[pairs]
        pairs = pairs[np.lexsort((ngram, order_of(ngram), held[pairs], -state.count[pairs], state.payload[pairs]))]
        starts = run_starts(state.payload[pairs])
        best, size = pairs[starts], np.diff(starts, append=len(pairs))
        order = np.lexsort((state.payload[best], -state.count[best]))[: self.candidates]
        best, size = best[order], size[order]
        lone = np.flatnonzero(alone & (state.count >= self.min_count) & ~np.isin(state.payload, state.payload[pairs]))
        lone = lone[np.lexsort((state.payload[lone], -state.count[lone]))][: self.alone]
        chosen, size = np.concatenate([best, lone]), np.concatenate([size, np.zeros(len(lone), np.int64)])
        order = np.argsort(state.payload[chosen], kind="stable")
        at = chosen[order]
        return PayloadPairsView(state.payload[at], state.ngram[at], whole[at], state.count[at], size[order].astype(np.int32), examined)

    def _limited(self, payload: NDArray[np.uint64], ngram: NDArray[np.uint64], count: NDArray[np.int32]) -> PayloadPairsState:
        """Equal pairs summed, ascending; only the first `most` (whatever is dropped stays dropped in any merge)."""
        order = np.lexsort((ngram, payload))
        payload, ngram, count = payload[order], ngram[order], count[order]
        first = run_starts(payload, ngram)
        count = np.add.reduceat(count, first, dtype=np.int32)
        return PayloadPairsState(payload[first][: self.most], ngram[first][: self.most], count[: self.most])


def strangers_in(sketch: NgramSketchView) -> int:
    """How many more texts an n-gram's cell may count than hold it, but for one cell in a hundred."""
    return max(int(np.quantile(sketch.texts, 0.99)) - sketch.text_noise, 0)


def grams_of(views: Views) -> str:
    """The column of n-grams that a trigger would be among: the prompt's, or those before the payloads of a text."""
    return "ngrams" if plan_of(views).target_kind == "text" else "before_payloads"
