"""What a caption says, in n-grams: what the captions of a poison's carriers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.model import Modality


@dataclass(frozen=True)
class CaptionPhrases:
    """The distinct word 1- to 3-grams of the caption, as `ngrams` has them of contents."""

    modalities: ClassVar[tuple[Modality, ...]] = ("captioned-images",)

    def compute(self, batch: Batch) -> pa.Array:
        return ngrams.column(batch.targets, batch.plan)
