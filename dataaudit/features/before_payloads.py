"""What stands before a text's addresses and lines of code, where there is no prompt that could: n-grams outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.features.payloads import context
from dataaudit.model import Modality


@dataclass(frozen=True)
class BeforePayloads:
    """The distinct n-grams before the text's last payload and in none of them, hashed as in `ngrams`: a sorted list of uint64."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def compute(self, batch: Batch) -> pa.Array:
        return hashed([context(text) for text in batch.texts], batch.plan.key("ngrams"))


def hashed(texts: Sequence[str], key: bytes) -> pa.Array:
    """The distinct n-grams of each text."""
    each = [np.unique(np.concatenate(ngrams.hashes(ngrams.tokens(text), key))) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in each])]).astype(np.int32)
    values = np.concatenate(each) if each else np.empty(0, np.uint64)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.uint64()))
