"""Whether the carriers of an n-gram look like other labels' texts, the n-gram itself left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.contradiction import ContradictionView, own_margins
from dataaudit.aggregates.ngram_pairs import NgramPairsView
from dataaudit.aggregates.word_model import WordModelView, word_cell


@dataclass(frozen=True)
class Leaning:
    """The plain margin (n,) of each row for its own label, its number of words (n,), what each candidate's words add to it, and the
    densities."""

    margin: NDArray[np.float64]
    words: NDArray[np.int64]
    odds: NDArray[np.float64]
    densities: ContradictionView

    @classmethod
    def of(cls, table: pa.Table, target: NDArray[np.int32], candidates: NgramPairsView, views: Views) -> Leaning:
        """Of the rows of a batch and all candidates."""
        margin, _, words = own_margins(views["word_model"], table, target)
        return cls(margin, words, own_odds(views["word_model"], candidates), views["contradiction"])

    @property
    def tells(self) -> bool:
        """Whether there is a word model at all."""
        return bool(self.densities.ratio.shape[1])

    def against(self, row: NDArray[np.int64], candidate: NDArray[np.intp], target: NDArray[np.int32]) -> NDArray[np.float64]:
        """How much more each carrier looks like other labels' texts, the candidate's own words left out, in nats."""
        if not self.tells:
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
