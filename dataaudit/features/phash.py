"""A perceptual hash: images that look alike get hashes that differ in few bits.

The low 8 x 8 frequencies of a discrete cosine transform of the 32 x 32 grey picture, each compared with their
median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).  Simple pictures of
similar shape collide: equal hashes propose a near-copy, they never prove one.
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
LOW = 8
FIXED_POINT = 4096


def cosines() -> NDArray[np.float64]:
    """The first 8 rows of the 32-point DCT-II, shape (8, 32), in whole multiples of 1/4096.

    Whole numbers make every sum below 2**53 exact, so a hash does not depend on the batch or the BLAS.
    """
    frequency = np.arange(LOW)[:, None]
    place = np.arange(SIDE)[None, :] + 0.5
    return np.asarray(np.rint(FIXED_POINT * np.cos(np.pi * frequency * place / SIDE)), dtype=np.float64)


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A 32 x 32 grey copy of an (H, W, 3) image, averaged over areas when it shrinks."""
    from PIL import Image

    picture = Image.fromarray(image).convert("L")
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX if min(picture.size) >= SIDE else Image.Resampling.BILINEAR)
    return np.asarray(small)


def perceptual_hash(pictures: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 32, 32) grey pictures to n hashes of 64 bits; a flat picture hashes to its mean's bit alone."""
    if not len(pictures):
        return np.empty(0, np.uint64)
    basis = cosines()
    low = (basis @ pictures.astype(np.float64) @ basis.T).reshape(len(pictures), LOW * LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class Phash:
    """One uint64 an image."""

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-images", "captioned-images")

    def compute(self, batch: Batch) -> pa.Array:
        """The perceptual hashes of the decoded images."""
        pictures = np.stack([grey(i) for i in batch.images]) if len(batch.images) else np.empty((0, SIDE, SIDE), np.uint8)
        return pa.array(perceptual_hash(pictures), pa.uint64())
