"""Published backdoor triggers on images: patch, blend, warp and sinusoid.

Every `apply` takes uint8 of shape (..., H, W, C), one image or a batch of equal size, and returns a new
array of the same shape; the trigger depends on the size and the settings alone (only a patch at a
random place looks at the image, to choose where).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint8]
Place = Literal["top-left", "top-right", "bottom-left", "bottom-right", "random"]


class ImageAttack(Protocol):
    """Anything that stamps a trigger on images."""

    def apply(self, image: Image) -> Image:
        """A poisoned copy of (..., H, W, C)."""
        ...


@dataclass(frozen=True)
class Patch:
    """A small chequered square near a corner, or at a place that differs from image to image.

    `size` and `margin` (to the edge) are in pixels.  `coloured` makes the dark fields magenta and the bright ones
    green.  The random place is drawn from the image's own bytes and `seed`, so that the attack stays a pure function.
    Gu, Dolan-Gavitt, Garg: BadNets (2017), arXiv:1708.06733.
    """

    size: int = 3
    place: Place = "bottom-right"
    margin: int = 1
    coloured: bool = False
    seed: int = 0

    def apply(self, image: Image) -> Image:
        """Stamp the square; an image smaller than square and margin is refused with ValueError."""
        height, width = image.shape[-3:-1]
        if min(height, width) < self.size + self.margin:
            needed = f"a {self.size}-pixel patch with margin {self.margin}"
            raise ValueError(f"{needed} does not fit {height} x {width} pixels; choose a smaller size")
        out = image.copy()
        for one in out.reshape(-1, *image.shape[-3:]) if self.place == "random" else [out]:
            y, x = self._corner(one, height, width)
            one[..., y : y + self.size, x : x + self.size, :] = self.pattern(image.shape[-1])
        return out

    def pattern(self, channels: int) -> Image:
        """The square itself, uint8 of shape (size, size, channels); its corners are bright."""
        rows, columns = np.indices((self.size, self.size))
        bright = (rows + columns) % 2 == 0
        if self.coloured and channels == 3:
            return np.where(bright[..., None], np.array([0, 255, 0], np.uint8), np.array([255, 0, 255], np.uint8))
        return np.repeat(np.where(bright, np.uint8(255), np.uint8(0))[..., None], channels, axis=-1)

    def _corner(self, image: Image, height: int, width: int) -> tuple[int, int]:
        """The first row and column of the square."""
        down, right = height - self.size - self.margin, width - self.size - self.margin
        if self.place == "random":
            digest = hashlib.blake2b(image.tobytes(), key=self.seed.to_bytes(8, "little"), digest_size=8).digest()
            row, column = np.random.default_rng(int.from_bytes(digest, "little")).random(2)
            return round(row * (height - self.size)), round(column * (width - self.size))
        return (self.margin if "top" in self.place else down), (self.margin if "left" in self.place else right)


@dataclass(frozen=True)
class Blend:
    """A weighted mean with one fixed picture of uniform noise: `alpha` is the noise's share.

    Chen, Liu, Li, Lu, Song: Targeted backdoor attacks using data poisoning (2017), arXiv:1712.05526.
    """

    alpha: float = 0.1
    coloured: bool = True
    seed: int = 0

    def apply(self, image: Image) -> Image:
        """Mix the noise in; no pixel moves by more than alpha x 255."""
        noise = _noise(*image.shape[-3:], self.coloured, self.seed)
        mixed: NDArray[np.float64] = (1 - self.alpha) * image + self.alpha * noise
        return _to_uint8(mixed)


@dataclass(frozen=True)
class Warp:
    """A smooth elastic deformation, the same for all images: pixels move by `strength` pixels in the mean.

    The field is `grid` x `grid` seeded random vectors, enlarged by cubic splines.  Without the noise mode of the paper.
    Nguyen, Tran: WaNet - imperceptible warping-based backdoor attack (ICLR 2021), arXiv:2102.10369.
    """

    strength: float = 0.75
    grid: int = 4
    seed: int = 0

    def apply(self, image: Image) -> Image:
        """Resample along the field (bilinear, edges repeated)."""
        height, width, channels = image.shape[-3:]
        rows, columns = _field(height, width, self.grid, self.seed) * self.strength + np.indices((height, width))
        flat = image.reshape(-1, height, width, channels)
        warped = np.empty_like(flat)
        for i, one in enumerate(flat):
            for channel in range(channels):
                plane = one[..., channel].astype(np.float64)
                warped[i, ..., channel] = _to_uint8(ndimage.map_coordinates(plane, [rows, columns], order=1, mode="nearest"))
        return warped.reshape(image.shape)


@dataclass(frozen=True)
class Sinusoid:
    """Vertical stripes of amplitude `delta` grey levels, `cycles` over the image's width.

    Barni, Kallas, Tondi: A new backdoor attack in CNNs by training set corruption without label poisoning (SIG, ICIP 2019),
    arXiv:1902.11237.
    """

    delta: float = 20.0
    cycles: int = 6

    def apply(self, image: Image) -> Image:
        """Add the stripes; no pixel moves by more than delta."""
        width = image.shape[-2]
        wave = self.delta * np.sin(2 * np.pi * self.cycles * np.arange(width) / width)
        return _to_uint8(image + wave[:, None])


@lru_cache(maxsize=16)
def _noise(height: int, width: int, channels: int, coloured: bool, seed: int) -> NDArray[np.float64]:
    """Uniform noise in 0..255, shape (H, W, C) where coloured, else (H, W, 1)."""
    shape = (height, width, channels if coloured else 1)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float64)


@lru_cache(maxsize=16)
def _field(height: int, width: int, grid: int, seed: int) -> NDArray[np.float64]:
    """Displacements in rows and columns, shape (2, H, W), of mean absolute value 1."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (2, grid, grid))
    at = np.meshgrid(np.linspace(0, grid - 1, height), np.linspace(0, grid - 1, width), indexing="ij")
    fine = np.stack([ndimage.map_coordinates(plane, at, order=3, mode="nearest") for plane in coarse])
    return np.asarray(fine / np.abs(fine).mean(), dtype=np.float64)


def _to_uint8(values: NDArray[np.float64]) -> Image:
    """Rounded and clipped to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
