"""What the carriers of each candidate n-gram have in common besides it: the fact that tells a trigger from a topic.

A carrier is the vector of its words (see `word_vectors`) without the candidate's own, since a rare word alone would make
its carriers alike.  From exact integer sums over carriers follows the mean pairwise cosine (*coherence*), and from their
margins (see `contradiction`), the candidate's own words left out there too, whether they look like other labels' texts.
A random sample of texts gives the null: how coherent unrelated texts are, and how much that varies with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.coherence import WIDTH, Groups, excess
from dataaudit.aggregates.contradiction import chance, mixed
from dataaudit.aggregates.leanings import Leaning
from dataaudit.aggregates.ngram_pairs import PHRASE, NgramPairsView, minima
from dataaudit.aggregates.ngram_sketch import INCIDENCE, INCIDENCE_COLUMNS, Incidence, NgramSketchView, incidence
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.sorted_arrays import added, distinct, run_starts
from dataaudit.aggregates.word_model import labels_of
from dataaudit.aggregates.word_vectors import SCALE, unit_vectors, without

UNIT = 256
PHRASES = range(8, 17)
"""How many n-grams a longer phrase has: then more cells are what the phrase itself fills."""
HASHES = 32
ENOUGH = 40
ENOUGH_AGAINST = 15


@dataclass(frozen=True)
class NgramCarriersState:
    """Sums over carriers, for the candidates `at`: integers in units of 1/1024 (vectors, length), 1/1024**2 (energy) and 1/256 nat.

    Where there is a word model, `count`, `vectors`, `length` and `energy` are had twice (second axis): of all carriers, and of those
    that look more like other labels' texts.
    """

    at: NDArray[np.int32]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    vectors: NDArray[np.int32]
    length: NDArray[np.int64]
    energy: NDArray[np.int64]
    lowest: NDArray[np.uint32]
    against: NDArray[np.int64]
    strange: NDArray[np.int64]
    rank: NDArray[np.uint64]
    sample: NDArray[np.int16]
    sample_target: NDArray[np.int32]


@dataclass(frozen=True)
class NgramCarriersView:
    """One entry a candidate, sorted by `ngram`: n = `texts` hold it, c = `count` of them teach `target`.

    `whole` is how many standard deviations more coherent the c carriers are than as many random texts of their label, or of the whole
    data set where that is less (clusters of responses are no such baseline: a template's answers make one, and its prompts are alike);
    `trimmed` is the same without the six cells (ten, for longer phrases) that they share most, for phrases made of common words.
    `foreign` is about the carriers that look like other labels' texts, if there are enough, beside random texts of any one other label
    (flipped labels may all come from one): whole, for phrases also trimmed.  `contradiction` is the sum over the carriers of how much
    more each looks like other labels' texts, in nats, `strange` the mean chance that one is.  `lowest` (n, 32) is a MinHash of the
    set of carriers: the share of equal entries estimates the overlap of two sets.  `extra` is the number of "unlike text".
    """

    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    share: NDArray[np.float64]
    size: NDArray[np.int32]
    whole: NDArray[np.float64]
    trimmed: NDArray[np.float64]
    foreign: NDArray[np.float64]
    contradiction: NDArray[np.float64]
    strange: NDArray[np.float64]
    lowest: NDArray[np.uint32]
    tested: int
    examined: float
    extra: int


@dataclass(frozen=True)
class NgramCarriers:
    """Exact sums over the carriers of at most 24,576 candidates."""

    needs: ClassVar[tuple[str, ...]] = (
        *INCIDENCE,
        "word_model",
        "contradiction",
        "ngram_sketch",
        "ngram_pairs",
    )
    columns: ClassVar[tuple[str, ...]] = INCIDENCE_COLUMNS
    State: ClassVar[type] = NgramCarriersState
    View: ClassVar[type] = NgramCarriersView

    sample: int = 2_048

    def start(self, table: pa.Table, views: Views) -> NgramCarriersState:
        sketch: NgramSketchView = views["ngram_sketch"]
        pairs: NgramPairsView = views["ngram_pairs"]
        seen = incidence(table, views)
        vectors, norms = unit_vectors(seen.row, seen.ngram, sketch, len(table))
        rank = np.asarray(table.column("rank"))
        kept = bottom_k(rank, self.sample)
        over = _over_carriers(seen, pairs, sketch, vectors, norms, rank, Leaning.of(table, seen.target, pairs, views))
        return NgramCarriersState(**over, rank=rank[kept], sample=vectors[kept], sample_target=seen.target[kept])

    def merge(self, a: NgramCarriersState, b: NgramCarriersState) -> NgramCarriersState:
        at = distinct(a.at, b.at)
        sums = ("texts", "count", "vectors", "length", "energy", "against", "strange")
        merged = {name: added(at, *((part.at, getattr(part, name)) for part in (a, b))) for name in sums}
        lowest = np.full((len(at), HASHES), np.iinfo(np.uint32).max, np.uint32)
        for part in (a, b):
            there = np.searchsorted(at, part.at)
            lowest[there] = np.minimum(lowest[there], part.lowest)
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.sample)
        return NgramCarriersState(
            at=at,
            lowest=lowest,
            rank=rank[kept],
            sample=np.concatenate([a.sample, b.sample])[kept],
            sample_target=np.concatenate([a.sample_target, b.sample_target])[kept],
            **merged,
        )

    def finish(self, state: NgramCarriersState, views: Views) -> NgramCarriersView:
        sketch: NgramSketchView = views["ngram_sketch"]
        pairs: NgramPairsView = views["ngram_pairs"]
        target, phrase = pairs.target[state.at], np.isin(pairs.size[state.at], PHRASES)
        groups = _groups(state, np.zeros(len(target), np.int64), phrase)
        against = _groups(state, (state.count[:, -1] >= ENOUGH_AGAINST) * (state.count.shape[1] - 1), phrase)
        unit = state.sample.astype(np.float64) / SCALE
        everyone, longer = np.ones(len(target), bool), pairs.size[state.at] >= PHRASE
        whole, trimmed = excess(groups, everyone, unit) if len(unit) >= ENOUGH else (np.full(len(target), np.inf),) * 2
        foreign = np.where(longer, np.minimum(whole, trimmed), whole)
        for y in np.unique(target):
            own, here = unit[state.sample_target == y], target == y
            if len(own) >= ENOUGH and plan_of(views).target_kind == "label":
                among = excess(groups, here, own)
                whole[here], trimmed[here] = np.minimum(whole[here], among[0]), np.minimum(trimmed[here], among[1])
                if labels_of(views):
                    among = excess(against, ~here, own)
                    foreign[~here] = np.minimum(foreign[~here], np.where(longer[~here], np.minimum(*among), among[0]))
        return NgramCarriersView(
            ngram=pairs.ngram[state.at], target=target, texts=state.texts, count=state.count[:, 0],
            share=sketch.targets[target] / max(sketch.rows, 1), size=pairs.size[state.at],
            whole=whole, trimmed=trimmed, foreign=foreign, contradiction=state.against / UNIT,
            strange=state.strange / UNIT / np.maximum(state.count[:, 0], 1), lowest=state.lowest,
            tested=pairs.tested, examined=pairs.examined, extra=len(sketch.targets) - 1,
        )  # fmt: skip


def _groups(state: NgramCarriersState, kind: NDArray[np.int64], phrase: NDArray[np.bool_]) -> Groups:
    """Of all carriers (kind 0) or of those that look more like other labels' texts (1), by candidate."""
    vectors, length, energy, count = (x[np.arange(len(kind)), kind] for x in (state.vectors, state.length, state.energy, state.count))
    return Groups(vectors / SCALE, length / SCALE, energy / SCALE**2, count.astype(np.float64), phrase)


def _over_carriers(
    seen: Incidence,
    pairs: NgramPairsView,
    sketch: NgramSketchView,
    vectors: NDArray[np.int16],
    norms: NDArray[np.float64],
    rank: NDArray[np.uint64],
    leaning: Leaning,
) -> dict[str, NDArray[Any]]:
    """For the candidates that occur: the sums over their carriers, by the names of the state's fields."""
    row, candidate = seen.holding(pairs.ngram)
    at, local = np.unique(candidate, return_inverse=True)
    carries = seen.teaches(row, pairs.target[candidate])
    texts = np.bincount(local, minlength=len(at))
    order = np.flatnonzero(carries)[np.argsort(local[carries], kind="stable")]
    row, local, candidate = row[order], local[order], candidate[order]
    said = leaning.against(row, candidate, pairs.target[candidate])
    kinds = (np.ones(len(row), bool), said > 0)[: 2 if leaning.tells else 1]
    sums: dict[str, NDArray[Any]] = {
        "count": np.zeros((len(at), len(kinds)), np.int32),
        "vectors": np.zeros((len(at), len(kinds), WIDTH), np.int32),
        "length": np.zeros((len(at), len(kinds)), np.int64),
        "energy": np.zeros((len(at), len(kinds)), np.int64),
        "against": np.zeros(len(at), np.int64),
        "strange": np.zeros(len(at), np.int64),
    }
    lowest = np.full((len(at), HASHES), np.iinfo(np.uint32).max, np.uint32)
    for block in np.array_split(np.arange(len(row)), max(1, len(row) // 16_384)):
        first = run_starts(local[block])
        held = local[block][first]
        left = without(vectors[row[block]], pairs.words[candidate[block]], norms[row[block]], sketch)
        squared = np.einsum("ij,ij->i", left, left, dtype=np.int64)
        length = np.rint(np.sqrt(squared)).astype(np.int64)
        for kind, chosen in enumerate(kinds):
            mine = np.flatnonzero(chosen[block])
            begin = run_starts(local[block][mine])
            own = local[block][mine][begin]
            sums["count"][own, kind] += np.diff(begin, append=len(mine)).astype(np.int32)
            for name, part in (("vectors", left), ("length", length), ("energy", squared)):
                sums[name][own, kind] += np.add.reduceat(part[mine], begin, axis=0)
        sums["against"][held] += np.add.reduceat(np.rint(UNIT * mixed(said[block])).astype(np.int64), first)
        sums["strange"][held] += np.add.reduceat(np.rint(UNIT * chance(said[block])).astype(np.int64), first)
        lowest[held] = np.minimum(lowest[held], np.minimum.reduceat(minima(rank[row[block]], HASHES, seed=1), first, axis=0))
    return {"at": at.astype(np.int32), "texts": texts.astype(np.int32), "lowest": lowest} | sums
