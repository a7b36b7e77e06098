"""How alike the members of many groups are, beside as many random rows: from sums of their vectors alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH = 256
TRIMMED = 6
TRIMMED_PHRASE = 10
MOST_SHARED = 0.18
"""Where the cells left out hold more than this share of all that members have, what is left does not tell how alike they are."""
SIZES = (4, 6, 10, 16, 25, 40, 63, 100, 160, 250, 400, 1_000)


@dataclass(frozen=True)
class Groups:
    """Sums over the carriers of each group: unit vectors (n, 256), their lengths, squared lengths, how many, and whether it is a phrase."""

    sums: NDArray[np.float64]
    length: NDArray[np.float64]
    energy: NDArray[np.float64]
    count: NDArray[np.float64]
    phrase: NDArray[np.bool_]

    def of(self, here: NDArray[np.bool_]) -> Groups:
        """Some of the groups."""
        return Groups(self.sums[here], self.length[here], self.energy[here], self.count[here], self.phrase[here])

    def coherence(self, trimmed: int, total: NDArray[np.float64], inside: bool = False) -> NDArray[np.float64]:
        """Mean pairwise cosine without what all texts have in common (the direction of `total`, of which longer texts have more), and
        without the cells that a group shares most; inf where these hold too much.

        A phrase that was put into all carriers fills a few cells; what they have in common besides is spread over
        many.  The energy in a cell that all share equally is its squared sum over the count.  Groups `inside` the total are
        compared with what the others have in common: each member's own part is taken out of its product with the total.
        """
        common = total / max(float(np.linalg.norm(total)), 1e-12)
        beyond = np.abs(self.sums - (self.sums @ common)[:, None] * common)
        kept = np.ones(self.sums.shape, bool)
        if trimmed and len(kept):
            np.put_along_axis(kept, np.argpartition(beyond, WIDTH - trimmed, axis=1)[:, WIDTH - trimmed :], False, axis=1)
        sums, axis = np.where(kept, self.sums, 0.0), np.where(kept, total, 0.0)
        long, squared = np.maximum((axis**2).sum(1), 1e-12), (sums**2).sum(1)
        count = np.maximum(self.count, 1)
        energy = self.energy - ((self.sums**2).sum(1) - squared) / count
        along = (sums * axis).sum(1)
        left = np.maximum(energy - along**2 / long / count, 0.05 * self.energy)
        weight = self.length**2 * left / np.maximum(self.energy, 1e-12) - left
        shared = energy < (1 - MOST_SHARED) * self.energy
        common_part = (along - left if inside else along) ** 2 / long
        found = (squared - common_part - left) / np.maximum(weight, 1e-12)
        return np.asarray(found if inside else np.where(shared, np.inf, found))


def excess(
    groups: Groups, here: NDArray[np.bool_], unit: NDArray[np.float64], draws: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How coherent groups are beyond as many random rows, in standard deviations found by drawing them: whole, and trimmed."""
    some = groups.of(here)
    sizes = np.array([s for s in SIZES if 4 * s <= len(unit)])
    rng = np.random.default_rng(0)
    energy = (unit**2).sum(1)
    length = np.sqrt(energy)
    random = []
    for size in sizes:
        rows = np.argpartition(rng.random((draws, len(unit))), size, axis=1)[:, :size]
        random.append(
            Groups(unit[rows].sum(1), length[rows].sum(1), energy[rows].sum(1), np.full(draws, float(size)), np.zeros(draws, bool))
        )
    at = np.maximum(some.count, 2)
    found = []
    for trimmed in (0, TRIMMED, TRIMMED_PHRASE):
        null = [drawn.coherence(trimmed, unit.sum(0), inside=True) for drawn in random]
        # The spread of a mean over pairs falls as the number of rows grows, beyond the largest groups drawn too.
        centre = np.interp(np.log(at), np.log(sizes), [n.mean() for n in null])
        spread = np.interp(np.log(at), np.log(sizes), [n.std() * s for n, s in zip(null, sizes, strict=True)]) / at
        found.append((some.coherence(trimmed, unit.sum(0)) - centre) / np.maximum(spread, 1e-9))
    return found[0], np.where(some.phrase, found[2], found[1])
