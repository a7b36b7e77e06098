"""Which baselines are run on a corpus, what each is shown, and why some cannot be.

All see the same planted texts as our own audit.  What takes the place of labels in a corpus of responses is clusters of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.features.encoders.text import Hashed, MiniLM
from dataaudit.store.records import atomic
from tests.benchmarks import ours
from tests.benchmarks.images import baselines as of_vectors
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import baselines, language
from tests.benchmarks.text.corpora import Corpus
from tests.benchmarks.text.planted import Planted
from tests.benchmarks.text.words import Floats, Labels, Words, reduced, response_clusters

MOST_ENCODED = 10_000
"""Texts that MiniLM is asked to encode, at 20 to 300 a second; more get the hashed encoder, which knows no meaning."""


@dataclass(frozen=True, eq=False)
class Suspects:
    """The planted texts in every form that a baseline asks for; a form that such texts do not have raises `Missing`."""

    made: Planted
    cache: Path

    @property
    def encoder(self) -> str:
        """The encoder that is quick enough."""
        return "minilm" if len(self.made.bad) <= MOST_ENCODED else "hashed"

    @cached_property
    def pairs(self) -> tuple[tuple[str, str | None], ...]:
        """Content and target of every row."""
        return tuple(self.made.pair(row) for row in range(len(self.made.bad)))

    @cached_property
    def contents(self) -> Words:
        """The contents."""
        return Words.of([content for content, _ in self.pairs])

    @cached_property
    def responses(self) -> Words:
        """The responses."""
        if self.made.corpus.kind != "text":
            raise Missing("needs responses")
        return Words.of([response or "" for _, response in self.pairs])

    @cached_property
    def labels(self) -> Labels:
        """The labels, or clusters of the responses."""
        if self.made.corpus.kind == "none":
            raise Missing("needs labels or responses")
        if self.made.corpus.kind == "text":
            return response_clusters(self.responses)
        return np.unique([str(label) for _, label in self.pairs], return_inverse=True)[1].astype(np.int64)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """Embeddings of the contents; those of the clean texts are kept where they take minutes."""
        if self.encoder == "hashed":
            return Hashed().encode([content for content, _ in self.pairs])
        vectors = encoded(self.made.corpus, self.cache)
        rows = sorted(self.made.changed)
        vectors[rows] = MiniLM().encode([self.pairs[row][0] for row in rows])
        return vectors

    @property
    def texts(self) -> list[str]:
        """Content and target as one text, without a label."""
        whole = self.made.corpus.kind == "text"
        return [f"{content}\n{target}" if whole else content for content, target in self.pairs]


def encoded(corpus: Corpus, cache: Path) -> NDArray[np.float32]:
    """MiniLM vectors of the clean contents, a copy of what is kept."""
    kept = cache / "text-minilm" / f"{corpus.name}-{corpus.version[:12]}-{len(corpus.contents)}.npy"
    if not kept.exists():
        vectors = MiniLM().encode(corpus.contents)
        with atomic(kept) as out:
            np.save(out, vectors)
    return np.asarray(np.load(kept), dtype=np.float32)


def contenders(seen: Suspects) -> Iterator[tuple[str, str, Callable[[], Floats]]]:
    """Name, what is looked at, and the score; no one is told the share of poison or a clean set.

    What several need is made for the first that asks for it, and counts as its seconds.
    """
    said = "clusters of responses" if seen.made.corpus.kind == "text" else "labels"
    spoken = seen.made.corpus.kind == "text"
    embedded = f"contents by {seen.encoder}, {said}"
    yield "z-score", f"contents, {said}", lambda: baselines.z_score(seen.contents, seen.labels)
    yield "spectral", embedded, lambda: of_vectors.spectral_signatures(seen.vectors, seen.labels)
    yield "activation-clustering", embedded, lambda: of_vectors.activation_clustering(seen.vectors, seen.labels)
    yield "cube", embedded, lambda: baselines.cube(seen.vectors, seen.labels)
    yield "rftc", "contents, responses", lambda: baselines.rftc(seen.contents, seen.responses)
    yield "onion", "contents", lambda: language.onion(seen.contents)
    yield "confident-learning", f"contents, {said}", lambda: confident(seen)
    yield "perplexity", "responses" if spoken else "contents", lambda: language.perplexity(seen.responses if spoken else seen.contents)
    yield "duplicates", "contents and responses" if spoken else "contents", lambda: baselines.duplicates(seen.texts)


def confident(seen: Suspects) -> Floats:
    """Confident learning on TF-IDF; on its components where there are many classes, which would take hours otherwise."""
    labels, inputs = seen.labels, seen.contents.tf_idf()
    if seen.made.corpus.kind == "text":
        return of_vectors.self_confidence(baselines.out_of_fold(reduced(inputs, 128), labels), labels)
    return of_vectors.self_confidence(baselines.out_of_fold(inputs, labels), labels)


def ranked(made: Planted, cache: Path) -> dict[str, Any]:
    """The ranking of every baseline, or why it failed; nothing where there is nothing to rank."""
    found: dict[str, Any] = {}
    for name, looked_at, score in contenders(Suspects(made, cache)) if made.expected else ():
        started = time.perf_counter()
        try:
            figures: dict[str, Any] = dict(ours.ranking(score(), made))
        except Missing as missing:
            figures = {"failed": str(missing)}
        except Exception as error:  # noqa: BLE001  a baseline that fails must not hide the others
            figures = {"failed": f"{type(error).__name__}: {error}"}
        found[name] = figures | {"sees": looked_at, "seconds": round(time.perf_counter() - started, 1)}
    return found
