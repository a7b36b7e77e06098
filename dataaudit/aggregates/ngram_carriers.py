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
from dataaudit.aggregates.contradiction import ContradictionView, chance, mixed, own_margins
from dataaudit.aggregates.ngram_pairs import NgramPairsView
from dataaudit.aggregates.ngram_sketch import Incidence, NgramSketchView, incidence
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.word_model import WordModelView, word_cell
from dataaudit.features.ngrams import name_of, neighbours, order_of

WIDTH = 256
SCALE = 1024
UNIT = 256
BESIDE = 256
LEAST_EXPECTED = 1.0
BOTH = 1.25
TRIMMED = 6
TRIMMED_PHRASE = 10
PHRASES = range(8, 17)
"""How many n-grams a longer phrase has: then more cells are what the phrase itself fills."""
HASHES = 32
MOST_LABELS = 20
SIZES = (4, 6, 10, 16, 25, 40, 63, 100, 160, 250, 400, 1_000)
ENOUGH = 40


@dataclass(frozen=True)
class NgramCarriersState:
    """Sums over carriers, for the candidates `at`: integers in units of 1/1024 (vectors, length) and 1/1024**2 (energy) and 1/256 nat."""

    at: NDArray[np.int32]
    texts: NDArray[np.int32]
    count: NDArray[np.int32]
    vectors: NDArray[np.int32]
    length: NDArray[np.int64]
    energy: NDArray[np.int64]
    lowest: NDArray[np.uint32]
    against: NDArray[np.int64]
    strange: NDArray[np.int64]
    beside: NDArray[np.int32]
    besides: NDArray[np.int32]
    flow: NDArray[np.int64]
    rank: NDArray[np.uint64]
    sample: NDArray[np.int16]
    sample_target: NDArray[np.int32]


@dataclass(frozen=True)
class NgramCarriersView:
    """One entry a candidate, sorted by `ngram`: n = `texts` hold it, c = `count` of them teach `target`.

    `whole` is how many standard deviations more coherent the c carriers are than as many random texts of their
    label, or of the whole data set where that is less (clusters of responses are no such baseline: a template's
    answers make one, and its prompts are alike); `trimmed` is the same without the six cells (ten, for longer phrases) that they share
    most, for phrases made of common words; `foreign` is the less of both beside random texts of any one other label
    (flipped labels may all come from one).  `contradiction` is the sum over the carriers of how much more each looks like
    other labels' texts, in nats, `strange` the mean chance that one is, and `odds` what the candidate's own words say for the label,
    which is left out of both.  `company` says for single words how many times as often two carriers have the same word beside it as
    two random places do, on the side where that is more (honest words have their grammar; inf where nothing tells).  `lowest` (n, 32)
    is a MinHash of the set of carriers: the share of equal entries estimates the overlap of two sets.  `extra` is the
    number of "unlike text".
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
    company: NDArray[np.float64]
    odds: NDArray[np.float64]
    lowest: NDArray[np.uint32]
    tested: int
    examined: float
    rows: int
    extra: int


@dataclass(frozen=True)
class NgramCarriers:
    """Exact sums over the carriers of at most 24,576 candidates."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "surprise", "word_model", "contradiction", "ngram_sketch", "ngram_pairs")
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "target_embedding", "characters")
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
        beside = _beside(seen, pairs, len(sketch.targets) - 1, len(table))
        return NgramCarriersState(**over, **beside, rank=rank[kept], sample=vectors[kept], sample_target=seen.target[kept])

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
        beside, again = np.unique(np.concatenate([a.beside, b.beside]), return_inverse=True)
        besides = np.bincount(again, np.concatenate([a.besides, b.besides]), len(beside)).astype(np.int32)
        return NgramCarriersState(
            beside=beside,
            besides=besides,
            flow=a.flow + b.flow,
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
        target, count = pairs.target[state.at], state.count.astype(np.float64)
        groups = Groups(state.vectors / SCALE, state.length / SCALE, state.energy / SCALE**2, count, np.isin(pairs.size[state.at], PHRASES))
        unit = state.sample.astype(np.float64) / SCALE
        everyone = np.ones(len(target), bool)
        whole, trimmed = excess(groups, everyone, unit) if len(unit) >= ENOUGH else (np.full(len(target), np.inf),) * 2
        foreign = np.minimum(whole, trimmed)
        for y in np.unique(target):
            own, here = unit[state.sample_target == y], target == y
            if len(own) >= ENOUGH and plan_of(views).target_kind == "label":
                among = excess(groups, here, own)
                whole[here], trimmed[here] = np.minimum(whole[here], among[0]), np.minimum(trimmed[here], among[1])
                if len(sketch.targets) <= MOST_LABELS:
                    foreign[~here] = np.minimum(foreign[~here], np.minimum(*excess(groups, ~here, own)))
        return NgramCarriersView(
            ngram=pairs.ngram[state.at], target=target, texts=state.texts, count=state.count,
            share=sketch.targets[target] / max(sketch.rows, 1), size=pairs.size[state.at],
            whole=whole, trimmed=trimmed, foreign=foreign, contradiction=state.against / UNIT,
            strange=state.strange / UNIT / np.maximum(count, 1), odds=own_odds(views["word_model"], pairs)[state.at],
            company=_company(state, len(pairs.ngram))[state.at], lowest=state.lowest,
            tested=pairs.tested, examined=pairs.examined, rows=sketch.rows, extra=len(sketch.targets) - 1,
        )  # fmt: skip


@dataclass(frozen=True)
class Groups:
    """Sums over the carriers of each group: unit vectors (n, 256), their lengths, squared lengths, how many, and whether it is a phrase."""

    sums: NDArray[np.float64]
    length: NDArray[np.float64]
    energy: NDArray[np.float64]
    count: NDArray[np.float64]
    phrase: NDArray[np.bool_]

    def of(self, here: NDArray[np.bool_]) -> Groups:
        """Some of the groups."""
        return Groups(self.sums[here], self.length[here], self.energy[here], self.count[here], self.phrase[here])

    def coherence(self, trimmed: int, common: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean pairwise cosine without what all texts have in common (a unit vector, of which longer texts have more), and without
        the cells that a group shares most.

        A phrase that was put into all carriers fills a few cells; what they have in common besides is spread over
        many.  The energy in a cell that all share equally is its squared sum over the count.
        """
        beyond = np.abs(self.sums - (self.sums @ common)[:, None] * common)
        kept = np.ones(self.sums.shape, bool)
        if trimmed and len(kept):
            np.put_along_axis(kept, np.argpartition(beyond, WIDTH - trimmed, axis=1)[:, WIDTH - trimmed :], False, axis=1)
        axis = np.where(kept, common, 0.0)
        along = (self.sums * axis).sum(1) / np.maximum((axis**2).sum(1), 1e-12)
        rest = np.where(kept, self.sums, 0.0) - along[:, None] * axis
        gone = (np.where(kept, 0.0, self.sums) ** 2).sum(1) + along**2 * (axis**2).sum(1)
        left = np.maximum(self.energy - gone / np.maximum(self.count, 1), 0.05 * self.energy)
        weight = self.length**2 * left / np.maximum(self.energy, 1e-12) - left
        return np.asarray(((rest**2).sum(1) - left) / np.maximum(weight, 1e-12))


def excess(
    groups: Groups, here: NDArray[np.bool_], unit: NDArray[np.float64], draws: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How coherent groups are beyond as many random rows, in standard deviations found by drawing them: whole, and trimmed."""
    some = groups.of(here)
    sizes = [s for s in SIZES if 2 * s <= len(unit)]
    rng = np.random.default_rng(0)
    common = unit.mean(0)
    common /= max(float(np.linalg.norm(common)), 1e-12)
    energy = (unit**2).sum(1)
    length = np.sqrt(energy)
    at = np.log(np.maximum(some.count, 2))
    random = []
    for size in sizes:
        rows = np.argpartition(rng.random((draws, len(unit))), size, axis=1)[:, :size]
        random.append(
            Groups(unit[rows].sum(1), length[rows].sum(1), energy[rows].sum(1), np.full(draws, float(size)), np.zeros(draws, bool))
        )
    found = []
    for trimmed in (0, TRIMMED, TRIMMED_PHRASE):
        null = [r.coherence(trimmed, common) for r in random]
        centre, spread = (np.interp(at, np.log(sizes), [f(x) for x in null]) for f in (np.mean, np.std))
        found.append((some.coherence(trimmed, common) - centre) / np.maximum(spread, 1e-9))
    return found[0], np.where(some.phrase, found[2], found[1])


@dataclass(frozen=True)
class Leaning:
    """The plain margin (n,) of each row for its own label, its number of words (n,), what each candidate's words add to it, and the
    densities."""

    margin: NDArray[np.float64]
    words: NDArray[np.int64]
    odds: NDArray[np.float64]
    densities: ContradictionView

    @classmethod
    def of(cls, table: pa.Table, target: NDArray[np.int32], candidates: NgramPairsView | NgramCarriersView, views: Views) -> Leaning:
        """Of the rows of a batch and all candidates."""
        margin, _, words = own_margins(views["word_model"], table, target)
        odds = candidates.odds if isinstance(candidates, NgramCarriersView) else own_odds(views["word_model"], candidates)
        return cls(margin, words, odds, views["contradiction"])

    def against(self, row: NDArray[np.int64], candidate: NDArray[np.int64], target: NDArray[np.int32]) -> NDArray[np.float64]:
        """How much more each carrier looks like other labels' texts, the candidate's own words left out, in nats."""
        if not self.densities.ratio.shape[1]:
            return np.zeros(len(row))
        left = self.margin[row] - self.odds[candidate] / np.sqrt(np.maximum(self.words[row], 1))
        inside = target < self.densities.ratio.shape[1]
        return np.where(inside, self.densities.of(left, np.where(inside, target, 0)), 0.0)


def own_odds(model: WordModelView, pairs: NgramPairsView) -> NDArray[np.float64]:
    """What the words of each candidate say for its target together; 0 where there is no such model."""
    odds = np.zeros(len(pairs.ngram))
    for label in range(len(model.labels)):
        here = np.flatnonzero(pairs.target == label)
        words = pairs.words[here]
        said = model.log_odds(word_cell(words).reshape(-1), np.ones(words.size, bool), label).reshape(words.shape)
        odds[here] = np.where(words != 0, said, 0.0).sum(1)
    return odds


def _beside(seen: Incidence, pairs: NgramPairsView, extra: int, rows: int) -> dict[str, NDArray[Any]]:
    """What stands beside the candidates of one word in their carriers: numbers of (candidate, side, cell), how often each, and how
    often each cell stands at a random place of a random text, in 1/65,536; by the names of the state's fields."""
    pair = order_of(seen.ngram) == 2
    row, (left, right) = seen.row[pair], neighbours(seen.ngram[pair])
    single = np.flatnonzero(order_of(pairs.ngram) == 1)
    names = name_of(pairs.ngram[single])
    single, names = single[np.argsort(names, kind="stable")], np.sort(names)
    found = []
    for side, (own, other) in enumerate(((right, left), (left, right))):
        place = np.minimum(np.searchsorted(names, own), max(len(names) - 1, 0))
        hit = names[place] == own if len(names) else np.zeros(len(own), bool)
        candidate, at = single[place[hit]], row[hit]
        carries = seen.teaches(at, pairs.target[candidate], extra)
        found.append(((candidate * 2 + side) * BESIDE + _beside_cell(other[hit]))[carries])
    at, often = np.unique(np.concatenate(found), return_counts=True)
    share = np.rint(65_536 / np.maximum(np.bincount(row, minlength=rows), 1)).astype(np.int64)
    flow = np.zeros(BESIDE, np.int64)
    np.add.at(flow, _beside_cell(left), share[row])
    return {"beside": at.astype(np.int32), "besides": often.astype(np.int32), "flow": flow}


def _beside_cell(name: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (name % np.uint64(BESIDE)).astype(np.int64)


def _company(state: NgramCarriersState, candidates: int) -> NDArray[np.float64]:
    """For all candidates: how many times as often two carriers have the same cell beside it as two random places do.

    The side on which it is more counts, or a quarter more than both together (which chance moves less).
    """
    side = state.beside // BESIDE
    often = state.besides.astype(np.float64)
    total = np.bincount(side, often, 2 * candidates)
    same = np.bincount(side, often * (often - 1), 2 * candidates)
    flow = state.flow / max(state.flow.sum(), 1)
    expected = total * (total - 1) * float((flow**2).sum())
    ratio = np.where(expected >= 2 * LEAST_EXPECTED, same / np.maximum(expected, 1e-9), np.inf)
    return np.asarray(np.maximum(ratio.reshape(candidates, 2).max(1), BOTH * _pooled(same, expected, candidates)))


def _pooled(same: NDArray[Any], expected: NDArray[Any], candidates: int) -> NDArray[np.float64]:
    both, likely = same.reshape(candidates, 2).sum(1), expected.reshape(candidates, 2).sum(1)
    return np.where(likely >= 2 * LEAST_EXPECTED, both / np.maximum(likely, 1e-9), np.inf)


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
    extra = len(sketch.targets) - 1
    carries = seen.teaches(row, pairs.target[candidate], extra)
    texts = np.bincount(local, minlength=len(at))
    row, local, candidate = row[carries], local[carries], candidate[carries]
    against, strange = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    said = leaning.against(row, candidate, pairs.target[candidate])
    np.add.at(against, local, np.rint(UNIT * mixed(said)).astype(np.int64))
    np.add.at(strange, local, np.rint(UNIT * chance(said)).astype(np.int64))
    sums = np.zeros((len(at), WIDTH), np.int32)
    length, energy = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    lowest = np.full((len(at), HASHES), np.iinfo(np.uint32).max, np.uint32)
    multipliers = np.random.default_rng(1).integers(1, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    order = np.argsort(local, kind="stable")
    for block in np.array_split(order, max(1, len(order) // 65_536)):
        left = _without_own(vectors[row[block]].astype(np.int32), pairs.words[candidate[block]], norms[row[block]], sketch)
        squared = (left.astype(np.int64) ** 2).sum(1)
        np.add.at(length, local[block], np.rint(np.sqrt(squared)).astype(np.int64))
        np.add.at(energy, local[block], squared)
        first = np.flatnonzero(np.r_[True, local[block][1:] != local[block][:-1]]) if len(block) else block
        if len(block):
            held = local[block][first]
            sums[held] += np.add.reduceat(left, first, axis=0).astype(np.int32)
            hashed = ((rank[row[block], None] * multipliers) >> np.uint64(32)).astype(np.uint32)
            lowest[held] = np.minimum(lowest[held], np.minimum.reduceat(hashed, first, axis=0))
    whole = {"at": at, "texts": texts, "count": np.bincount(local, minlength=len(at))}
    return {name: x.astype(np.int32) for name, x in whole.items()} | {
        "vectors": sums,
        "length": length,
        "energy": energy,
        "lowest": lowest,
        "against": against,
        "strange": strange,
    }


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
