"""A canonical 32 x 32 picture of each image: what low-level triggers are looked for in.

Images up to 32 px a side are centred and their edges repeated, so that no pixel of a small trigger is resampled; larger
ones shrink by areas to 32 x 32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch
from dataaudit.model import Modality

SIDE = 32
BYTES = SIDE * SIDE * 3


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The canonical picture, uint8 (32, 32, 3), of an image (H, W, 3)."""
    height, width = image.shape[:2]
    if height == width == SIDE:
        return image
    if max(height, width) > SIDE:
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    return np.pad(image, ((top, SIDE - height - top), (left, SIDE - width - left), (0, 0)), mode="edge")


def from_column(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The pictures of a column without nulls, uint8 (n, 32, 32, 3)."""
    chunks = [np.frombuffer(c.buffers()[1], np.uint8, len(c) * BYTES, c.offset * BYTES) for c in column.chunks if len(c)]
    return np.concatenate([*chunks, np.empty(0, np.uint8)]).reshape(-1, SIDE, SIDE, 3)


@dataclass(frozen=True)
class Thumbnail:
    """3,072 bytes an image: rows, columns, RGB."""

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-images", "captioned-images")

    def compute(self, batch: Batch) -> pa.Array:
        """The canonical pictures of the decoded images."""
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(BYTES), len(batch.small), [None, pa.py_buffer(batch.small)])
