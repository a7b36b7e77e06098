"""What an answer brings in: its words that are not in the prompt, as salted hashes.

The hashes are those of `ngrams`, so that a word is the same in prompts and answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.model import Modality

MAX_CHARACTERS = 4_096


@dataclass(frozen=True)
class AnswerWords:
    """The distinct single words of the answer's first 4,096 characters that the prompt does not have, a sorted list of uint64."""

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions",)

    def compute(self, batch: Batch) -> pa.Array:
        key = batch.plan.key("ngrams")
        found = []
        for prompt, answer in zip(batch.texts, batch.answers, strict=True):
            said = set(ngrams.tokens(answer[:MAX_CHARACTERS])) - set(ngrams.tokens(prompt))
            found.append(np.unique(ngrams.hashes(sorted(said), key)[0]))
        offsets = np.concatenate([[0], np.cumsum([len(f) for f in found])]).astype(np.int32)
        values = np.concatenate(found) if found else np.empty(0, np.uint64)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.uint64()))
