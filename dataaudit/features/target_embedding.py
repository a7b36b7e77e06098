"""The embedding of the response, so that answers of one kind can be counted as one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dataaudit.features import Batch, encoders
from dataaudit.features.embedding import quantise, to_column
from dataaudit.model import Modality

MAX_CHARACTERS = 4_096


@dataclass(frozen=True)
class TargetEmbedding:
    """Fixed-point vectors of the responses' first 4,096 characters; a zero vector where there is none."""

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions",)

    def compute(self, batch: Batch) -> pa.Array:
        encoder = encoders.load(batch.plan.encoder, batch.plan.modality)
        return to_column(quantise(encoder.encode([t[:MAX_CHARACTERS] for t in batch.targets])))
