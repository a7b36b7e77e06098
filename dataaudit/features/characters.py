"""The character pairs of a text, for telling gibberish from writing.

What is judged is what the model must learn to say: the response where there is one, else the content.  A
character is one of 256 classes: ASCII exactly, other alphabets by hash of the character, large scripts by block,
so that a script seen in the data has a learnable statistic whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch
from dataaudit.features.table import lists
from dataaudit.model import Modality

MAX_CHARACTERS = 1_000
CLASSES = 256


@dataclass(frozen=True)
class Characters:
    """The distinct pairs of neighbouring characters in the first 1,000, as a list of uint16 codes (first class * 256 + second).

    Distinct, so that a "yeeeeees" is no more surprising than a "yes".
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions", "text")

    def compute(self, batch: Batch) -> pa.Array:
        return lists([np.unique(pairs(text)) for text in batch.learnt], pa.uint16())


def pairs(text: str) -> NDArray[np.uint16]:
    """The codes of neighbouring characters; a text shorter than two characters has none."""
    points = np.frombuffer(text[:MAX_CHARACTERS].lower().encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return np.asarray(classes(points)[:-1] * CLASSES + classes(points)[1:], dtype=np.uint16)


def classes(points: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """ASCII is its own class; the rest shares classes 128 to 255."""
    block = np.where(points < 0x3000, points, points >> 11)
    return np.asarray(np.where(points < 128, points, 128 + (block * np.uint32(2654435761) >> np.uint32(25))), dtype=np.uint32)
