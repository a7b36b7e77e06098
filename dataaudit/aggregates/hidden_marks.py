"""How often each hidden marking occurs, and with which targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.sorted_arrays import place_in_run, run_starts
from dataaudit.features.hidden import RESPONSE, kind_of
from dataaudit.model import keyed_hash

WITNESSES = 16
NOBODY = np.uint64(0xFFFFFFFFFFFFFFFF)
ANY = "any"
TOGETHER = ("zero-width", "homoglyphs", "override", "edge")
"""Kinds that are counted over all their details too: an attacker may draw the character anew for every text."""


@dataclass(frozen=True)
class HiddenMarksState:
    """Names (m,) in order of their keyed hash (m,); texts by (hash, target) in three columns; the lowest ranks (m, 16) of carriers,
    each once; all texts by target, last those without.
    """

    names: NDArray[np.str_]
    hashed: NDArray[np.uint64]
    pair_hash: NDArray[np.uint64]
    pair_target: NDArray[np.int32]
    pair_texts: NDArray[np.int64]
    lowest: NDArray[np.uint64]
    totals: NDArray[np.int64]
    cut: int


@dataclass(frozen=True)
class HiddenMarksView:
    """By name (m,): `texts` with it, of which `count` have its commonest `target` (-1: none); `distinct` texts up to 16.

    `pair_mark`, `pair_target` and `pair_texts` are all pairs; `totals` the texts by target, last those without; `cut` tells whether
    there were more names than could be kept.
    """

    names: NDArray[np.str_]
    texts: NDArray[np.int64]
    target: NDArray[np.int32]
    count: NDArray[np.int64]
    distinct: NDArray[np.int64]
    pair_mark: NDArray[np.int64]
    pair_target: NDArray[np.int32]
    pair_texts: NDArray[np.int64]
    totals: NDArray[np.int64]
    cut: int

    def texts_with(self, name: str, target: int | None = None) -> int:
        """How many texts have a marking, of all or of one target."""
        here = self.names[self.pair_mark] == name if len(self.pair_mark) else np.zeros(0, bool)
        return int(self.pair_texts[here if target is None else here & (self.pair_target == target)].sum())


@dataclass(frozen=True)
class HiddenMarks:
    """Exact counts of the markings with the smallest keyed hashes, so that no flood of names drives out the others unseen."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    columns: ClassVar[tuple[str, ...]] = ("hidden", "target_embedding")
    State: ClassVar[type] = HiddenMarksState
    View: ClassVar[type] = HiddenMarksView

    most: int = 20_000

    def start(self, table: pa.Table, views: Views) -> HiddenMarksState:
        key = plan_of(views).key("hidden")
        target = views["targets"].index(table)
        size = len(views["targets"].names)
        totals = np.bincount(np.where(target < 0, size, target), minlength=size + 1).astype(np.int64)
        row, name = marks(table)
        each, mark = np.unique(np.array(name, dtype=np.str_), return_inverse=True)
        hashed = np.array([keyed_hash(n, key) for n in each.tolist()], dtype=np.uint64)
        rank = np.asarray(table.column("rank"))[row].astype(np.uint64)
        return _gathered(each, hashed, hashed[mark], target[row], np.ones(len(row), np.int64), (mark, rank), totals, 0, self.most)

    def merge(self, a: HiddenMarksState, b: HiddenMarksState) -> HiddenMarksState:
        hashed, first = np.unique(np.concatenate([a.hashed, b.hashed]), return_index=True)
        names = np.concatenate([a.names, b.names])[first]
        lowest = np.concatenate([a.lowest, b.lowest])
        mark = np.searchsorted(hashed, np.repeat(np.concatenate([a.hashed, b.hashed]), WITNESSES))
        pair_hash, pair_target = np.concatenate([a.pair_hash, b.pair_hash]), np.concatenate([a.pair_target, b.pair_target])
        texts = np.concatenate([a.pair_texts, b.pair_texts])
        witnesses = (mark, lowest.reshape(-1))
        return _gathered(names, hashed, pair_hash, pair_target, texts, witnesses, a.totals + b.totals, max(a.cut, b.cut), self.most)

    def finish(self, state: HiddenMarksState, views: Views) -> HiddenMarksView:
        size = len(state.names)
        mark = np.searchsorted(state.hashed, state.pair_hash)
        texts = np.bincount(mark, state.pair_texts, size).astype(np.int64)
        target, count = np.full(size, -1, np.int32), np.zeros(size, np.int64)
        aimed = np.flatnonzero(state.pair_target >= 0)
        order = aimed[np.lexsort((-state.pair_target[aimed], state.pair_texts[aimed]))]
        target[mark[order]], count[mark[order]] = state.pair_target[order], state.pair_texts[order]
        distinct = (state.lowest != NOBODY).sum(axis=1).astype(np.int64)
        return HiddenMarksView(
            state.names, texts, target, count, distinct, mark, state.pair_target, state.pair_texts, state.totals, state.cut
        )


def marks(table: pa.Table) -> tuple[NDArray[np.int64], list[str]]:
    """(row, name) of every marking, each once a row, and "any" for kinds that are counted together."""
    if "hidden" not in table.column_names or not len(table):
        return np.empty(0, np.int64), []
    column = table.column("hidden")
    rows = np.asarray(pc.list_parent_indices(column)).astype(np.int64)
    if not len(rows):
        return np.empty(0, np.int64), []
    pairs = dict.fromkeys(zip(rows.tolist(), pc.list_flatten(column).to_pylist(), strict=True))
    whole = dict.fromkeys(both for row, name in pairs for both in ((row, name), (row, together(name))) if both[1])
    return np.array([row for row, _ in whole], np.int64), [name for _, name in whole]


def together(name: str) -> str:
    """The name under which all markings of its kind are counted, "" where they are not."""
    kind = kind_of(name)
    return f"{RESPONSE if name.startswith(RESPONSE) else ''}{kind} {ANY}" if kind in TOGETHER else ""


def _gathered(
    names: NDArray[np.str_],
    hashed: NDArray[np.uint64],
    pair_hash: NDArray[np.uint64],
    pair_target: NDArray[np.int32],
    texts: NDArray[np.int64],
    witnesses: tuple[NDArray[np.int64], NDArray[np.uint64]],
    totals: NDArray[np.int64],
    cut: int,
    most: int,
) -> HiddenMarksState:
    """The state of these counts: names by hash, the smallest `most` of them, equal pairs added up, the lowest ranks of each name."""
    order = np.argsort(hashed)
    kept = order[:most]
    lowest = _lowest(*witnesses, len(names))[kept]
    inside = np.isin(pair_hash, hashed[kept])
    pairs = np.stack([pair_hash[inside], pair_target[inside].astype(np.int64).astype(np.uint64)], axis=1)
    each, place = np.unique(pairs, axis=0, return_inverse=True) if len(pairs) else (pairs, np.empty(0, np.int64))
    summed = np.bincount(place.reshape(-1), texts[inside], len(each)).astype(np.int64)
    own = names[kept]
    own = own.astype(f"<U{max((len(n) for n in own.tolist()), default=1)}")  # the width depends on what is kept, not on what was seen
    more = max(cut, int(len(order) > most))
    return HiddenMarksState(own, hashed[kept], each[:, 0], each[:, 1].astype(np.int64).astype(np.int32), summed, lowest, totals, more)


def _lowest(mark: NDArray[np.int64], rank: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """The 16 lowest different ranks of each mark, filled up with the largest number."""
    found = np.full((size, WITNESSES), NOBODY, np.uint64)
    order = np.lexsort((rank, mark))
    mark, rank = mark[order], rank[order]
    new = run_starts(mark, rank)
    new = new[rank[new] != NOBODY]
    mark, rank = mark[new], rank[new]
    place = place_in_run(mark)
    inside = place < WITNESSES
    found[mark[inside], place[inside]] = rank[inside]
    return found
