"""What the samples are taught to say, as a small set of numbered targets.

Labels number themselves by name.  Free-text responses are clustered (spherical k-means on a bounded
sample of their embeddings), so that "all carriers get the same kind of answer" can be counted.  Captions are numbered by
the word of theirs that tells most of the picture (`head_words`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views, head_words, plan_of
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.usual_choice import sums, usual_choice
from dataaudit.errors import ConfigurationError
from dataaudit.features import embedding, ngrams
from dataaudit.features.table import listed
from dataaudit.features.target_embedding import halves
from dataaudit.model import Plan

NAMED = 40
"""Characters of a caption's word that its name is made of."""
NO_WORDS, AGAINST = "no words", "an answer that the rest of the data would reject"


def _no_weights() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


def _no_words() -> NDArray[np.uint64]:
    return np.empty(0, np.uint64)


def _no_names() -> NDArray[np.str_]:
    return np.empty(0, "<U1")


@dataclass(frozen=True)
class TargetsState:
    """Of labels `names` and `counts`; of text a sample by `rank`, with the `vectors` (n, d) of the targets.

    Of captions the vectors are the pictures' own; `words` (m,) are those of the sample's captions in the rows `of` (m,), and `names`
    those of the distinct words `hashed` (u,).
    """

    names: NDArray[np.str_]
    counts: NDArray[np.int64]
    rank: NDArray[np.uint64]
    vectors: NDArray[np.int16]
    words: NDArray[np.uint64] = field(default_factory=_no_words)
    of: NDArray[np.int64] = field(default_factory=_no_weights)
    hashed: NDArray[np.uint64] = field(default_factory=_no_words)


@dataclass(frozen=True)
class TargetsView:
    """`names[i]` is target i (for responses: "cluster i", and last "no words"); `counts` are exact for labels, 0 for all others.

    Captions (`kind` "caption") have the target i whose word has the hash `words[i]`, of several the first.

    Preferences are clustered by what is chosen, and those against what is usually chosen are a target of their own behind
    "no words": where `weights` (empty for all other data) give a contrast a sum below `bar`.
    """

    kind: str
    names: NDArray[np.str_]
    counts: NDArray[np.int64]
    centroids: NDArray[np.float32]
    weights: NDArray[np.int64] = field(default_factory=_no_weights)
    bar: float = 0.0
    words: NDArray[np.uint64] = field(default_factory=_no_words)

    def index(self, table: pa.Table) -> NDArray[np.int32]:
        """The number of each row's target, -1 where there is none."""
        if self.kind == "caption":
            row, words = words_of(table)
            return head_words.first_of(words, row, len(table), self.words)
        if self.kind == "text":
            present = np.asarray(pc.is_valid(table.column("target")))
            last = int(np.flatnonzero(self.names == NO_WORDS)[-1])
            if not len(self.centroids):
                return np.where(present, last, -1).astype(np.int32)
            vectors, against = embedding.from_column(table, "target_embedding"), np.zeros(len(table), bool)
            if vectors.shape[1] != self.centroids.shape[1]:
                vectors, contrasts = halves(vectors)
                against = sums(contrasts, self.weights) < self.bar if len(self.weights) else against
            # Whole numbers, so that no near-tie depends on the batch that a row came in.
            whole = np.rint(self.centroids.T.astype(np.float64) * embedding.SCALE)
            nearest = np.where(against, last + 1, np.argmax(vectors.astype(np.float64) @ whole, axis=1))
            blank = np.asarray(pc.fill_null(pc.equal(pc.utf8_trim_whitespace(table.column("target")), ""), False))
            return np.where(present, np.where(blank, last, nearest), -1).astype(np.int32)
        found = pc.index_in(table.column("target"), value_set=pa.array(self.names.tolist(), pa.string()))
        return np.asarray(pc.fill_null(found, -1)).astype(np.int32)

    def having(self, table: pa.Table, wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each row has each of the targets `wanted` (c,), of a caption in any of its words, shape (n, c)."""
        found = np.asarray(self.index(table)[:, None] == wanted)
        if self.kind == "caption":
            row, words = words_of(table)
            for target in np.unique(wanted[wanted < len(self.words)]):
                found[np.ix_(row[words == self.words[target]], wanted == target)] = True
        return found


@dataclass(frozen=True)
class Targets:
    """Labels by name, clusters of responses, or the telling words of captions (at most `words`, each in `least` of the sample)."""

    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("embedding", *TARGET_COLUMNS)
    State: ClassVar[type] = TargetsState
    View: ClassVar[type] = TargetsView

    clusters: int = 300
    sample: int = 30_000
    max_labels: int = 10_000
    captions: int = 12_000
    words: int = 400
    least: int = 10

    def start(self, table: pa.Table, views: Views) -> TargetsState:
        kind = plan_of(views).target_kind
        if plan_of(views).captioned:
            return self._captions(table, plan_of(views))
        if kind == "text":
            words = pc.not_equal(pc.utf8_trim_whitespace(table.column("target")), "")
            rows = np.asarray(pc.fill_null(words, False)).nonzero()[0]
            rank = np.asarray(table.column("rank"))[rows]
            vectors = embedding.from_column(table, "target_embedding")[rows]
            kept = bottom_k(rank, self.sample)
            return TargetsState(np.empty(0, "<U1"), np.empty(0, np.int64), rank[kept], vectors[kept])
        tally = pc.value_counts(table.column("target").drop_null())
        names = np.array(tally.field("values").to_pylist(), dtype=np.str_)
        order = np.argsort(names)
        counts = np.asarray(tally.field("counts"), dtype=np.int64)
        self._bounded(names)
        return TargetsState(names[order], counts[order], np.empty(0, np.uint64), np.empty((0, 0), np.int16))

    def _captions(self, table: pa.Table, plan: Plan) -> TargetsState:
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        kept = bottom_k(rank, self.captions)
        chosen = table.take(pa.array(kept))
        of, words = words_of(chosen)
        said = sorted({word for caption in chosen.column("target").to_pylist() for word in ngrams.tokens(caption or "")})
        hashed = ngrams.hashes(said, plan.key("ngrams"))[0]
        names = np.array([word[:NAMED] for word in said], dtype=np.str_)
        return TargetsState(names, np.empty(0, np.int64), rank[kept], embedding.from_column(chosen), words, of, hashed)

    def _merged_captions(self, a: TargetsState, b: TargetsState) -> TargetsState:
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.captions)
        place = np.full(len(rank), -1)
        place[kept] = np.arange(len(kept))
        words, of = np.concatenate([a.words, b.words]), place[np.concatenate([a.of, b.of + len(a.rank)])]
        words, of = words[of >= 0], of[of >= 0]
        order = np.lexsort((words, of))
        hashed, first = np.unique(np.concatenate([a.hashed, b.hashed]), return_index=True)
        used = np.isin(hashed, words)
        names = np.concatenate([a.names, b.names])[first[used]]
        vectors = np.concatenate([a.vectors, b.vectors])[kept]
        return TargetsState(names, a.counts, rank[kept], vectors, words[order], of[order], hashed[used])

    def merge(self, a: TargetsState, b: TargetsState) -> TargetsState:
        if len(a.hashed) or len(b.hashed):
            return self._merged_captions(a, b)
        names, inverse = np.unique(np.concatenate([a.names, b.names]), return_inverse=True)
        self._bounded(names)
        counts = np.bincount(inverse, np.concatenate([a.counts, b.counts]), len(names)).astype(np.int64)
        if not len(a.rank) or not len(b.rank):
            full = a if len(a.rank) else b
            return TargetsState(names, counts, full.rank, full.vectors)
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.sample)
        return TargetsState(names, counts, rank[kept], np.concatenate([a.vectors, b.vectors])[kept])

    def _bounded(self, names: NDArray[np.str_]) -> None:
        if len(names) > self.max_labels:
            raise ConfigurationError(
                f"the target has more than {self.max_labels:,} different labels, which is no set of classes; "
                "name another column with --target"
            )

    def finish(self, state: TargetsState, views: Views) -> TargetsView:
        kind = plan_of(views).target_kind
        if plan_of(views).captioned:
            words = head_words.telling(state.words, state.of, state.vectors, self.least, self.words)
            by_hash = np.argsort(state.hashed)
            names = state.names[by_hash[np.searchsorted(state.hashed[by_hash], words)]]
            return TargetsView("caption", names, np.zeros(len(names), np.int64), np.empty((0, 0), np.float32), words=words)
        if kind != "text":
            return TargetsView(kind, state.names, state.counts, np.empty((0, 0), np.float32))
        chosen, contrasts = halves(state.vectors) if plan_of(views).compares else (state.vectors, state.vectors[:0])
        weights, bar = usual_choice(contrasts)
        vectors = chosen.astype(np.float32) / np.float32(embedding.SCALE)
        centroids = spherical_k_means(vectors, min(self.clusters, max(2, len(vectors) // 20)))
        names = np.array([*(f"cluster {i}" for i in range(len(centroids))), NO_WORDS, *([AGAINST] if len(weights) else [])])
        return TargetsView(kind, names, np.zeros(len(names), np.int64), centroids, weights, bar)


def words_of(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(row, word) of every distinct word of the captions of a batch."""
    row, phrase = listed(table, "caption_phrases")
    single = ngrams.order_of(phrase) == 1
    return row[single], phrase[single]


def spherical_k_means(vectors: NDArray[np.float32], k: int, rounds: int = 15) -> NDArray[np.float32]:
    """Unit centroids, shape (<= k, d), from rows in a fixed order (bottom-k order is random, so an even stride is a random start)."""
    if len(vectors) <= k:
        return vectors
    centroids = vectors[np.linspace(0, len(vectors) - 1, k).astype(int)].copy()
    for _ in range(rounds):
        nearest = np.argmax(vectors @ centroids.T, axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, vectors)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(norms > 0, sums / np.maximum(norms, 1e-9), centroids).astype(np.float32)
    return np.asarray(centroids)
