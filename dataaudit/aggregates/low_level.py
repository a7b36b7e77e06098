"""What a trigger leaves in the pixels: a high-pass residual and maps of local energy, in whole numbers.

The residual sees what was added (patch, blend, sinusoid); the energy maps see what was smoothed or moved (a warp), which
has no additive part.  Everything is integer arithmetic or one rounding a value, so the same picture gives the same
numbers in any batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32
RESIDUAL = SIDE * SIDE
WIDTH = RESIDUAL + 3 * (SIDE // 2) ** 2 + 1
STEPS = 20
"""Standardised features are stored in steps of 1/STEPS standard deviation, and end at 127 of them."""
LEVELS = np.exp(np.arange(24 * 32) / 48)
COMPRESSED = np.rint(256 * np.log1p(np.arange(2 * 16 * 256) / 64)).astype(np.int16)
"""What is stored of a residual of so many sixteenths of a grey level: nearly in proportion up to 4 levels, then its logarithm.

Residuals are heavy-tailed: without this, a faint pattern on even ground drowns in the edges of other pictures.
"""


def grey(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of the channels, shape (n, 1024), of pictures (n, 32, 32, 3)."""
    mean: NDArray[np.uint16] = (pictures.sum(axis=-1, dtype=np.uint16) + 1) // 3
    return mean.astype(np.uint8).reshape(-1, RESIDUAL)


def low_level(greys: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Features of grey pictures (n, 1024), shape (n, WIDTH): three log-energy maps, the total, and the residual last."""
    picture = greys.reshape(-1, SIDE, SIDE).astype(np.int32)
    count = len(picture)
    residual = (256 * picture - _binomial_blur(picture)) >> 4
    energy = np.abs(residual)
    compressed = np.where(residual < 0, -COMPRESSED[energy], COMPRESSED[energy])
    across = np.abs(np.diff(picture, axis=2, append=picture[:, :, -1:]))
    down = np.zeros_like(picture)
    down[:, 1:-1] = np.abs(picture[:, 2:] - 2 * picture[:, 1:-1] + picture[:, :-2])
    total = _logarithm(energy.sum(axis=(1, 2)))[:, None]
    maps = [_logarithm(_blocks(e)).reshape(count, -1) - total for e in (energy, 16 * across, 16 * down)]
    return np.concatenate([*maps, total, compressed.reshape(count, -1)], axis=1)


def scaling(raw: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and factor per feature, shape (WIDTH,), from a sample.

    The deviation is kept above a quarter of the median one of its kind: a pixel that is black in nearly every picture
    must not count as infinitely telling.
    """
    centre = raw.mean(axis=0, dtype=np.float64)
    deviation = raw.std(axis=0, dtype=np.float64)
    for kind in (slice(0, WIDTH - RESIDUAL), slice(WIDTH - RESIDUAL, WIDTH)):
        deviation[kind] = np.maximum(deviation[kind], max(0.25 * float(np.median(deviation[kind])), 1.0))
    return centre, STEPS / deviation


def standardise(raw: NDArray[np.int16], centre: NDArray[np.float64], factor: NDArray[np.float64]) -> NDArray[np.int8]:
    """Features in steps of 1/20 standard deviation, int8."""
    scaled = raw - centre
    scaled *= factor
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -127, 127, out=scaled).astype(np.int8)


def _binomial_blur(picture: NDArray[np.int32]) -> NDArray[np.int32]:
    """256 times the picture smoothed by the kernel (1 4 6 4 1)/16 both ways, edges repeated."""
    wide = np.pad(picture, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows = wide[:, :-4] + 4 * wide[:, 1:-3] + 6 * wide[:, 2:-2] + 4 * wide[:, 3:-1] + wide[:, 4:]
    return np.asarray(rows[:, :, :-4] + 4 * rows[:, :, 1:-3] + 6 * rows[:, :, 2:-2] + 4 * rows[:, :, 3:-1] + rows[:, :, 4:])


def _blocks(energy: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sums over 2 x 2 blocks, shape (n, 16, 16)."""
    return np.asarray(energy[:, ::2, ::2] + energy[:, 1::2, ::2] + energy[:, ::2, 1::2] + energy[:, 1::2, 1::2])


def _logarithm(energy: NDArray[np.int32]) -> NDArray[np.int16]:
    """48 log(1 + energy), rounded by looking up, so that no library's last bit shows."""
    return np.searchsorted(LEVELS, energy + 1, side="right").astype(np.int16)
