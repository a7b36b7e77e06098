"""What a mean change of the pixels looks like to a person: as a picture, at a place, of a frequency."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

PEAK = 0.4
"""From this share of a change's energy on, one frequency is what the change is."""


def picture(change: NDArray[np.floating]) -> str:
    """A change of the pixels (side, side) as a PNG in base64: grey is no change, the largest is white or black."""
    from PIL import Image

    largest = max(float(np.abs(change).max()), 1e-6)
    shown = np.rint(127.5 + 127.5 * change / largest).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).resize((128, 128), Image.Resampling.NEAREST).save(out, format="PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def locate(change: NDArray[np.floating]) -> list[int] | None:
    """Column, row, width and height of a change that fills less than an eighth of the picture, else None."""
    side = len(change)
    strong = np.abs(change) > 0.35 * np.abs(change).max()
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not len(rows):
        return None
    height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    return [int(columns[0]), int(rows[0]), width, height] if height * width <= side * side // 8 else None


def frequency(change: NDArray[np.floating]) -> list[int] | None:
    """Waves across and down over the side, of a change (side, side) that is mostly one wave, else None."""
    power = np.abs(np.fft.rfft2(change)) ** 2
    power[:, 1:-1] *= 2
    power[0, 0] = 0
    down, across = np.unravel_index(int(power.argmax()), power.shape)
    side = len(change)
    strongest = float(power[down, across] + (power[-down % side, across] if across in (0, side // 2) and 2 * down % side else 0))
    return [int(across), int(min(down, side - down))] if strongest >= PEAK * max(float(power.sum()), 1e-9) else None
