"""The n-grams of a text as salted 64-bit hashes: what a trigger would be made of.

Tokens are lower-cased runs of word characters (any alphabet, digits, underscore), single characters of scripts
that write no spaces (Han, Kana, Thai, Lao, Khmer, Myanmar, Tibetan, Javanese, Tai, Cham) and runs of anything else but white space, so
that "!!!", an emoji or an invisible character is a token too, even inside a word.  Nothing is normalised away
beyond case: a look-alike letter is just what a trigger may consist of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch
from dataaudit.features.table import lists
from dataaudit.model import Modality, Plan, keyed_hash

ORDERS = 3
MAX_CHARACTERS = 20_000
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua980-\ua9df\uaa00-\uaa5f\uf900-\ufaff\uff66-\uff9d\U00020000-\U000323af"
)
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4"
    "\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0900-\u0dff\u1ab0-\u1aff\u1b00-\u1b4b\u1dc0-\u1dff\ufe20-\ufe2f"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[\w{_MARKS}])+|[^\w\s{_UNSPACED}{_MARKS}]+")
_STEP = np.uint64(0x9E3779B97F4A7C15)
_word_hash = lru_cache(maxsize=1 << 18)(keyed_hash)


@dataclass(frozen=True)
class Ngrams:
    """The distinct word 1- to 3-grams of the content, as a sorted list of uint64 (the low two bits tell the order: 1, 2, 3).

    Only the first 20,000 characters are read; a trigger beyond them is not seen.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-text", "instructions", "text")

    def compute(self, batch: Batch) -> pa.Array:
        return column(batch.texts, batch.plan)


def column(texts: Sequence[str], plan: Plan) -> pa.Array:
    """The distinct n-grams of each text."""
    key = plan.key("ngrams")
    return lists([np.unique(np.concatenate(hashes(tokens(text), key))) for text in texts], pa.uint64())


def tokens(text: str) -> list[str]:
    """The tokens of the first 20,000 characters, in order."""
    return _TOKEN.findall(lowered(text[:MAX_CHARACTERS]))


def hashes(words: Sequence[str], key: bytes) -> list[NDArray[np.uint64]]:
    """Per order (1, 2, 3) the hash of the n-gram that starts at each token; the k-th array has len(words) - k entries at least 0.

    That of a pair is made of 31 bits of each word's (see `neighbours`), so that what stands beside a word can be told.
    """
    single = _mix(np.array([_word_hash(w, key) for w in words], dtype=np.uint64))
    pair = (name_of(single[:-1]) << np.uint64(33)) | (name_of(single[1:]) << np.uint64(2))
    triple = _mix(_mix(pair[:-1] + _STEP) + single[2:])
    return [(h & ~np.uint64(3)) | np.uint64(order) for order, h in enumerate((single, pair, triple), start=1)]


def name_of(single: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 31 bits that stand for a word in the hash of a pair."""
    return single >> np.uint64(33)


def neighbours(pair: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The names of the left and the right word of hashed pairs."""
    return pair >> np.uint64(33), (pair >> np.uint64(2)) & np.uint64(0x7FFFFFFF)


def order_of(hashed: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many tokens each hashed n-gram has."""
    return (hashed & np.uint64(3)).astype(np.int64)


def occurrences(text: str, wanted: NDArray[np.uint64], key: bytes) -> tuple[list[str], NDArray[np.bool_]]:
    """The tokens of a text and which of them belong to an occurrence of a wanted n-gram: hashes back to words."""
    words = tokens(text)
    covered = np.zeros(len(words), dtype=bool)
    for order, starts in enumerate(hashes(words, key), start=1):
        for at in np.flatnonzero(np.isin(starts, wanted)):
            covered[at : at + order] = True
    return words, covered


def spans(text: str) -> list[tuple[int, int]]:
    """Where each token of `tokens(text)` stands: (start, end) character positions."""
    return [m.span() for m in _TOKEN.finditer(lowered(text[:MAX_CHARACTERS]))]


def lowered(text: str) -> str:
    """In lower case, character by character where that would change the length (as of the Turkish dotted I)."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, a bijection (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)
