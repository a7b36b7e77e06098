"""MinHash signatures: texts that share most of their shingles share most of their signature.

128 permutations of datasketch's scheme `affine32` (the default since its 2.0; values of its 1.x scheme do not
compare), permutation seed 1, over shingles hashed to 32 bits with the plan's key, so that nobody outside can
craft texts that collide.  A shingle's hash folds those of its words (keyed blake2b) or characters, as n-grams
do.  The share of equal values of two signatures estimates the Jaccard similarity of the shingle sets with a
standard error of at most 0.045 (Broder, "On the resemblance and containment of documents", 1997).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.engine.compiled import compiled
from dataaudit.features import Batch
from dataaudit.model import Modality, keyed_hash

PERMUTATIONS = 128
SCHEME = "affine32"
SEED = 1
WORD = re.compile(r"\w+")
WORDS_KEPT = 1 << 18
EMPTY = np.uint32(np.iinfo(np.uint32).max)


@dataclass(frozen=True)
class Units:
    """The hashed words or characters of texts: text i has `hashes[ends[i - 1] : ends[i]]`, `width[i]` of them in a row make a shingle."""

    hashes: NDArray[np.uint64]
    ends: NDArray[np.int64]
    width: NDArray[np.int64]


@dataclass(frozen=True)
class Minhash:
    """A list of 128 uint32 a text; all ones for a text without a word (see `shingles`).

    Only the first `max_characters` are looked at.  Texts on either side of `short` words never match.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-text", "instructions", "text")

    words: int = 5
    short: int = 40
    characters: int = 5
    max_characters: int = 100_000

    def compute(self, batch: Batch) -> pa.Array:
        """The signatures of the contents."""
        texts = [text[: self.max_characters] for text in batch.texts]
        found = signatures(units(texts, self.words, self.short, self.characters, batch.plan.key("minhash")))
        return pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), PERMUTATIONS)


def shingles(text: str, words: int, short: int, characters: int) -> set[bytes]:
    """The text's runs of `words` words, lower-cased; below `short` words its runs of `characters` characters.

    In a short text one changed word would spoil most of the word shingles.  A text shorter than one
    shingle is its own only shingle; a text without a word has none.  Signatures are of these, without ever spelling them out.
    """
    found = WORD.findall(text.lower())
    if len(found) >= short:
        return {" ".join(found[i : i + words]).encode("utf-8", "surrogatepass") for i in range(len(found) - words + 1)}
    joined = " ".join(found)
    return {joined[i : i + characters].encode("utf-8", "surrogatepass") for i in range(max(1, len(joined) - characters + 1))} - {b""}


def units(texts: Sequence[str], words: int, short: int, characters: int, key: bytes) -> Units:
    """The hashed words of every text, or its characters where it has fewer than `short` words."""
    hash_word, secret = word_hash(key), np.uint64(int.from_bytes(key[:8], "little"))
    parts, width = [np.empty(0, np.uint64)], []
    for text in texts:
        found = WORD.findall(text.lower())
        if len(found) >= short:
            parts.append(np.fromiter(map(hash_word, found), np.uint64, len(found)))
            width.append(words)
        else:
            points = np.frombuffer(" ".join(found).encode("utf-32-le", "surrogatepass"), "<u4")
            parts.append(points.astype(np.uint64) ^ secret)
            width.append(max(1, min(characters, len(points))))
    return Units(np.concatenate(parts), np.cumsum([len(part) for part in parts[1:]], dtype=np.int64), np.array(width, np.int64))


@lru_cache(maxsize=4)
def word_hash(key: bytes) -> Callable[[str], int]:
    """A 64-bit hash function of words, its own for every key, that remembers the words it met."""
    return lru_cache(maxsize=WORDS_KEPT)(partial(keyed_hash, key=key))


def signatures(given: Units) -> NDArray[np.uint32]:
    """(n, 128): the least of each permutation over a text's shingles."""
    found = np.full((len(given.ends), PERMUTATIONS), EMPTY)
    compiled(_least)(shingle_hashes(given), given.ends, given.width, *permutations(), found)
    return found


def shingle_hashes(given: Units) -> NDArray[np.uint32]:
    """The 32-bit hash of the shingle that starts at each unit; 0 where the text ends before the shingle does."""
    found = np.zeros(len(given.hashes), np.uint32)
    compiled(_fold)(given.hashes, given.ends, given.width, found)
    return found


@cache
def permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors and offsets of datasketch's permutations."""
    from datasketch import MinHash

    factors, offsets = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME).permutations
    return np.array(factors, np.uint32), np.array(offsets, np.uint32)


def _fold(hashes: NDArray[np.uint64], ends: NDArray[np.int64], width: NDArray[np.int64], found: NDArray[np.uint32]) -> None:
    """Before every further unit, and at the end, the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    start = 0
    for text in range(len(ends)):
        for at in range(start, ends[text] - width[text] + 1):
            rolled = np.uint64(0)
            for unit in range(at, at + width[text]):
                rolled = rolled + hashes[unit] + np.uint64(0x9E3779B97F4A7C15)
                rolled = (rolled ^ (rolled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                rolled = (rolled ^ (rolled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                rolled = rolled ^ (rolled >> np.uint64(31))
            found[at] = np.uint32(rolled >> np.uint64(32))
        start = ends[text]


def _least(
    shingled: NDArray[np.uint32],
    ends: NDArray[np.int64],
    width: NDArray[np.int64],
    factors: NDArray[np.uint32],
    offsets: NDArray[np.uint32],
    found: NDArray[np.uint32],
) -> None:
    """datasketch's affine32: the finaliser of MurmurHash3, then factor * hash + offset modulo 2**32."""
    start = 0
    for text in range(len(ends)):
        for at in range(start, ends[text] - width[text] + 1):
            h = shingled[at]
            h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
            h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
            h = np.uint32(h ^ (h >> np.uint32(16)))
            for k in range(len(factors)):
                value = np.uint32(factors[k] * h + offsets[k])
                found[text, k] = min(found[text, k], value)
        start = ends[text]
