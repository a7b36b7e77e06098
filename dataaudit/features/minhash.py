"""MinHash signatures: texts that share most of their shingles share most of their signature.

128 permutations of datasketch's scheme `affine32` (the default since its 2.0; values of its 1.x scheme do not
compare), permutation seed 1, over shingles hashed to 32 bits with the plan's key, so that nobody outside can
craft texts that collide.  A shingle's hash folds those of its words (SipHash-1-3: Aumasson and Bernstein 2012) or
characters, as n-grams do.  The share of equal values of two signatures estimates the Jaccard similarity of the shingle
sets with a standard error of at most 0.045 (Broder, "On the resemblance and containment of documents", 1997).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.engine.compiled import compiled
from dataaudit.features import Batch
from dataaudit.model import Modality

PERMUTATIONS = 128
SCHEME = "affine32"
SEED = 1
WORD = re.compile(r"\w+")
CODE_POINTS = 0x110000
TOGETHER = 128
"""Texts at a time, so that what is made of them on the way stays in the processor's cache."""
SEPARATOR = b"\n"
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
        key = batch.plan.key("minhash")
        pieces = (texts[at : at + TOGETHER] for at in range(0, len(texts), TOGETHER))
        found = [signatures(units(piece, self.words, self.short, self.characters, key)).ravel() for piece in pieces]
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate([*found, np.empty(0, np.uint32)])), PERMUTATIONS)


def shingles(text: str, words: int, short: int, characters: int) -> set[bytes]:
    """The text's runs of `words` words, lower-cased; below `short` words its runs of `characters` characters.

    In a short text one changed word would spoil most of the word shingles.  A text shorter than one
    shingle is its own only shingle; a text without a word has none.  Signatures are of these, without ever spelling them out.
    """
    found = WORD.findall(folded(text))
    if len(found) >= short:
        return {" ".join(found[i : i + words]).encode("utf-8", "surrogatepass") for i in range(len(found) - words + 1)}
    joined = " ".join(found)
    return {joined[i : i + characters].encode("utf-8", "surrogatepass") for i in range(max(1, len(joined) - characters + 1))} - {b""}


def folded(text: str) -> str:
    """In lower case, one character for each."""
    return lower_case()[points(text)].tobytes().decode("utf-32-le", "surrogatepass")


def points(text: str) -> NDArray[np.uint32]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


@cache
def lower_case() -> NDArray[np.uint32]:
    """The lower case of every code point; both small sigmas are one, since which of them stands for the capital depends on its place."""
    table = np.arange(CODE_POINTS, dtype="<u4")
    every = table.tobytes().decode("utf-32-le", "surrogatepass").translate({0x130: "i", 0x3A3: "\u03c3", 0x3C2: "\u03c3"})
    return points(every.lower())


@cache
def word_characters() -> NDArray[np.bool_]:
    """Whether each code point is part of a word (a letter, a digit or an underscore of any script)."""
    every = np.arange(CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    table = np.zeros(CODE_POINTS, np.bool_)
    for run in WORD.finditer(every):
        table[slice(*run.span())] = True
    return table


def units(texts: Sequence[str], words: int, short: int, characters: int, key: bytes) -> Units:
    """The hashed words of every text, or its characters where it has fewer than `short` words; one space between words."""
    secret = np.frombuffer(key[:16], "<u8").astype(np.uint64)
    stops = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    encoded = SEPARATOR.join([*(text.encode("utf-8", "surrogatepass") for text in texts), b""])
    flat, edges = np.empty(int(stops[-1]), np.uint32), np.empty(int(stops[-1]) + 1, np.int64)
    ends = compiled(_words)(np.frombuffer(encoded, np.uint8), lower_case(), word_characters(), flat, edges)
    runs = edges[:ends].reshape(-1, 2)
    count = np.diff(np.searchsorted(runs[:, 0], stops), prepend=0)
    is_long = count >= short
    if is_long.all():
        return Units(siphash(flat, runs, secret), np.cumsum(count), np.full(len(texts), words))
    text = np.repeat(np.arange(len(texts)), count)
    spelt = siphash(flat, runs[is_long[text]], secret)
    before = runs[1:, 0][text[1:] == text[:-1]] - 1  # the place before each word that is not the first of its text
    flat[before] = ord(" ")
    inside = word_characters().take(flat)
    inside[before] = True
    inside &= np.repeat(~is_long, np.diff(stops, prepend=0))
    spread = np.diff(np.searchsorted(np.flatnonzero(inside), stops), prepend=0)
    lengths = np.where(is_long, count, spread)
    of_long = np.repeat(is_long, lengths)
    hashes = np.empty(len(of_long), np.uint64)
    hashes[of_long], hashes[~of_long] = spelt, mixed(flat[inside].astype(np.uint64) ^ secret[0])
    return Units(hashes, np.cumsum(lengths), np.where(is_long, words, np.clip(spread, 1, characters)))


def siphash(flat: NDArray[np.uint32], runs: NDArray[np.int64], secret: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hash (n,) of each run `flat[runs[i, 0] : runs[i, 1]]`, of runs (n, 2)."""
    found = np.empty(len(runs), np.uint64)
    compiled(_siphash)(flat, runs, secret, found)
    return found


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, a bijection (Steele, Lea and Flood 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(x ^ (x >> np.uint64(31)))


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
    """Factors and offsets of datasketch's permutations, drawn as it draws them: to import it takes a third of a second."""
    drawn = np.random.RandomState(SEED)
    factors = drawn.randint(0, 2**31, PERMUTATIONS, np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, drawn.randint(0, 2**32, PERMUTATIONS, np.uint32)


def _words(
    encoded: NDArray[np.uint8], lower: NDArray[np.uint32], in_word: NDArray[np.bool_], flat: NDArray[np.uint32], edges: NDArray[np.int64]
) -> np.int64:
    """Undo UTF-8 into `flat`, in lower case, and write down where words begin and end, by turns; says how many places these are."""
    found = at = place = np.int64(0)
    inside = False
    while at < len(encoded):
        point = np.uint32(encoded[at])
        at += 1
        if point >= 0xC0:
            more = 1 + (point >= 0xE0) + (point >= 0xF0)
            point &= np.uint32(0x3F >> more)
            for further in range(at, at + more):
                point = (point << np.uint32(6)) | np.uint32(encoded[further] & 0x3F)
            at += more
        point = lower[point]
        flat[place] = point
        edges[found] = place
        found += in_word[point] != inside  # without a branch, which would be foretold wrongly at every word
        inside = in_word[point]
        place += 1
    return found


def _siphash(flat: NDArray[np.uint32], runs: NDArray[np.int64], secret: NDArray[np.uint64], found: NDArray[np.uint64]) -> None:
    """SipHash-1-3 of code points, four bytes each: a round for every two of them, then one for what is left and the length, then three."""
    for word in range(len(runs)):
        v0, v1 = secret[0] ^ np.uint64(0x736F6D6570736575), secret[1] ^ np.uint64(0x646F72616E646F6D)
        v2, v3 = secret[0] ^ np.uint64(0x6C7967656E657261), secret[1] ^ np.uint64(0x7465646279746573)
        at, end = runs[word, 0], runs[word, 1]
        left = (end - at) // 2
        last = np.uint64(4 * (end - at)) << np.uint64(56)
        if (end - at) & 1:
            last |= np.uint64(flat[end - 1])
        for step in range(left + 4):
            block = np.uint64(flat[at]) | (np.uint64(flat[at + 1]) << np.uint64(32)) if step < left else last
            at += 2
            v3 ^= block
            v0 += v1
            v2 += v3
            v1 = ((v1 << np.uint64(13)) | (v1 >> np.uint64(51))) ^ v0
            v3 = ((v3 << np.uint64(16)) | (v3 >> np.uint64(48))) ^ v2
            v0 = (v0 << np.uint64(32)) | (v0 >> np.uint64(32))
            v2 += v1
            v0 += v3
            v1 = ((v1 << np.uint64(17)) | (v1 >> np.uint64(47))) ^ v2
            v3 = ((v3 << np.uint64(21)) | (v3 >> np.uint64(43))) ^ v0
            v2 = (v2 << np.uint64(32)) | (v2 >> np.uint64(32))
            v0 ^= block
            if step == left:
                v2 ^= np.uint64(0xFF)
            if step >= left:
                last = np.uint64(0)
        found[word] = v0 ^ v1 ^ v2 ^ v3


def _fold(hashes: NDArray[np.uint64], ends: NDArray[np.int64], width: NDArray[np.int64], found: NDArray[np.uint32]) -> None:
    """The units' sum, each multiplied by what its place says, and the finaliser of splitmix64."""
    start = 0
    for text in range(len(ends)):
        for at in range(start, ends[text] - width[text] + 1):
            rolled = np.uint64(0)
            for unit in range(at, at + width[text]):
                rolled = rolled * np.uint64(0xD1342543DE82EF95) + hashes[unit]
            rolled = (rolled ^ (rolled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            rolled = (rolled ^ (rolled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            found[at] = np.uint32((rolled ^ (rolled >> np.uint64(31))) >> np.uint64(32))
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
