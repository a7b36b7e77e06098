"""Near-duplicates of one image, as a flood plants them (see `planting.flood`)."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
from PIL import Image as Pillow

from dataaudit.attacks.images import Image, to_uint8

_SHIFTS, _BRIGHTNESS, _QUALITIES = range(-1, 2), range(-2, 3), range(70, 99)
_VARIANTS = tuple(product(_SHIFTS, _SHIFTS, _BRIGHTNESS, _QUALITIES))


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


def _copy(image: Image, down: int, right: int, brighter: int, quality: int) -> Image:
    """One copy; the edge that a shift uncovers is repeated."""
    height, width, channels = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.float64)
    moved = to_uint8(padded[1 - down : 1 - down + height, 1 - right : 1 - right + width] + brighter)
    encoded = io.BytesIO()
    Pillow.fromarray(moved[..., 0] if channels == 1 else moved).save(encoded, "JPEG", quality=quality)
    return np.asarray(Pillow.open(encoded), dtype=np.uint8).reshape(image.shape)
