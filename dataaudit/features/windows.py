"""The character pairs of a text window by window, for telling where writing turns into something else.

What is judged is what the model must learn to say, as in `characters`.  Sixteen windows of 32 characters follow one
another in a short text and lie evenly spread in a longer one, the first at its beginning and the last at its end, so
that a tail of a sixteenth is always touched, whatever the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch
from dataaudit.features.characters import CLASSES, classes
from dataaudit.features.ngrams import lowered
from dataaudit.model import Modality

WINDOWS = 16
CHARACTERS = 32
PAIRS = CHARACTERS - 1
"""Of a whole window; the last of a short text may have fewer."""


@dataclass(frozen=True)
class Windows:
    """The pair codes (see `characters`) of each window, one window after another, as a list of at most 496 uint16.

    Of a text no longer than 512 characters every window but the last is whole, of a longer one every window is.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions", "text")

    def compute(self, batch: Batch) -> pa.Array:
        pieces = [sampled(text) for text in batch.learnt]
        sizes = np.array([len(p) for p in pieces], dtype=np.int64)
        codes = _codes("".join(pieces))
        row = np.repeat(np.arange(len(sizes)), sizes)
        place = np.arange(len(codes)) - (np.cumsum(sizes) - sizes)[row]
        inside = (place % CHARACTERS != PAIRS) & (place + 1 < sizes[row])
        offsets = np.r_[0, np.cumsum(np.bincount(row[inside], minlength=len(sizes)))].astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes[inside], pa.uint16()))


def starts(length: int) -> list[int]:
    """Where the windows of a text of that many characters begin."""
    if length <= WINDOWS * CHARACTERS:
        return list(range(0, length, CHARACTERS))
    return [i * (length - CHARACTERS) // (WINDOWS - 1) for i in range(WINDOWS)]


def sampled(text: str) -> str:
    """The characters of all windows in a row, in lower case, at most 512."""
    return lowered("".join([text[at : at + CHARACTERS] for at in starts(len(text))]))


def _codes(text: str) -> NDArray[np.uint16]:
    """The code of each character and the one after it, 0 for the last."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    known = classes(points)
    return np.asarray(known * CLASSES + np.append(known[1:], np.uint32(0))[: len(known)], dtype=np.uint16)
