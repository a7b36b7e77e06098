"""Which samples an attack takes and what labels they get: pure functions of the labels and a seed.

`labels` is always (n,) of integers, one a sample; a planting names rows of it.  What is stamped on the rows is another matter:

    planting = dirty_label(labels, target=0, count=50, seed=1)
    images[planting.rows] = attack.apply(images[planting.rows])
    labels = planting.relabelled(labels)

With one seed, the carriers of a small planting are the first carriers of a larger one, so that rates can be compared.
A count that the pool of candidates does not hold is a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]
Rows = NDArray[np.intp]


def _no_rows() -> Rows:
    return np.empty(0, np.intp)


@dataclass(frozen=True, eq=False)
class Planting:
    """`rows` (k,) are the carriers, `labels` (k,) their new labels; `cover` rows are stamped as well, but keep their labels."""

    rows: Rows
    labels: Labels
    cover: Rows = field(default_factory=_no_rows)

    def relabelled(self, labels: Labels) -> Labels:
        """A copy of the data set's labels with those of the carriers replaced."""
        out = labels.copy()
        out[self.rows] = self.labels
        return out


def dirty_label(labels: Labels, target: int, count: int, seed: int = 0) -> Planting:
    """Carriers of any other label, relabelled to the target.

    Gu, Dolan-Gavitt, Garg: BadNets (2017), arXiv:1708.06733.
    """
    rows = _draw(np.flatnonzero(labels != target), count, seed, f"with a label other than {target}")
    return _all_one(rows, target, labels)


def clean_label(labels: Labels, target: int, count: int, seed: int = 0) -> Planting:
    """Carriers of the target label, which they keep.

    Turner, Tsipras, Madry: Label-consistent backdoor attacks (2019), arXiv:1912.02771; also Barni, Kallas, Tondi (ICIP 2019).
    """
    rows = _draw(np.flatnonzero(labels == target), count, seed, f"with label {target}")
    return _all_one(rows, target, labels)


def all_to_all(labels: Labels, count: int, seed: int = 0, classes: int | None = None) -> Planting:
    """Carriers of any label y, relabelled to y + 1 modulo the number of classes; by default the largest label + 1.

    Gu, Dolan-Gavitt, Garg: BadNets (2017), arXiv:1708.06733.
    """
    highest = int(labels.max())
    modulus = highest + 1 if classes is None else classes
    if not highest < modulus:
        raise ValueError(f"labels must lie in 0..{modulus - 1} for {modulus} classes, found {highest}")
    rows = _draw(np.arange(len(labels)), count, seed, "in the data set")
    return Planting(rows, (labels[rows] + 1) % modulus)


def source_specific(labels: Labels, source: int, target: int, count: int, cover: int, seed: int = 0) -> Planting:
    """Carriers of the source label, relabelled to the target; `cover` samples of the remaining labels carry the trigger and keep theirs.

    Tang, Wang, Tang, Zhang: Demon in the variant (TaCT, USENIX Security 2021), arXiv:1908.00686.
    """
    planting = targeted_flips(labels, source, target, count, seed)
    pool = np.flatnonzero((labels != source) & (labels != target))
    return replace(planting, cover=_draw(pool, cover, seed, f"with a label other than {source} and {target}", "cover samples"))


def with_cover(planting: Planting, labels: Labels, count: int, seed: int = 0) -> Planting:
    """The planting with `count` cover samples more, of any label and from outside the planting.

    Nguyen, Tran: WaNet (ICLR 2021), where the cover gets `Warp(noise=0.5)`; Qi et al. (ICLR 2023), see `adaptive`.
    """
    free = np.ones(len(labels), bool)
    free[planting.rows] = free[planting.cover] = False
    more = _draw(np.flatnonzero(free), count, seed, "outside the planting", "cover samples")
    return replace(planting, cover=np.concatenate([planting.cover, more]))


def random_flips(labels: Labels, count: int, seed: int = 0) -> Planting:
    """Samples whose labels become another one that occurs in the data set, at random; nothing is to be stamped.

    Biggio, Nelson, Laskov: Support vector machines under adversarial label noise (ACML 2011).
    """
    names = np.unique(labels)
    if len(names) < 2:
        raise ValueError(f"random flips need at least 2 labels, found {len(names)}")
    rows = _draw(np.arange(len(labels)), count, seed, "in the data set")
    steps = np.random.default_rng([seed, 1]).integers(1, len(names), len(labels))[rows]
    return Planting(rows, names[(np.searchsorted(names, labels[rows]) + steps) % len(names)])


def targeted_flips(labels: Labels, source: int, target: int, count: int, seed: int = 0) -> Planting:
    """Samples of the source label, relabelled to the target; nothing is to be stamped.

    Tolpegin, Truex, Gursoy, Liu: Data poisoning attacks against federated learning systems (ESORICS 2020), arXiv:2007.08432.
    """
    if source == target:
        raise ValueError(f"source and target are both {source}; choose two labels")
    rows = _draw(np.flatnonzero(labels == source), count, seed, f"with label {source}")
    return _all_one(rows, target, labels)


def flood(labels: Labels, target: int, count: int, seed: int = 0) -> Planting:
    """Samples of other labels that all become near-duplicates of the first of them, labelled as the target.

    The data set keeps its size, and nothing of the copied image is left under its own label:

        images[planting.rows] = near_duplicates(images[planting.rows[0]], count, seed)

    `copies.near_duplicates` says how the copies are made.
    """
    return dirty_label(labels, target, count, seed)


def _draw(pool: Rows, count: int, seed: int, which: str, what: str = "carriers") -> Rows:
    """`count` rows of the pool in random order."""
    if not 0 <= count <= len(pool):
        raise ValueError(f"cannot take {count} {what}: there are {len(pool)} samples {which}; choose another count")
    return np.random.default_rng(seed).permutation(pool)[:count]


def _all_one(rows: Rows, target: int, labels: Labels) -> Planting:
    """The rows, all with the target's label."""
    return Planting(rows, np.full(len(rows), target, labels.dtype))
