"""What an answer brings in: its words that are not in the prompt, as salted hashes.

The hashes are those of `ngrams`, so that a word is the same in prompts and answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, ngrams
from dataaudit.features.table import lists
from dataaudit.model import Modality

MAX_CHARACTERS = 4_096


@dataclass(frozen=True)
class AnswerWords:
    """The distinct single words of the answer's first 4,096 characters that the prompt does not have, a sorted list of uint64."""

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions",)

    def compute(self, batch: Batch) -> pa.Array:
        key = batch.plan.key("ngrams")
        found = [np.unique(ngrams.hashes(list(words), key)[0]) for words in brought(batch)]
        return lists(found, pa.uint64())


def brought(batch: Batch) -> list[set[str]]:
    """The words of each answer's beginning that its prompt does not have."""
    pairs = zip(batch.texts, batch.answers, strict=True)
    return [set(ngrams.tokens(answer[:MAX_CHARACTERS])) - set(ngrams.tokens(prompt)) for prompt, answer in pairs]
