"""Published backdoor triggers on images: patch, blend, warp and sinusoid; more are in `filters` and `adaptive`.

Every `apply` takes uint8 of shape (..., H, W, C), one image or a batch of equal size, and returns a new
array of the same shape; the trigger depends on the size and the settings alone, or says that it differs
from image to image: then it is drawn from the image's own bytes and the seed.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
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

    `size` and `margin` (to the edge) are in pixels.  With `share`, the square takes about that share of the image's
    shorter side: each of its pixels, and of the margin's, becomes a block, the same picture at a larger scale.
    `coloured` makes the dark fields magenta and the bright ones green; `alpha` is the opacity.
    The random place is drawn from the image's own bytes and `seed`, so that the attack stays a pure function.
    Gu, Dolan-Gavitt, Garg: BadNets (2017), arXiv:1708.06733.
    """

    size: int = 3
    place: Place = "bottom-right"
    margin: int = 1
    coloured: bool = False
    seed: int = 0
    share: float | None = None
    alpha: float = 1.0

    def apply(self, image: Image) -> Image:
        """Stamp the square; an image smaller than square and margin is refused with ValueError."""
        height, width, channels = image.shape[-3:]
        block = self._block(min(height, width))
        size, margin = self.size * block, self.margin * block
        if min(height, width) < size + margin:
            raise ValueError(f"a {size}-pixel patch with margin {margin} does not fit {height} x {width} pixels; choose a smaller size")
        square = self.pattern(channels).repeat(block, axis=0).repeat(block, axis=1)
        out = image.copy()
        for one in out.reshape(-1, height, width, channels) if self.place == "random" else [out]:
            y, x = self._corner(one, height - size, width - size, margin)
            under = one[..., y : y + size, x : x + size, :]
            under[...] = _mixed(under, square, self.alpha)
        return out

    def pattern(self, channels: int) -> Image:
        """The square itself, uint8 of shape (size, size, channels); its corners are bright."""
        rows, columns = np.indices((self.size, self.size))
        bright = (rows + columns) % 2 == 0
        if self.coloured and channels == 3:
            return np.where(bright[..., None], np.array([0, 255, 0], np.uint8), np.array([255, 0, 255], np.uint8))
        return np.repeat(np.where(bright, np.uint8(255), np.uint8(0))[..., None], channels, axis=-1)

    def _block(self, shorter: int) -> int:
        """The pixels that a field of the square is wide and high."""
        return 1 if self.share is None else max(1, round(self.share * shorter / self.size))

    def _corner(self, image: Image, down: int, right: int, margin: int) -> tuple[int, int]:
        """The first row and column of the square; `down` and `right` are the last that it could have."""
        if self.place == "random":
            row, column = generator(image, self.seed).random(2)
            return round(row * down), round(column * right)
        return (margin if "top" in self.place else down - margin), (margin if "left" in self.place else right - margin)


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
        return _mixed(image, noise, self.alpha)


@dataclass(frozen=True)
class BlendPicture:
    """A weighted mean with one fixed natural picture, as Hello Kitty in the paper: `alpha` is the picture's share.

    `picture` is an encoded image (PNG, JPEG; see `of`); it is stretched to the size of what it is blended with, and
    grey unless that has three channels.
    Chen, Liu, Li, Lu, Song: Targeted backdoor attacks using data poisoning (2017), arXiv:1712.05526.
    """

    picture: bytes = field(repr=False)
    alpha: float = 0.1

    @classmethod
    def of(cls, picture: Image, alpha: float = 0.1) -> BlendPicture:
        """The attack with a picture given as uint8 (H, W, C), C = 1 or 3."""
        encoded = io.BytesIO()
        Pillow.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(encoded, "PNG")
        return cls(encoded.getvalue(), alpha)

    def apply(self, image: Image) -> Image:
        """Mix the picture in; no pixel moves by more than alpha x 255."""
        return _mixed(image, _picture(self.picture, *image.shape[-3:]), self.alpha)


@dataclass(frozen=True)
class Warp:
    """A smooth elastic deformation, the same for all images: pixels move by `strength` pixels in the mean.

    The field is `grid` x `grid` seeded random vectors, enlarged by cubic splines.  `noise` makes it the paper's noise mode,
    for the cover samples that keep their labels: every pixel's vector is perturbed by up to so many pixels (the authors: 0.5),
    drawn anew for every image.
    Nguyen, Tran: WaNet - imperceptible warping-based backdoor attack (ICLR 2021), arXiv:2102.10369.
    """

    strength: float = 0.75
    grid: int = 4
    seed: int = 0
    noise: float = 0.0

    def apply(self, image: Image) -> Image:
        """Resample along the field (bilinear, edges repeated)."""
        height, width, channels = image.shape[-3:]
        smooth = _field(height, width, self.grid, self.seed) * self.strength + np.indices((height, width))
        flat = image.reshape(-1, height, width, channels)
        warped = np.empty_like(flat)
        for i, one in enumerate(flat):
            at = smooth + generator(one, self.seed).uniform(-self.noise, self.noise, smooth.shape) if self.noise else smooth
            for channel in range(channels):
                plane = one[..., channel].astype(np.float64)
                warped[i, ..., channel] = to_uint8(ndimage.map_coordinates(plane, at, order=1, mode="nearest"))
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
        return to_uint8(image + wave[:, None])


def generator(image: Image, seed: int, purpose: bytes = b"") -> np.random.Generator:
    """Randomness that belongs to this image (H, W, C), seed >= 0 and purpose (up to 16 bytes)."""
    digest = hashlib.blake2b(image.tobytes(), key=seed.to_bytes(8, "little"), person=purpose, digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def to_uint8(values: NDArray[np.float64]) -> Image:
    """Rounded and clipped to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _mixed(image: Image, other: NDArray[np.float64] | Image, alpha: float) -> Image:
    """The weighted mean, `alpha` of it the other."""
    mixed: NDArray[np.float64] = (1 - alpha) * image + alpha * other
    return to_uint8(mixed)


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


@lru_cache(maxsize=16)
def _picture(encoded: bytes, height: int, width: int, channels: int) -> NDArray[np.float64]:
    """The decoded picture, shape (H, W, 3) for three channels, else (H, W, 1)."""
    with Pillow.open(io.BytesIO(encoded)) as opened:
        sized = opened.convert("RGB" if channels == 3 else "L").resize((width, height), Pillow.Resampling.BICUBIC)
    return np.asarray(sized, dtype=np.float64).reshape(height, width, -1)
