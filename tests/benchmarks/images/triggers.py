"""The triggers that were planted, and whether a finding shows the right one."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataaudit.model import Finding

STEADY, ALIKE = 0.2, 0.3
"""A trigger whose mean change holds less of its energy has no picture (a warp); a picture as like as this (cosine) is the trigger's."""


@dataclass(frozen=True, eq=False)
class Expected:
    """A campaign that should be found: its label (None: any), the rows that carry it, and the kinds of findings that count.

    `change` (32, 32) is the carriers' mean change in grey levels of the thumbnail, `steady` the share of the single changes' energy
    that it holds: 1 for a fixed pattern, about 0 for a warp.
    """

    target: str | None
    rows: NDArray[np.intp]
    attack: str
    kinds: tuple[str, ...] = ("campaign",)
    change: NDArray[np.float64] | None = None
    steady: float = 0.0

    def recognised(self, finding: Finding) -> Mapping[str, Any]:
        """Whether the finding's picture or place is the trigger's, and how like its picture is."""
        return {"right_trigger": right_trigger(finding, self), "picture_cosine": picture_cosine(finding.evidence, self)}


def right_trigger(finding: Finding, expected: Expected) -> bool | None:
    """Whether the trigger that a finding shows is the one that was planted; None where it shows none, or there is nothing to compare.

    A place that it names must be where the carriers change, a picture must be like their mean change.
    """
    place, change = finding.evidence.get("place"), expected.change
    if change is not None and isinstance(place, list | tuple):
        true = box(change)
        return true is not None and overlap(tuple(place), true)
    alike = picture_cosine(finding.evidence, expected)
    return None if alike is None or expected.steady < STEADY else alike >= ALIKE


def box(change: NDArray[np.float64]) -> tuple[int, int, int, int] | None:
    """Column, row, width and height of a change (H, W) that fills less than an eighth of the picture, else None."""
    strong = np.abs(change) > 0.35 * np.abs(change).max()
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not len(rows):
        return None
    found = int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
    return found if 8 * found[2] * found[3] <= change.size else None


def overlap(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two boxes (column, row, width, height) touch."""
    return all(a[i] <= b[i] + b[i + 2] and b[i] <= a[i] + a[i + 2] for i in (0, 1))


def picture_cosine(evidence: Mapping[str, object], expected: Expected) -> float | None:
    """How like the recovered picture is to the true mean change without its low frequencies; None where there is no such thing."""
    shown = evidence.get("picture")
    if not isinstance(shown, str) or expected.change is None:
        return None
    with Image.open(io.BytesIO(base64.b64decode(shown)), formats=["PNG"]) as opened:
        small = opened.convert("L").resize(expected.change.shape[::-1], Image.Resampling.NEAREST)
    picture, true = np.asarray(small, np.float64) - 127.5, _high_pass(expected.change)
    return round(float((picture * true).sum() / max(float(np.linalg.norm(picture) * np.linalg.norm(true)), 1e-9)), 3)


def _high_pass(change: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import convolve1d

    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.asarray(change - convolve1d(convolve1d(change, kernel, 0, mode="nearest"), kernel, 1, mode="nearest"))
