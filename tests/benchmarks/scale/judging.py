"""How good a contender's result is, by what it left in its file: `accuracy` first, whatever else there is to know behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.benchmarks.measures import auroc
from tests.benchmarks.scale import vectors
from tests.benchmarks.text import duplicates

Found = Mapping[str, NDArray[Any]]
Judge = Callable[[Path, Found], dict[str, float]]
ALIKE = 4
"""Bits of a perceptual hash."""
COMPARED = 2_000
SCORES = ("label", "outlier", "near_duplicate")


def same(folder: Path, found: Found) -> dict[str, float]:
    """1 where the digest is the one expected."""
    return {"accuracy": float(str(found["digest"]) == (folder / "expected.txt").read_text())}


def recall(folder: Path, found: Found) -> dict[str, float]:
    """The share of the true neighbours in the lists."""
    points, asked, reach = (np.load(folder / f"{name}.npy") for name in ("points", "asked", "farthest"))
    return {"accuracy": vectors.recall(points, asked, reach, found["near"])}


def recognised(folder: Path, found: Found) -> dict[str, float]:
    """The share of pictures, encoded once more with less quality, whose hash differs in few bits; and that of random pairs."""
    hashes = np.asarray(found["hashes"], np.uint64)
    again = min(COMPARED, len(hashes) // 2)
    rng = np.random.default_rng(41)
    strangers = hashes[rng.integers(0, len(hashes), (2, 100_000))]
    near = (np.bitwise_count(hashes[:again] ^ hashes[-again:]) <= ALIKE).mean()
    return {"accuracy": float(near), "strangers_alike": float((np.bitwise_count(strangers[0] ^ strangers[1]) <= ALIKE).mean())}


def ranked(folder: Path, found: Found) -> dict[str, float]:
    """AUROC of the label score for labels that were changed."""
    return {"accuracy": auroc(np.asarray(found["label"], np.float64), np.load(folder / "flipped.npy"))}


def agreement(ours: Found, theirs: Found) -> dict[str, float]:
    """Spearman's rank correlation of each score."""
    from scipy.stats import spearmanr

    return {name: float(spearmanr(ours[name], theirs[name]).statistic) for name in SCORES}


def joined(folder: Path, found: Found) -> dict[str, float]:
    """Recall of copies at a similarity of 0.5 or more, and precision of the pairs."""
    texts, origin, copied = copies(folder)
    told = duplicates.judged(found["pairs"], texts, origin, copied)
    return {"accuracy": told["recall"], "precision": told["precision"], "strict": told["strict"], "pairs": told["pairs"]}


def estimated(folder: Path, found: Found) -> dict[str, float]:
    """1 less the mean error of the similarity that signatures of copies and originals estimate."""
    texts, origin, copied = copies(folder)
    some = np.flatnonzero(copied)[:COMPARED]
    made = found["signatures"]
    guess = (made[some] == made[origin[some]]).mean(axis=1)
    true = np.array([duplicates.similarity(texts[i], texts[origin[i]]) for i in some.tolist()])
    return {"accuracy": float(1 - np.abs(guess - true).mean())}


@lru_cache(maxsize=1)
def copies(folder: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.bool_]]:
    """The documents, the original of each, and which are copies."""
    texts = [text for path in sorted(folder.glob("*.parquet")) for text in pq.read_table(path).column("text").to_pylist()]
    originals = np.load(folder / "originals.npy")
    honest = len(texts) - len(originals)
    return texts, np.r_[np.arange(honest), originals], np.arange(len(texts)) >= honest


def unjudged(folder: Path, found: Found) -> dict[str, float]:
    """Nothing can be wrong."""
    return {"accuracy": 1.0}
