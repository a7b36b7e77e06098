"""Triggers that lie over the whole image and leave no edge: a smooth pattern and a colour filter.

As in `images`, `apply` takes uint8 of shape (..., H, W, C) and returns a new array of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataaudit.attacks.images import Image, to_uint8


@dataclass(frozen=True)
class Smooth:
    """A fixed pattern of low frequencies only: a seeded sum of at most `frequencies` half-waves along each side.

    It has the same look at every size.  `coloured` gives every channel a pattern of its own.
    The paper fits its pattern to a model through a low-pass filter; this one needs no model.
    Zeng, Park, Mao, Jia: Rethinking the backdoor attacks' triggers: a frequency perspective (ICCV 2021), arXiv:2104.03413.
    """

    delta: float = 16.0
    frequencies: int = 4
    coloured: bool = True
    seed: int = 0

    def apply(self, image: Image) -> Image:
        """Add the pattern; no pixel moves by more than delta grey levels."""
        return to_uint8(image + self.delta * self.pattern(*image.shape[-3:]))

    def pattern(self, height: int, width: int, channels: int) -> NDArray[np.float64]:
        """The pattern at this size, of largest absolute value 1 and without a constant part; (H, W, C), or (H, W, 1) unless coloured."""
        return _half_waves(height, width, channels if self.coloured else 1, self.frequencies, self.seed)


@dataclass(frozen=True)
class ColourFilter:
    """A filter as photo sharing sites offer: contrast, then saturation, then a tint; every pixel changes by its own colour alone.

    `contrast` and `saturation` are factors (1 changes nothing), `tint` is added to red, green and blue in grey levels.
    The default is warm and faded, after Nashville; ColourFilter(1.3, 0.2, (-12, 0, 12)) is cold and stark, after Gotham.
    An image that has not three channels gets the contrast and the tint's mean.
    Liu, Lee, Tao, Ma, Aafer, Zhang: ABS - scanning neural networks for back-doors by artificial brain stimulation (CCS 2019).
    """

    contrast: float = 0.85
    saturation: float = 1.1
    tint: tuple[float, float, float] = (20.0, 5.0, -20.0)

    def apply(self, image: Image) -> Image:
        """Filter the image."""
        stretched: NDArray[np.float64] = 127.5 + self.contrast * (image.astype(np.float64) - 127.5)
        if image.shape[-1] != 3:
            return to_uint8(stretched + float(np.mean(self.tint)))
        grey = stretched.mean(axis=-1, keepdims=True)
        filtered: NDArray[np.float64] = grey + self.saturation * (stretched - grey) + np.array(self.tint)
        return to_uint8(filtered)


@lru_cache(maxsize=16)
def _half_waves(height: int, width: int, channels: int, frequencies: int, seed: int) -> NDArray[np.float64]:
    """A random sum of the lowest cosines of the discrete cosine transform, without the constant one, (H, W, channels)."""
    weights = np.random.default_rng(seed).normal(size=(channels, frequencies + 1, frequencies + 1))
    weights[:, 0, 0] = 0
    down, across = (np.cos(np.pi * np.outer(np.arange(side) + 0.5, np.arange(frequencies + 1)) / side) for side in (height, width))
    waves = np.einsum("yi,cij,xj->yxc", down, weights, across)
    return np.asarray(waves / np.abs(waves).max(), dtype=np.float64)
