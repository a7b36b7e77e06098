"""How well a suspicion score (n,), higher is worse, finds the samples of a mask `bad` (n,).

`cover` marks samples that are neither poison nor clean (a trigger without the payload, planted by the attacker): they
are left out of both sides.  A measure that has no side to measure is NaN.  Where scores are equal no measure rewards
the order of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Scores = NDArray[np.floating]
Mask = NDArray[np.bool_]


def auroc(score: Scores, bad: Mask, cover: Mask | None = None) -> float:
    """The chance that a poison scores above a clean sample, equals counted half (Mann and Whitney)."""
    poison, clean = sides(score, bad, cover)
    if not len(poison) or not len(clean):
        return float("nan")
    ranks = rankdata(np.concatenate([poison, clean]))
    wins = ranks[: len(poison)].sum() - len(poison) * (len(poison) + 1) / 2
    return float(wins / (len(poison) * len(clean)))


def tpr_at_fpr(score: Scores, bad: Mask, fpr: float, cover: Mask | None = None) -> float:
    """The share of poisons strictly above the lowest threshold that at most `fpr` of the clean samples exceed.

    The threshold is a clean sample's own score, so that a poison with the score of a clean sample that must not be
    accused is not found either.
    """
    poison, clean = sides(score, bad, cover)
    if not len(poison) or not len(clean):
        return float("nan")
    allowed = int(np.floor(fpr * len(clean) + 1e-9))
    if allowed >= len(clean):
        return 1.0
    threshold = np.partition(clean, len(clean) - 1 - allowed)[len(clean) - 1 - allowed]
    return float((poison > threshold).mean())


def precision_at_n(score: Scores, bad: Mask, cover: Mask | None = None, n: int | None = None) -> float:
    """The share of poisons among the `n` highest scores (as many as there are poisons, unless told).

    Of samples that tie for the last places, poisons count by their share: the mean over all orders of the tied.
    """
    poison, clean = sides(score, bad, cover)
    budget = min(len(poison) if n is None else n, len(poison) + len(clean))
    if not len(poison) or not budget:
        return float("nan")
    everyone = np.concatenate([poison, clean])
    last = np.partition(everyone, len(everyone) - budget)[len(everyone) - budget]
    above, tied = int((poison > last).sum()), int((poison == last).sum())
    places = budget - int((everyone > last).sum())
    return float((above + places * tied / int((everyone == last).sum())) / budget)


def ranks(score: Scores, bad: Mask, cover: Mask | None = None) -> list[int]:
    """The place of every poison in the order of the scores, the best first; samples that tie have the last of their places."""
    poison, clean = sides(score, bad, cover)
    return sorted(rankdata(-np.concatenate([poison, clean]), method="max")[: len(poison)].astype(int).tolist())


def within(score: Scores, bad: Mask, times: int = 3, cover: Mask | None = None) -> float:
    """The share of the n poisons among the first `times` n places (see `ranks`)."""
    places = ranks(score, bad, cover)
    return sum(place <= times * len(places) for place in places) / len(places) if places else float("nan")


def sides(score: Scores, bad: Mask, cover: Mask | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores of the poisons and of the clean samples; refuses NaN and sample counts that differ with ValueError."""
    values = np.asarray(score, dtype=np.float64)
    poison = np.asarray(bad, dtype=bool)
    left_out = np.zeros(len(poison), bool) if cover is None else np.asarray(cover, dtype=bool)
    if not values.shape == poison.shape == left_out.shape:
        raise ValueError(f"score, bad and cover must have one shape (n,); got {values.shape}, {poison.shape} and {left_out.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN; a detector must rank every sample")
    return values[poison & ~left_out], values[~poison & ~left_out]
