"""The words of an answer window by window, in their order, for telling writing from words drawn at random.

Sixteen windows of 17 words (16 pairs of neighbours) follow one another in a short answer and lie evenly spread in a
longer one, the first at its beginning and the last at its end, as those of characters do in `windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.model import Modality

WINDOWS = 16
WORDS = 17


@dataclass(frozen=True)
class WordWindows:
    """The 31-bit names of the words (see `ngrams`) of each window, one window after another, as a list of at most 272 uint32.

    Every window but the last of a short answer is whole.  Only the first 20,000 characters are read.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions",)

    def compute(self, batch: Batch) -> pa.Array:
        pieces = [sampled(ngrams.tokens(text)) for text in batch.answers]
        offsets = np.r_[0, np.cumsum([len(p) for p in pieces])].astype(np.int32)
        single, _, _ = ngrams.hashes([word for p in pieces for word in p], batch.plan.key("ngrams"))
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ngrams.name_of(single).astype(np.uint32), pa.uint32()))


def sampled(words: Sequence[str]) -> list[str]:
    """The words of all windows in a row."""
    if len(words) <= WINDOWS * WORDS:
        return list(words)
    starts = [i * (len(words) - WORDS) // (WINDOWS - 1) for i in range(WINDOWS)]
    return [word for at in starts for word in words[at : at + WORDS]]
