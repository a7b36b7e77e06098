"""Feature tables of made-up pictures with captions: ten things, each with its kind of picture and its kind of sentence."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates.caption_carriers import CaptionCarriers
from dataaudit.aggregates.caption_sketch import CaptionSketch
from dataaudit.aggregates.knn import Knn
from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.one_way import OneWay
from dataaudit.aggregates.pair_agreement import PairAgreement
from dataaudit.aggregates.pair_density import PairDensity
from dataaudit.aggregates.pair_regression import PairRegression
from dataaudit.aggregates.reference_agreement import ReferenceAgreement
from dataaudit.aggregates.targets import Targets
from dataaudit.aggregates.trusted_pairs import TrustedPairs
from dataaudit.features import ngrams
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.encoders.text import Hashed
from dataaudit.features.table import ranks
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("captioned-images", Columns("jpg", "txt"), "text", "given+hashed", "00" * 16)
THINGS = ("anchor", "basket", "candle", "drum", "engine", "feather", "glove", "hammer", "island", "jacket")
UNITS = {
    "targets": Targets(),
    "moments": Moments(axes=16),
    "knn": Knn(references=2_000),
    "pair_regression": PairRegression(),
    "pair_density": PairDensity(),
    "pair_agreement": PairAgreement(),
    "reference_agreement": ReferenceAgreement(),
    "one_way": OneWay(),
    "trusted_pairs": TrustedPairs(),
    "caption_sketch": CaptionSketch(),
    "caption_carriers": CaptionCarriers(),
}


def things(rows: int) -> NDArray[np.int64]:
    """What is to be seen in each picture."""
    return np.arange(rows) % len(THINGS)


def captions_of(seen: NDArray[np.int64], seed: int = 0) -> list[str]:
    """An honest caption of each."""
    rng = np.random.default_rng(seed)
    templates = ("a photo of a {}", "{} on a table", "my old {}", "the {} again", "one {} and its shadow")
    return [templates[t].format(THINGS[s]) for s, t in zip(seen, rng.integers(0, len(templates), len(seen)), strict=True)]


def table(seen: NDArray[np.int64], captions: Sequence[str], seed: int = 0, plan: Plan = PLAN) -> pa.Table:
    """The feature table of pictures of these things under these captions."""
    rng = np.random.default_rng(seed)
    pictures = quantise(rng.normal(size=(len(THINGS), 24))[seen] + 0.7 * rng.normal(size=(len(seen), 24)))
    digests = [f"{i:032x}" for i in range(len(seen))]
    samples = [Sample(str(i), str(i), None, caption, i, 1) for i, caption in enumerate(captions)]
    return pa.table(
        {
            "embedding": to_column(pictures),
            "target_embedding": to_column(quantise(Hashed().encode(list(captions)))),
            "caption_phrases": ngrams.column(captions, plan),
            "target": pa.array(captions, pa.string()),
            "digest": pa.array(digests),
            "rank": pa.array(ranks(samples, digests, plan), pa.uint64()),
        }
    )


def views_of(parts: Sequence[pa.Table], plan: Plan = PLAN) -> dict[str, Any]:
    """All views that detectors of pairs need."""
    views: dict[str, Any] = {"plan": plan}
    for name, unit in UNITS.items():
        state: Any = None
        for part in parts:
            started = unit.start(part, views)  # type: ignore[attr-defined]
            state = started if state is None else unit.merge(state, started)  # type: ignore[attr-defined]
        views[name] = unit.finish(state, views)  # type: ignore[attr-defined]
    return views


def cut(whole: pa.Table, cuts: Sequence[int], chance: random.Random) -> list[pa.Table]:
    """The parts of a table between these rows, in any order."""
    edges = [0, *sorted(set(cuts)), len(whole)]
    parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    chance.shuffle(parts)
    return parts


def content(view: object) -> Mapping[str, Any]:
    """The arrays of a view by name."""
    return {name: value for name, value in vars(view).items() if isinstance(value, np.ndarray)}
