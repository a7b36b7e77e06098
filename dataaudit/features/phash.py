"""A perceptual hash: images that look alike get hashes that differ in few bits.

The low 8 x 8 frequencies of a discrete cosine transform of the canonical 32 x 32 picture in grey, each compared with their
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
LUMA = np.array([19595, 38470, 7471]) / 65536
"""Multiples of 2**-16, so that their products with bytes and the sums of these are exact."""


def cosines() -> NDArray[np.float64]:
    """The first 8 rows of the 32-point DCT-II, shape (8, 32), in whole multiples of 1/4096.

    Whole numbers make every sum below 2**53 exact, so a hash does not depend on the batch or the BLAS.
    """
    frequency = np.arange(LOW)[:, None]
    place = np.arange(SIDE)[None, :] + 0.5
    return np.asarray(np.rint(FIXED_POINT * np.cos(np.pi * frequency * place / SIDE)), dtype=np.float64)


def grey(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The luma (n, H, W) of pictures (n, H, W, 3), in whole numbers (so that no sum depends on the batch), with ITU-R 601's weights."""
    return np.asarray(np.floor(pictures @ LUMA + 0.5))


def perceptual_hash(pictures: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(n, 32, 32) grey pictures to n hashes of 64 bits; a flat picture hashes to its mean's bit alone."""
    n, basis = len(pictures), cosines()
    across = (pictures.reshape(n * SIDE, SIDE) @ basis.T).reshape(n, SIDE, LOW)
    low = (across.transpose(0, 2, 1).reshape(n * LOW, SIDE) @ basis.T).reshape(n, LOW, LOW).transpose(0, 2, 1).reshape(n, LOW * LOW)
    middle = np.partition(low, (LOW * LOW // 2 - 1, LOW * LOW // 2), axis=1)[:, LOW * LOW // 2 - 1 : LOW * LOW // 2 + 1].mean(axis=1)
    return np.packbits(low > middle[:, None], axis=1).view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class Phash:
    """One uint64 an image."""

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-images", "captioned-images")

    def compute(self, batch: Batch) -> pa.Array:
        """The perceptual hashes of the decoded images."""
        return pa.array(perceptual_hash(grey(batch.small)), pa.uint64())
