"""The embedding of the response or caption, so that one kind of answer can be one target; of preferences also how both differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch, encoders
from dataaudit.features.embedding import SCALE, quantise, to_column
from dataaudit.model import Modality, compared

MAX_CHARACTERS = 4_096
MARKS = 2
"""Numbers of a contrast beside the difference of the embeddings: which answer is longer, and which is more about the prompt."""


@dataclass(frozen=True)
class TargetEmbedding:
    """Fixed-point vectors of the responses' first 4,096 characters; a zero vector where there is none.

    A preference has the vector of what is chosen, and then its contrast with what is rejected: (a - b) / 2 of the embeddings
    and two marks, all in [-1, 1].  Swapping the two answers negates the contrast.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions", "captioned-images")

    def compute(self, batch: Batch) -> pa.Array:
        encoder = encoders.of_target(batch.plan)
        chosen = quantise(encoder.encode([t[:MAX_CHARACTERS] for t in batch.answers]))
        if not batch.plan.compares:
            return to_column(chosen)
        rejected = [compared(target)[1] for target in batch.targets]
        other = quantise(encoder.encode([t[:MAX_CHARACTERS] for t in rejected]))
        prompt = quantise(encoder.encode([t[:MAX_CHARACTERS] for t in batch.texts]))
        longer = [np.log((len(a) + 1) / (len(b) + 1)) for a, b in zip(batch.answers, rejected, strict=True)]
        return to_column(np.hstack([chosen, contrast(chosen, other, prompt, np.array(longer))]))


def contrast(
    chosen: NDArray[np.int16], rejected: NDArray[np.int16], prompt: NDArray[np.int16], longer: NDArray[np.float64]
) -> NDArray[np.int16]:
    """Shape (n, d + 2), from three fixed-point (n, d) and the logarithm (n,) of the answers' lengths' ratio."""
    a, b, p = (x.astype(np.float64) / SCALE for x in (chosen, rejected, prompt))
    marks = np.stack([np.tanh(longer / 2), ((a - b) * p).sum(1) / 2], axis=1)
    return np.asarray(np.rint(np.clip(np.hstack([(a - b) / 2, marks]), -1, 1) * SCALE), dtype=np.int16)


def halves(vectors: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The vectors (n, d) of what is chosen, and the contrasts (n, d + 2)."""
    width = (vectors.shape[1] - MARKS) // 2
    return vectors[:, :width], vectors[:, width:]
