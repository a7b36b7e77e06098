"""A bigram language model learnt from the suspect texts themselves, and the baselines that ask it.

Each text is predicted from all others: whatever it says itself is taken out of the counts once.  Otherwise a made-up word that
occurs nowhere else would be no surprise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.text.words import Floats, Words

Ids = NDArray[np.int64]
DISCOUNT = 0.75


@dataclass(frozen=True, eq=False)
class Bigrams:
    """Interpolated absolute discounting (Ney, Essen, Kneser 1994); id 0 stands between texts, token i is id i + 1.

    `pairs` holds the pairs that occur, ascending, as first * width + second, `count` how often; `followers` is how many distinct
    ids follow an id.
    """

    pairs: Ids
    count: Ids
    single: Ids
    followers: Ids

    @classmethod
    def learnt(cls, said: Ids, width: int) -> Bigrams:
        """From texts end to end, each between zeros."""
        pairs, count = np.unique(said[:-1] * width + said[1:], return_counts=True)
        return cls(pairs, count, np.bincount(said[1:], minlength=width), np.bincount(pairs // width, minlength=width))

    def log_probability(self, first: Ids, second: Ids, own: bool) -> Floats:
        """ln p(second | first), one occurrence of each taken out of the counts, and of the pair where the text has it (`own`)."""
        both = self._occurrences(first, second) - own
        context = np.maximum(self.single[first] - 1, 0)
        followers = self.followers[first] - (both == 0) * own
        ever, kinds = int(self.single.sum()) - 1, len(self.single)
        alone = (np.maximum(self.single[second] - 1 - DISCOUNT, 0) + DISCOUNT * kinds / (kinds + 1)) / max(1, ever)
        seen = np.maximum(context, 1)
        backed = np.where(context > 0, DISCOUNT * np.maximum(followers, 1) / seen, 1.0)
        return np.asarray(np.log(np.maximum(both - DISCOUNT, 0) / seen + backed * alone))

    def _occurrences(self, first: Ids, second: Ids) -> Ids:
        wanted = first * len(self.single) + second
        at = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        return np.where(self.pairs[at] == wanted, self.count[at], 0)


def perplexity(words: Words) -> Floats:
    """exp(-mean ln p) of each text's tokens and its end under the bigram model of all other texts; a text without tokens is 0.

    The filter of CCNet (Wenzek et al. 2020), arXiv:1911.00359, and of Jain et al. 2023 against suffixes, arXiv:2309.00614, there
    with a model trained on other text: the one here has seen the poisons too, less the text in question.
    """
    _, _, chance = _read(words)
    return np.where(words.lengths > 0, np.exp(-_sums(chance, words) / (words.lengths + 1)), 0.0)


def onion(words: Words) -> Floats:
    """The largest drop of a text's perplexity when one token is removed.

    Qi, Chen, Li, Yao, Liu, Sun: ONION: a simple and effective defense against textual backdoor attacks (EMNLP 2021),
    arXiv:2011.10369.  They ask GPT-2, and remove words whose drop exceeds a threshold tuned on clean text; here the model is the
    bigram model of the suspect texts, and the drop itself ranks.  Texts of fewer than two tokens drop by 0.
    """
    model, said, chance = _read(words)
    row = np.repeat(np.arange(len(words.lengths)), words.lengths)
    at = np.arange(len(words.ids)) + row + 1  # where each token stands in `said`; its own pair is the one before
    whole = _sums(chance, words)
    skipped = model.log_probability(said[at - 1], said[at + 1], own=False)
    left = whole[row] - chance[at - 1] - chance[at] + skipped
    size = words.lengths[row]
    drop = np.exp(-whole[row] / (size + 1)) - np.exp(-left / np.maximum(size, 1))
    largest = np.zeros(len(words.lengths))
    np.maximum.at(largest, row[size > 1], drop[size > 1])
    return largest


def _read(words: Words) -> tuple[Bigrams, Ids, Floats]:
    """The model, all texts end to end, each between zeros, and ln p of every id but the first."""
    said = np.append(np.insert(words.ids + 1, words.offsets[:-1], 0), 0)
    model = Bigrams.learnt(said, words.size + 1)
    return model, said, model.log_probability(said[:-1], said[1:], own=True)


def _sums(chance: Floats, words: Words) -> Floats:
    """The sum of ln p of each text's tokens and its end."""
    return np.add.reduceat(chance, words.offsets[:-1] + np.arange(len(words.lengths)))
