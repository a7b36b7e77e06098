"""MinHash signatures: texts that share most of their shingles share most of their signature.

128 permutations of datasketch's scheme `affine32` (the default since its 2.0; values of its 1.x scheme do not
compare), permutation seed 1, over shingles hashed by blake2b to 32 bits with the plan's key, so that nobody
outside can craft texts that collide.  The share of equal values of two signatures estimates the Jaccard
similarity of the shingle sets with a standard error of at most 0.045 (Broder, "On the resemblance and
containment of documents", 1997).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch
from dataaudit.model import Modality

PERMUTATIONS = 128
SCHEME = "affine32"
SEED = 1
WORD = re.compile(r"\w+")


def shingles(text: str, words: int, short: int, characters: int) -> set[bytes]:
    """The text's runs of `words` words, lower-cased; below `short` words its runs of `characters` characters.

    In a short text one changed word would spoil most of the word shingles.  A text shorter than one
    shingle is its own only shingle; a text without a word has none.
    """
    found = WORD.findall(text.lower())
    if len(found) >= short:
        return {" ".join(found[i : i + words]).encode("utf-8", "surrogatepass") for i in range(len(found) - words + 1)}
    joined = " ".join(found)
    return {joined[i : i + characters].encode("utf-8", "surrogatepass") for i in range(max(1, len(joined) - characters + 1))} - {b""}


def keyed_hash(key: bytes) -> Callable[[bytes], int]:
    """A 32-bit hash function of its own for every key."""

    def hash32(value: bytes) -> int:
        return int.from_bytes(blake2b(value, key=key, digest_size=4).digest(), "little")

    return hash32


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
        from datasketch import MinHash

        sets = (shingles(text[: self.max_characters], self.words, self.short, self.characters) for text in batch.texts)
        hashes = MinHash.generator(sets, num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME, hashfunc=keyed_hash(batch.plan.key("minhash")))
        rows = [minhash.hashvalues for minhash in hashes]
        flat = np.concatenate(rows) if rows else np.empty(0)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.astype(np.uint32)), PERMUTATIONS)
