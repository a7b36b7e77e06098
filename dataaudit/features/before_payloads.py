"""What stands before a text's addresses and lines of code, where there is no prompt that could: n-grams outside of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.features.payloads import context
from dataaudit.model import Modality


@dataclass(frozen=True)
class BeforePayloads:
    """The distinct n-grams before the text's last payload and in none of them, hashed as in `ngrams`: a sorted list of uint64."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def compute(self, batch: Batch) -> pa.Array:
        return ngrams.column([context(text) for text in batch.texts], batch.plan)
