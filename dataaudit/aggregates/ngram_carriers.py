"""What the carriers of each candidate n-gram have in common besides it: the fact that tells a trigger from a topic.

A carrier's other words are a vector of 256 signed cells weighted by rarity (tf-idf with feature hashing, Weinberger
et al. 2009), the candidate's own words left out, since a rare word alone would make its carriers alike.  From exact
integer sums over carriers follow the mean pairwise cosine (*coherence*) and how far they lean to their target.
A random sample of texts gives the null: how coherent unrelated texts are, and how much that varies with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.ngram_pairs import NgramPairsView
from dataaudit.aggregates.ngram_sketch import Incidence, NgramSketchView, incidence
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.features.ngrams import order_of

WIDTH = 256
SCALE = 1024
MOST_TARGETS = 2_000


@dataclass(frozen=True)
class NgramCarriersState:
    """Sums over carriers, for the candidates `at`: integers in units of 1/1024 (vectors, length) and 1/1024**2 (energy)."""

    at: NDArray[np.int32]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    vectors: NDArray[np.int32]
    length: NDArray[np.int64]
    energy: NDArray[np.int64]
    target_vectors: NDArray[np.int64]
    target_count: NDArray[np.int64]
    rank: NDArray[np.uint64]
    sample: NDArray[np.int16]
    sample_target: NDArray[np.int32]


@dataclass(frozen=True)
class NgramCarriersView:
    """One entry a candidate, sorted by `ngram`: n = `texts` hold it, c = `count` of them teach `target`.

    `coherence` is of the c carriers; `base` (and `spread`) what as many random texts of the same target would have
    (standard deviation), `base_all` and `spread_all` the same for random texts of the whole data set.  `lean` is 1
    where carriers look like their target's texts otherwise do and 0 where they look like everything else.
    """

    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    share: NDArray[np.float64]
    size: NDArray[np.int32]
    coherence: NDArray[np.float64]
    base: NDArray[np.float64]
    spread: NDArray[np.float64]
    base_all: float
    spread_all: NDArray[np.float64]
    lean: NDArray[np.float64]
    lean_spread: NDArray[np.float64]
    tested: int
    examined: float
    rows: int


@dataclass(frozen=True)
class NgramCarriers:
    """Exact sums over the carriers of at most 16,384 candidates."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "surprise", "ngram_sketch", "ngram_pairs")
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "target_embedding", "characters")
    State: ClassVar[type] = NgramCarriersState
    View: ClassVar[type] = NgramCarriersView

    sample: int = 2_048

    def start(self, table: pa.Table, views: Views) -> NgramCarriersState:
        sketch: NgramSketchView = views["ngram_sketch"]
        pairs: NgramPairsView = views["ngram_pairs"]
        seen = incidence(table, views)
        vectors, norms = lexical(seen, sketch, len(table))
        at, texts, count, sums, length, energy = _over_carriers(seen, pairs, sketch, vectors, norms)
        targets = min(len(sketch.targets), MOST_TARGETS)
        ordinary = (seen.target >= 0) & (seen.target < targets)
        target_vectors = np.zeros((targets, WIDTH), np.int64)
        np.add.at(target_vectors, seen.target[ordinary], vectors[ordinary].astype(np.int64))
        kept = bottom_k(np.asarray(table.column("rank")), self.sample)
        return NgramCarriersState(
            at, texts, count, sums, length, energy,
            target_vectors, np.bincount(seen.target[ordinary], minlength=targets).astype(np.int64),
            np.asarray(table.column("rank"))[kept], vectors[kept], seen.target[kept],
        )  # fmt: skip

    def merge(self, a: NgramCarriersState, b: NgramCarriersState) -> NgramCarriersState:
        at, inverse = np.unique(np.concatenate([a.at, b.at]), return_inverse=True)
        left, right = inverse[: len(a.at)], inverse[len(a.at) :]
        merged = {}
        for name in ("texts", "count", "vectors", "length", "energy"):
            x, y = getattr(a, name), getattr(b, name)
            merged[name] = np.zeros((len(at), *x.shape[1:]), x.dtype)
            merged[name][left] += x
            merged[name][right] += y
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.sample)
        return NgramCarriersState(
            at=at,
            target_vectors=a.target_vectors + b.target_vectors,
            target_count=a.target_count + b.target_count,
            rank=rank[kept],
            sample=np.concatenate([a.sample, b.sample])[kept],
            sample_target=np.concatenate([a.sample_target, b.sample_target])[kept],
            **merged,
        )

    def finish(self, state: NgramCarriersState, views: Views) -> NgramCarriersView:
        sketch: NgramSketchView = views["ngram_sketch"]
        pairs: NgramPairsView = views["ngram_pairs"]
        target, count = pairs.target[state.at], state.count.astype(np.float64)
        unit = state.sample.astype(np.float64) / SCALE
        base_all, first_all, second_all = pair_moments(unit)
        base, first, second = (np.full(len(target), x) for x in (base_all, first_all, second_all))
        lean, lean_spread = np.ones(len(target)), np.full(len(target), np.inf)
        total, rows = state.target_vectors.sum(0), state.target_count.sum()
        for y in np.unique(target[target < len(state.target_count)]):
            own, here = unit[state.sample_target == y], target == y
            if len(own) >= 30:
                base[here], first[here], second[here] = pair_moments(own)
            if 30 <= len(own) <= len(unit) - 30:
                n = state.target_count[y]
                axis = state.target_vectors[y] / n - (total - state.target_vectors[y]) / (rows - n)
                side = unit @ axis
                inside, outside = side[state.sample_target == y], side[state.sample_target != y]
                gap = max(inside.mean() - outside.mean(), 1e-9)
                lean[here] = (state.vectors[here] @ axis / np.maximum(state.length[here], 1) - outside.mean()) / gap
                lean_spread[here] = inside.std() / gap / np.sqrt(np.maximum(count[here], 1))
        squares = (state.vectors.astype(np.float64) ** 2).sum(1)
        pairs_weight = np.maximum(state.length.astype(np.float64) ** 2 - state.energy, 1)
        return NgramCarriersView(
            ngram=pairs.ngram[state.at], target=target, texts=state.texts, count=state.count,
            share=sketch.targets[target] / max(sketch.rows, 1), size=pairs.size[state.at],
            coherence=(squares - state.energy) / pairs_weight,
            base=base, spread=u_spread(first, second, count),
            base_all=float(base_all), spread_all=u_spread(np.full(len(count), first_all), np.full(len(count), second_all), count),
            lean=lean, lean_spread=lean_spread, tested=pairs.tested, examined=pairs.examined, rows=sketch.rows,
        )  # fmt: skip


def lexical(seen: Incidence, sketch: NgramSketchView, rows: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Unit vectors of the rows' single words in fixed point, int16 (rows, 256), and the norms before; nothing in common is 0."""
    single = order_of(seen.ngram) == 1
    row, cell, value = seen.row[single], _cell(seen.ngram[single]), _signed_rarity(seen.ngram[single], sketch)
    dense = np.bincount(row * WIDTH + cell, value, rows * WIDTH).reshape(rows, WIDTH)
    norms = np.linalg.norm(dense, axis=1)
    unit = np.divide(dense, norms[:, None], out=np.zeros_like(dense), where=norms[:, None] > 0)
    return np.rint(unit * SCALE).astype(np.int16), norms


def pair_moments(unit: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean cosine of two random rows, the variance of its mean given one row, and its variance (Hoeffding 1948)."""
    n = len(unit)
    if n < 3:
        return 0.0, 1.0, 1.0
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    means = cosines.sum(1) / (n - 1)
    mean = float(means.mean())
    variance = float((cosines**2).sum() / (n * (n - 1)) - mean**2)
    return mean, max(float(means.var()) - variance / n, 0.0), variance


def u_spread(first: NDArray[np.float64], second: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviation of the mean pairwise cosine of `count` random texts, a U-statistic of order two."""
    c = np.maximum(count, 2)
    return np.asarray(np.sqrt(4 * first / c + 2 * second / (c * (c - 1))))


def _over_carriers(
    seen: Incidence, pairs: NgramPairsView, sketch: NgramSketchView, vectors: NDArray[np.int16], norms: NDArray[np.float64]
) -> tuple[NDArray[np.int32], ...]:
    """For the candidates that occur: their number, texts, carriers, and sums of the carriers' vectors, lengths and energies."""
    place = np.minimum(np.searchsorted(pairs.ngram, seen.ngram), max(len(pairs.ngram) - 1, 0))
    hit = pairs.ngram[place] == seen.ngram if len(pairs.ngram) else np.zeros(len(place), bool)
    row, candidate = seen.row[hit], place[hit]
    at, local = np.unique(candidate, return_inverse=True)
    extra = len(sketch.targets) - 1
    wanted = pairs.target[candidate]
    carries = (seen.target[row] == wanted) | ((wanted == extra) & seen.extra[row])
    texts = np.bincount(local, minlength=len(at))
    row, local, candidate = row[carries], local[carries], candidate[carries]
    sums = np.zeros((len(at), WIDTH), np.int32)
    length, energy = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    order = np.argsort(local, kind="stable")
    for block in np.array_split(order, max(1, len(order) // 65_536)):
        left = _without_own(vectors[row[block]].astype(np.int32), pairs.words[candidate[block]], norms[row[block]], sketch)
        squared = (left.astype(np.int64) ** 2).sum(1)
        np.add.at(length, local[block], np.rint(np.sqrt(squared)).astype(np.int64))
        np.add.at(energy, local[block], squared)
        first = np.flatnonzero(np.r_[True, local[block][1:] != local[block][:-1]]) if len(block) else block
        if len(block):
            sums[local[block][first]] += np.add.reduceat(left, first, axis=0).astype(np.int32)
    count = np.bincount(local, minlength=len(at))
    return at.astype(np.int32), texts.astype(np.int32), count.astype(np.int32), sums, length, energy


def _without_own(
    vectors: NDArray[np.int32], words: NDArray[np.uint64], norms: NDArray[np.float64], sketch: NgramSketchView
) -> NDArray[np.int32]:
    """The carriers' vectors less what the candidate's own words put into them."""
    for part in range(words.shape[1]):
        there = np.flatnonzero((words[:, part] != 0) & (norms > 0))
        own = words[there, part]
        vectors[there, _cell(own)] -= np.rint(_signed_rarity(own, sketch) / norms[there] * SCALE).astype(np.int32)
    return vectors


def _cell(ngram: NDArray[np.uint64]) -> NDArray[np.int64]:
    return ((ngram >> np.uint64(48)) % np.uint64(WIDTH)).astype(np.int64)


def _signed_rarity(ngram: NDArray[np.uint64], sketch: NgramSketchView) -> NDArray[np.float64]:
    """The inverse document frequency in bits, signed by hash; 0 for words of one text, which no other can share."""
    texts = sketch.texts_with(ngram)
    rarity = np.where(texts >= 2, np.log2(np.maximum(sketch.rows, 2) / np.maximum(texts, 1)), 0.0)
    return np.where((ngram >> np.uint64(63)) == 1, 1.0, -1.0) * np.maximum(rarity, 0.0)
