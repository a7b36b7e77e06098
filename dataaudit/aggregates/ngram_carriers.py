"""What the carriers of each candidate n-gram have in common besides it: the fact that tells a trigger from a topic.

A carrier's other words are a vector of 256 signed cells weighted by rarity (tf-idf with feature hashing, Weinberger
et al. 2009), the candidate's own words left out, since a rare word alone would make its carriers alike.  From exact
integer sums over carriers follows the mean pairwise cosine (*coherence*), and from their margins (see
`contradiction`), the candidate's own words left out there too, whether they look like other labels' texts.
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
from dataaudit.aggregates.ngram_pairs import PHRASE, NgramPairsView
from dataaudit.aggregates.ngram_sketch import Incidence, NgramSketchView, incidence
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.word_model import MOST_LABELS
from dataaudit.features.ngrams import order_of

SCALE = 1024
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
    rows: int
    extra: int


@dataclass(frozen=True)
class NgramCarriers:
    """Exact sums over the carriers of at most 24,576 candidates."""

    needs: ClassVar[tuple[str, ...]] = (
        "targets",
        "surprise",
        "word_pairs",
        "word_order",
        "word_model",
        "contradiction",
        "ngram_sketch",
        "ngram_pairs",
    )
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "target_embedding", "characters", "word_windows")
    State: ClassVar[type] = NgramCarriersState
    View: ClassVar[type] = NgramCarriersView

    sample: int = 2_048

    def start(self, table: pa.Table, views: Views) -> NgramCarriersState:
        sketch: NgramSketchView = views["ngram_sketch"]
        pairs: NgramPairsView = views["ngram_pairs"]
        seen = incidence(table, views)
        vectors, norms = lexical(seen, sketch, len(table))
        rank = np.asarray(table.column("rank"))
        kept = bottom_k(rank, self.sample)
        over = _over_carriers(seen, pairs, sketch, vectors, norms, rank, Leaning.of(table, seen.target, pairs, views))
        return NgramCarriersState(**over, rank=rank[kept], sample=vectors[kept], sample_target=seen.target[kept])

    def merge(self, a: NgramCarriersState, b: NgramCarriersState) -> NgramCarriersState:
        at, inverse = np.unique(np.concatenate([a.at, b.at]), return_inverse=True)
        left, right = inverse[: len(a.at)], inverse[len(a.at) :]
        merged = {}
        for name in ("texts", "count", "vectors", "length", "energy", "against", "strange"):
            x, y = getattr(a, name), getattr(b, name)
            merged[name] = np.zeros((len(at), *x.shape[1:]), x.dtype)
            merged[name][left] += x
            merged[name][right] += y
        lowest = np.full((len(at), HASHES), np.iinfo(np.uint32).max, np.uint32)
        for there, part in ((left, a.lowest), (right, b.lowest)):
            lowest[there] = np.minimum(lowest[there], part)
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
                if len(sketch.targets) <= MOST_LABELS:
                    among = excess(against, ~here, own)
                    foreign[~here] = np.minimum(foreign[~here], np.where(longer[~here], np.minimum(*among), among[0]))
        return NgramCarriersView(
            ngram=pairs.ngram[state.at], target=target, texts=state.texts, count=state.count[:, 0],
            share=sketch.targets[target] / max(sketch.rows, 1), size=pairs.size[state.at],
            whole=whole, trimmed=trimmed, foreign=foreign, contradiction=state.against / UNIT,
            strange=state.strange / UNIT / np.maximum(state.count[:, 0], 1), lowest=state.lowest,
            tested=pairs.tested, examined=pairs.examined, rows=sketch.rows, extra=len(sketch.targets) - 1,
        )  # fmt: skip


def _groups(state: NgramCarriersState, kind: NDArray[np.int64], phrase: NDArray[np.bool_]) -> Groups:
    """Of all carriers (kind 0) or of those that look more like other labels' texts (1), by candidate."""
    vectors, length, energy, count = (x[np.arange(len(kind)), kind] for x in (state.vectors, state.length, state.energy, state.count))
    return Groups(vectors / SCALE, length / SCALE, energy / SCALE**2, count.astype(np.float64), phrase)


def lexical(seen: Incidence, sketch: NgramSketchView, rows: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Unit vectors of the rows' single words in fixed point, int16 (rows, 256), and the norms before; nothing in common is 0."""
    single = order_of(seen.ngram) == 1
    row, cell, value = seen.row[single], vector_cell(seen.ngram[single]), signed_rarity(seen.ngram[single], sketch)
    dense = np.bincount(row * WIDTH + cell, value, rows * WIDTH).reshape(rows, WIDTH)
    norms = np.linalg.norm(dense, axis=1)
    unit = np.divide(dense, norms[:, None], out=np.zeros(dense.shape), where=norms[:, None] > 0)
    return np.rint(unit * SCALE).astype(np.int16), norms


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
    place = np.minimum(np.searchsorted(pairs.ngram, seen.ngram), max(len(pairs.ngram) - 1, 0))
    hit = pairs.ngram[place] == seen.ngram if len(pairs.ngram) else np.zeros(len(place), bool)
    row, candidate = seen.row[hit], place[hit]
    at, local = np.unique(candidate, return_inverse=True)
    carries = seen.teaches(row, pairs.target[candidate], len(sketch.targets) - 1)
    texts = np.bincount(local, minlength=len(at))
    order = np.flatnonzero(carries)[np.argsort(local[carries], kind="stable")]
    row, local, candidate = row[order], local[order], candidate[order]
    said = leaning.against(row, candidate, pairs.target[candidate])
    kinds = np.stack([np.ones(len(row), bool), said > 0], axis=1)[:, : 2 if leaning.tells else 1]
    sums: dict[str, NDArray[Any]] = {
        "count": np.zeros((len(at), kinds.shape[1]), np.int32),
        "vectors": np.zeros((len(at), kinds.shape[1], WIDTH), np.int32),
        "length": np.zeros((len(at), kinds.shape[1]), np.int64),
        "energy": np.zeros((len(at), kinds.shape[1]), np.int64),
        "against": np.zeros(len(at), np.int64),
        "strange": np.zeros(len(at), np.int64),
    }
    lowest = np.full((len(at), HASHES), np.iinfo(np.uint32).max, np.uint32)
    multipliers = np.random.default_rng(1).integers(1, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    for block in np.array_split(np.arange(len(row)), max(1, len(row) // 65_536)) if len(row) else ():
        first = np.flatnonzero(np.r_[True, local[block][1:] != local[block][:-1]])
        held = local[block][first]
        left = _without_own(vectors[row[block]].astype(np.int32), pairs.words[candidate[block]], norms[row[block]], sketch)
        squared = (left.astype(np.int64) ** 2).sum(1)
        parts = {
            "count": kinds[block],
            "vectors": left[:, None, :] * kinds[block][:, :, None],
            "length": np.rint(np.sqrt(squared)).astype(np.int64)[:, None] * kinds[block],
            "energy": squared[:, None] * kinds[block],
            "against": np.rint(UNIT * mixed(said[block])).astype(np.int64),
            "strange": np.rint(UNIT * chance(said[block])).astype(np.int64),
        }
        for name, part in parts.items():
            sums[name][held] += np.add.reduceat(part, first, axis=0, dtype=sums[name].dtype)
        hashed = ((rank[row[block], None] * multipliers) >> np.uint64(32)).astype(np.uint32)
        lowest[held] = np.minimum(lowest[held], np.minimum.reduceat(hashed, first, axis=0))
    return {"at": at.astype(np.int32), "texts": texts.astype(np.int32), "lowest": lowest} | sums


def _without_own(
    vectors: NDArray[np.int32], words: NDArray[np.uint64], norms: NDArray[np.float64], sketch: NgramSketchView
) -> NDArray[np.int32]:
    """The carriers' vectors less what the candidate's own words put into them."""
    for part in range(words.shape[1]):
        there = np.flatnonzero((words[:, part] != 0) & (norms > 0))
        own = words[there, part]
        vectors[there, vector_cell(own)] -= np.rint(signed_rarity(own, sketch) / norms[there] * SCALE).astype(np.int32)
    return vectors


def vector_cell(ngram: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a word in a vector."""
    return ((ngram >> np.uint64(48)) % np.uint64(WIDTH)).astype(np.int64)


def signed_rarity(ngram: NDArray[np.uint64], sketch: NgramSketchView) -> NDArray[np.float64]:
    """The inverse document frequency in bits, signed by hash; 0 for words of one text, which no other can share."""
    texts = sketch.texts_with(ngram)
    rarity = np.where(texts >= 2, np.log2(np.maximum(sketch.rows, 2) / np.maximum(texts, 1)), 0.0)
    return np.where((ngram >> np.uint64(63)) == 1, 1.0, -1.0) * np.maximum(rarity, 0.0)
