"""Versions of one image: near-duplicates, as a flood plants them (`planting.flood`), and retouched ones (`captions.single_image`)."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
from PIL import Image as Pillow

from dataaudit.attacks.images import Image, to_uint8

_SHIFTS, _BRIGHTNESS, _QUALITIES = range(-1, 2), range(-2, 3), range(70, 99)
_VARIANTS = tuple(product(_SHIFTS, _SHIFTS, _BRIGHTNESS, _QUALITIES))
RETOUCHED = 0.08


def near_duplicates(image: Image, count: int, seed: int = 0) -> Image:
    """Slightly different copies of one image: shifted by up to a pixel, up to 2 grey levels brighter or darker, saved as JPEG again.

    Takes uint8 (H, W, C), C = 1 or 3; returns uint8 (count, H, W, C).  No two copies are made alike (flat images may look so all
    the same).  More copies than there are ways to make one is a ValueError.
    Carlini et al.: Quantifying memorization across neural language models (ICLR 2023), arXiv:2202.07646, on what repetition does.
    """
    if not 0 <= count <= len(_VARIANTS):
        raise ValueError(f"cannot make {count} near-duplicates: there are {len(_VARIANTS)} ways to make one; choose a smaller count")
    chosen = np.random.default_rng(seed).permutation(len(_VARIANTS))[:count].tolist()
    copies = np.empty((count, *image.shape), np.uint8)
    for copy, variant in zip(copies, chosen, strict=True):
        copy[...] = _copy(image, *_VARIANTS[variant])
    return copies


def retouched(image: Image, count: int, seed: int = 0) -> Image:
    """Versions of one image as people would make them: cut by up to 8 % at every side, brighter or darker by up to 8 %, saved as JPEG.

    Takes uint8 (H, W, C), C = 1 or 3; returns uint8 (count, H, W, C).  Fewer versions are the first of more.
    Carlini, Terzis: Poisoning and backdooring contrastive learning (ICLR 2022), arXiv:2106.09667, poison one image many times.
    """
    return np.stack([_retouched(image, np.random.default_rng([seed, i])) for i in range(count)]) if count else image[None][:0]


def _retouched(image: Image, rng: np.random.Generator) -> Image:
    height, width, channels = image.shape
    left, top, right, bottom = rng.uniform(0, RETOUCHED, 4)
    box = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    flat = Pillow.fromarray(image[..., 0] if channels == 1 else image)
    cut = np.asarray(flat.resize((width, height), Pillow.Resampling.BICUBIC, box), np.float64).reshape(image.shape)
    return _as_jpeg(to_uint8(cut * rng.uniform(1 - RETOUCHED, 1 + RETOUCHED)), int(rng.integers(_QUALITIES.start, _QUALITIES.stop)))


def _copy(image: Image, down: int, right: int, brighter: int, quality: int) -> Image:
    """One copy; the edge that a shift uncovers is repeated."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.float64)
    moved = to_uint8(padded[1 - down : 1 - down + height, 1 - right : 1 - right + width] + brighter)
    return _as_jpeg(moved, quality)


def _as_jpeg(image: Image, quality: int) -> Image:
    encoded = io.BytesIO()
    Pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, "JPEG", quality=quality)
    return np.asarray(Pillow.open(encoded), dtype=np.uint8).reshape(image.shape)
