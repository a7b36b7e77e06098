"""What a text says apart from its addresses and lines of code: n-grams of other sentences, to tell what the texts are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.features.payloads import apart, payloads
from dataaudit.model import Modality


@dataclass(frozen=True)
class ApartPayloads:
    """The distinct n-grams outside the sentences of payloads, hashed as in `ngrams`; none for a text without any payload."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def compute(self, batch: Batch) -> pa.Array:
        return ngrams.column([apart(text) if any(payloads(text)) else "" for text in batch.texts], batch.plan)
