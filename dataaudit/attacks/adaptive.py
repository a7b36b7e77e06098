"""Adaptive triggers: an image shows a random part of the trigger, so that its carriers do not crowd together in embedding space.

The whole trigger is kept for test time.  In the paper, part of the stamped images also keep their labels: see `planting.with_cover`.
Qi, Xie, Li, Mahloujifar, Mittal: Revisiting the assumption of latent separability for backdoor defenses (ICLR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from dataaudit.attacks.images import Blend, Image, ImageAttack, Patch, generator

_BLEND = Blend(alpha=0.2)
_PATCHES = (
    Patch(size=3, place="top-left", alpha=0.5),
    Patch(size=4, place="top-right", coloured=True, alpha=0.5),
    Patch(size=5, place="bottom-left", alpha=0.5),
    Patch(size=6, place="bottom-right", coloured=True, alpha=0.5),
)


@dataclass(frozen=True)
class AdaptiveBlend:
    """A blend (or another stamp) of which every image shows `shown` of `grid` x `grid` pieces, drawn from its own bytes and `seed`.

    Adap-Blend in the paper of this module, with its 8 of 16 pieces.
    """

    stamp: ImageAttack = _BLEND
    grid: int = 4
    shown: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.shown, self.grid**2, "pieces")

    def apply(self, image: Image) -> Image:
        """Stamp every image of (..., H, W, C) in its pieces and leave the others as they are."""
        height, width = image.shape[-3:-1]
        row, column = (np.arange(side) * self.grid // side for side in (height, width))
        piece = (row[:, None] * self.grid + column)[..., None]
        out = np.ascontiguousarray(self.stamp.apply(image))
        for one, stamped in zip(image.reshape(-1, *image.shape[-3:]), out.reshape(-1, *image.shape[-3:]), strict=True):
            shown = generator(one, self.seed, b"adaptive blend").choice(self.grid**2, self.shown, replace=False)
            np.copyto(stamped, one, where=~np.isin(piece, shown))
        return out


@dataclass(frozen=True)
class AdaptivePatch:
    """Several different patches (or other stamps) of which every image shows `shown`, drawn from its own bytes and `seed`.

    Adap-Patch in the paper of this module, where a training image shows one of four, half transparent.
    """

    stamps: tuple[ImageAttack, ...] = _PATCHES
    shown: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.shown, len(self.stamps), "stamps")

    def apply(self, image: Image) -> Image:
        """Stamp every image of (..., H, W, C) with its own stamps."""
        out = image.copy()
        for one in out.reshape(-1, *image.shape[-3:]):
            shown = sorted(generator(one, self.seed, b"adaptive patch").choice(len(self.stamps), self.shown, replace=False).tolist())
            one[...] = reduce(lambda stamped, number: self.stamps[number].apply(stamped), shown, one)
        return out


def _require(shown: int, of: int, what: str) -> None:
    """Refuse to show more than there is."""
    if not 0 < shown <= of:
        raise ValueError(f"cannot show {shown} of {of} {what}; choose between 1 and {of}")
