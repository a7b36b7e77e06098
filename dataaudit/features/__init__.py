"""Features turn a batch of samples into one Arrow column each; after that everything is columnar.

A module here that defines a class named like itself (`phash.py` -> `Phash`) is a feature: a frozen
dataclass whose fields are its settings.  Nothing is registered; `available()` looks when called.

Columns that every feature table has (written by the extract stage):

    key     string     the sample's key within its shard
    offset  int64      where to look again (see `Sample`)
    length  int64
    target  string     the label, or the response (cut at 4,096 characters); null where there is none
    digest  string     blake2b-16 (hex) of the content
    rank    uint64     keyed hash of content digest and target: decides folds and bottom-k samples

`rank` depends on nothing but content, target and salt, so that any sharding and any order select
the same samples; equal samples share it and so always fall into the same fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.model import Modality, Plan, Sample, compared


@dataclass(frozen=True)
class Batch:
    """Samples that could be decoded: `images[i]` (uint8, H x W x 3) belongs to `samples[i]` where the modality has images."""

    samples: Sequence[Sample]
    plan: Plan
    images: Sequence[NDArray[np.uint8]] = ()

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """The canonical pictures of the images (see `thumbnail`), uint8 (n, 32, 32, 3)."""
        from dataaudit.features.thumbnail import BYTES, SIDE, thumbnail

        pictures = b"".join([thumbnail(image).tobytes() for image in self.images])
        return np.frombuffer(pictures, np.uint8, len(self.images) * BYTES).reshape(-1, SIDE, SIDE, 3)

    @property
    def texts(self) -> list[str]:
        """The contents as text; an absent one is empty."""
        return [s.content if isinstance(s.content, str) else "" for s in self.samples]

    @property
    def targets(self) -> list[str]:
        """The targets as text; an absent one is empty."""
        return [s.target or "" for s in self.samples]

    @property
    def answers(self) -> list[str]:
        """The targets, of preferences what is chosen."""
        return [compared(target)[0] for target in self.targets] if self.plan.compares else self.targets

    @property
    def learnt(self) -> list[str]:
        """Where the model learns to speak: the answers where there are any, else the contents."""
        return self.answers if self.plan.target_kind == "text" else self.texts


class Feature(Protocol):
    """One Arrow column, named like its module."""

    modalities: ClassVar[tuple[Modality, ...]]

    def compute(self, batch: Batch) -> pa.Array:
        """One value a sample; a pure function of the sample and the plan, whatever the batch it came in."""
        ...
