"""Samples become what features can work on: images are decoded, text passes, and what cannot be looked at says why.

Only well-known raster formats are opened, nothing above a pixel cap, only the first frame; a decoder's complaint becomes
a `Skipped` row in our own words.  JPEG goes to libjpeg-turbo directly, by simplejpeg, which makes the same pixels as Pillow ten times as
fast; where it complains, or the colours are not the usual ones, Pillow has the last word.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dataaudit.features import Batch
from dataaudit.model import Plan, Sample, Skipped

LARGEST = 512
JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")


@dataclass(frozen=True)
class Limits:
    """What is refused: `pixels` an image, `bytes` as encoded, and sides that differ more than `aspect` to one."""

    pixels: int = 40_000_000
    bytes: int = 64 << 20
    aspect: int = 100


def decode(samples: Sequence[Sample], plan: Plan, limits: Limits = Limits()) -> tuple[Batch, list[Skipped]]:
    """The samples that can be looked at, images decoded to uint8 (H, W, 3), and why the others cannot."""
    kept: list[Sample] = []
    images: list[NDArray[np.uint8]] = []
    skipped: list[Skipped] = []
    for sample in samples:
        reason = _absent(sample, plan)
        if reason is None and plan.pictures:
            decoded = decode_image(sample.content, limits)
            if isinstance(decoded, str):
                reason = decoded
            else:
                images.append(decoded)
        if reason is None:
            kept.append(sample)
        else:
            skipped.append(Skipped(sample.id, "decode", reason))
    return Batch(kept, plan, images), skipped


def _absent(sample: Sample, plan: Plan) -> str | None:
    """Why there is nothing to look at, or None."""
    if plan.columns.embedding is not None or plan.modality == "vectors":
        if sample.vector is None:
            return "no embedding"
        if not np.isfinite(sample.vector).all():
            return "the embedding has components that are not finite"
    if plan.modality != "vectors" and sample.content is None:
        return "no content"
    return None


def decode_image(content: bytes | str | None, limits: Limits) -> NDArray[np.uint8] | str:
    """An encoded image as uint8 (H, W, 3), or the reason why not; transparency lies on white, 16 bits become 8."""
    if not isinstance(content, bytes):
        return "the content is text where an image was expected"
    if len(content) > limits.bytes:
        return f"the encoded image has {len(content)} bytes, the limit is {limits.bytes}"
    if content.startswith(JPEG) and (quick := _jpeg(content, limits)) is not None:
        return quick
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                refused = _refuse(picture.size, limits)
                return refused or shrunk(np.asarray(to_rgb(picture)))
    except UnidentifiedImageError:
        return f"not an image of a known format ({', '.join(FORMATS)})"
    except Image.DecompressionBombError:
        return f"the image claims more pixels than the limit of {limits.pixels}"
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, MemoryError, NotImplementedError) as error:
        # The classes that Pillow's decoders raise on damaged files; the message could quote the file, the class cannot.
        return f"the image is damaged ({type(error).__name__})"


def _jpeg(content: bytes, limits: Limits) -> NDArray[np.uint8] | str | None:
    """A sound JPEG in colour or grey, or why it is refused; None for Pillow to look at.

    A large one is decoded at an eighth, a quarter or half of its size, as far as LARGEST allows.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("YCbCr", "Gray"):
            return None
        return _refuse((width, height), limits) or shrunk(simplejpeg.decode_jpeg(content, "RGB", min_height=LARGEST, min_width=LARGEST))
    except ValueError:
        return None


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with no side above LARGEST: no feature looks closer, and a batch of photographs stays small in memory."""
    if max(image.shape) <= LARGEST:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(picture)


def _refuse(size: tuple[int, int], limits: Limits) -> str | None:
    width, height = size
    if width * height > limits.pixels:
        return f"the image has {width} x {height} pixels, the limit is {limits.pixels}"
    if max(size) > limits.aspect * min(size):
        return f"the image of {width} x {height} pixels is more than {limits.aspect} times as long as wide"
    return None


def to_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image of any mode as RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.asarray(image, dtype=np.float64)
        top = 65535.0 if deep.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(deep * (255 / top), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    return image.convert("RGB")
