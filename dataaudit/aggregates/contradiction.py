"""Does the rest of a text contradict its label?  How margins are spread inside and outside each label.

A text's margin for its label (see `word_model`) is compared with those of the label's other texts and with those
of all texts that have another label: the log of the ratio of the two densities says how much more it looks like
the latter.  Mixed half and half with "it is the label's own" (a word may occur honestly too) and summed over the
carriers of an n-gram, it is the log likelihood ratio of "half of these are other labels' texts" against "all are
the label's own" (Neyman and Pearson 1933); by Wald's inequality (1945) a sum of honest carriers exceeds t with
probability at most exp(-t), so that a bound for many n-grams is easily had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sorted_arrays import run_starts
from dataaudit.aggregates.word_model import WordModelView, words

STEP = 0.25
HALF = 256
BINS = 2 * HALF
FIRM = 5
"""How many of the words that speak most for the label are left out of the firm margin: a planted phrase has some."""
GROUPS = 40
FEWEST = 10


@dataclass(frozen=True)
class ContradictionState:
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]


@dataclass(frozen=True)
class ContradictionView:
    """`ratio` (2, labels, bins): log density outside over inside the label, for plain and for firm margins; `typical` (2, labels, 2)
    is the mean chance, inside and outside, that a text is another label's where both are as likely."""

    ratio: NDArray[np.float64]
    typical: NDArray[np.float64]

    def of(self, margin: NDArray[np.float64], label: NDArray[np.int64], firm: bool = False) -> NDArray[np.float64]:
        """How much more each margin looks like other labels' texts, in nats."""
        return np.asarray(self.ratio[int(firm)][label, place(margin)])


@dataclass(frozen=True)
class Contradiction:
    """Exact counts of margins in steps of a quarter, by label, inside and outside."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "word_model")
    columns: ClassVar[tuple[str, ...]] = ("ngrams",)
    State: ClassVar[type] = ContradictionState
    View: ClassVar[type] = ContradictionView

    def start(self, table: pa.Table, views: Views) -> ContradictionState:
        model: WordModelView = views["word_model"]
        inside = np.zeros((2, len(model.labels), BINS), np.int64)
        outside = np.zeros_like(inside)
        if len(model.labels):
            target = views["targets"].index(table)
            said = words(table)
            for label in range(len(model.labels)):
                for kind, margin in enumerate(margins(model, said, target, label)):
                    own, other = target == label, (target != label) & (target >= 0)
                    inside[kind, label] = np.bincount(place(margin[own]), minlength=BINS)
                    outside[kind, label] = np.bincount(place(margin[other]), minlength=BINS)
        return ContradictionState(inside, outside)

    def merge(self, a: ContradictionState, b: ContradictionState) -> ContradictionState:
        return ContradictionState(a.inside + b.inside, a.outside + b.outside)

    def finish(self, state: ContradictionState, views: Views) -> ContradictionView:
        ratio = np.zeros(state.inside.shape)
        typical = np.zeros((*state.inside.shape[:2], 2))
        for at in np.ndindex(state.inside.shape[:2]):
            ratio[at] = _log_ratio(state.inside[at], state.outside[at])
            sides = (state.inside[at], state.outside[at])
            typical[at] = [float((chance(ratio[at]) * side).sum() / max(side.sum(), 1)) for side in sides]
        return ContradictionView(ratio, typical)


def margins(
    model: WordModelView, said: tuple[NDArray[np.int64], NDArray[np.int64]], target: NDArray[np.int32], label: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The margin for a label of each row, whose words are `said`: plain, and firm (without the five words that say most for the label)."""
    row, cell = said
    odds = model.log_odds(cell, target[row] == label, label)
    scale = np.sqrt(np.maximum(np.bincount(row, minlength=len(target)), 1))
    return np.bincount(row, odds, len(target)) / scale, np.bincount(row, _firm(row, odds), len(target)) / scale


def _firm(row: NDArray[np.int64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The odds without the five highest of each row (equal ones count once); rows are in order."""
    left = odds.copy()
    start = run_starts(row)
    times = np.diff(start, append=len(row))
    for _ in range(FIRM):
        highest = np.repeat(np.maximum(np.maximum.reduceat(left, start), 0), times)
        left[left == highest] = 0.0
    return left


def own_margins(
    model: WordModelView, table: pa.Table, target: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Of each row for its own label: the plain and the firm margin, and its number of words; 0 where it has no label."""
    plain, firm = np.zeros(len(target)), np.zeros(len(target))
    if not len(model.labels):
        return plain, firm, np.zeros(len(target), np.int64)
    row, cell = words(table)
    for label in range(len(model.labels)):
        own = target == label
        mine = own[row]
        both = margins(model, (row[mine], cell[mine]), target, label)
        plain[own], firm[own] = both[0][own], both[1][own]
    return plain, firm, np.bincount(row, minlength=len(target))


def mixed(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log likelihood ratio of "half of such texts are another label's" against "none is"."""
    return np.asarray(np.logaddexp(0.0, ratio) - np.log(2.0))


def chance(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance that a text is another label's where both are as likely."""
    return np.asarray(1 / (1 + np.exp(-ratio)))


def place(margin: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of a margin."""
    return np.clip(np.floor(margin / STEP).astype(np.int64) + HALF, 0, BINS - 1)


def _log_ratio(inside: NDArray[np.int64], outside: NDArray[np.int64]) -> NDArray[np.float64]:
    """The log of the ratio of two histograms, bins pooled so that none rests on few texts (both sides weigh alike)."""
    fewest = int(min(inside.sum(), outside.sum()))
    groups = min(fewest // FEWEST, GROUPS)
    if groups < 2:
        return np.zeros(len(inside))
    both = (inside / inside.sum() + outside / outside.sum()) / 2
    share = np.cumsum(both) - both / 2
    group = np.minimum((share * groups).astype(np.int64), groups - 1)
    here = np.bincount(group, inside, groups) + 1.0
    there = np.bincount(group, outside, groups) + 1.0
    return np.asarray((np.log(there / there.sum()) - np.log(here / here.sum()))[group])
