"""What counts of hits say about a candidate trigger, label by label and threshold by threshold.

Everything here is a pure function of arrays.  Most take histograms cumulated from above over `EDGES`: hits inside the accused label,
hits outside of it, and how large both are.  Used twice: on the bounded sample, to keep the candidates worth a pass over all
data, and on the whole data set, to judge them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EDGES = np.array([3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0, 16.0, 20.0, 24.0, 28.0, 40.0])
"""Lower edges of the bins of z; the last has no end.  Where a double is no edge, `gap` uses the next one up."""
TELLING = 0.45
"""A candidate none of whose hits contradict their label, or are left when the threshold is doubled, by this share is innocent."""
MOST_DOUBT = 4.0
"""From this disagreement on (nats) content and label contradict each other; more counts no more, so that no single row decides."""
FEW = 6.0
"""A gap below which fewer excess hits than these are left is no gap."""

NORMAL_QUARTER, NORMAL_TENTH = 0.6745, 1.2816
"""How far the lower quartile and decile of a normal distribution are from its middle, in standard deviations."""
NORMAL_CLEAR = 2.65
"""How far apart `split` puts the halves of a normal distribution, in deviations within them; of n values up to 4 / sqrt(n) more."""
FAR, MANY, CLEAR = 2.0, 0.1, 3.5
"""Where more than the share `MANY` lies `FAR` deviations above the middle, and `split` finds heaps as `CLEAR`, there are two."""
HEAPS = 3
"""Heaps that are taken off from above, at the most: a few carriers stronger than the others must not hide them."""
SKEWED = 0.8
"""A lower quarter narrower than this, in units of what the lower half promises: the upper half holds something else.  Few values may
be skewed by chance, so that it must be narrower by 1.5 / sqrt(n) there."""


def excess(inside: NDArray[np.int64], outside: NDArray[np.int64], here: int, elsewhere: int) -> NDArray[np.float64]:
    """Hits inside beyond what a look as common here as elsewhere would give, never below 0; same shape as `inside`."""
    return np.maximum(inside - outside * (here / max(1, elsewhere)), 0.0)


def false_share(inside: NDArray[np.int64], outside: NDArray[np.int64], here: int, elsewhere: int, enrichment: float) -> NDArray[np.float64]:
    """The share of the hits inside that innocents would account for, were the look `enrichment` times as common here; up to 1."""
    innocent = enrichment * outside * (here / max(1, elsewhere))
    return np.minimum(1.0, np.where(inside > 0, innocent / np.maximum(1, inside), 1.0))


def gap(inside: NDArray[np.int64], outside: NDArray[np.int64], here: int, elsewhere: int) -> NDArray[np.float64]:
    """What is left of the excess hits beyond each threshold when it is doubled, shape (b,), 0 to 1: a trigger is there or not.

    The z of an innocent look fades: doubling a threshold leaves a third of it at most.  0 where the double is off the scale,
    leaves too few to tell, or where innocents are more than a quarter of the hits, so that what is left says little.
    """
    beyond, innocent = excess(inside, outside, here, elsewhere), false_share(inside, outside, here, elsewhere, 1.0)
    left = np.zeros(len(EDGES))
    doubled = np.searchsorted(EDGES, 2 * EDGES)
    there = np.flatnonzero((doubled < len(EDGES)) & (innocent <= 0.25))
    far = beyond[doubled[there]]
    left[there] = np.where(far >= FEW, np.minimum(1.0, far / np.maximum(beyond[there], 1e-9)), 0.0)
    return left


def plateau(inside: NDArray[np.int64], outside: NDArray[np.int64], here: int, elsewhere: int) -> int:
    """The lowest edge with hardly more excess hits than are left (`gap`) far above it: the foot of what stands apart."""
    beyond = excess(inside, outside, here, elsewhere)
    at = int(gap(inside, outside, here, elsewhere).argmax())
    doubled = int(np.searchsorted(EDGES, 2 * EDGES[at]))
    # Excess may vanish below, where innocents elsewhere account for all hits: the foot is above the last edge with more than is left.
    # It is no higher than the gap begins, even where some of the hits fade within it.
    more = np.flatnonzero(beyond[:doubled] > 1.03 * float(beyond[doubled]) + 1)
    return min(at, int(more[-1]) + 1) if len(more) else 0


def promise(inside: NDArray[np.int64], outside: NDArray[np.int64], doubt: NDArray[np.float64], here: int, elsewhere: int) -> float:
    """How much a candidate is worth looking at: pure hits that leave a gap or contradict their label.

    `inside`, `outside` and `doubt` (the mean contradiction of the hits inside, 0 to 1) are of shape (b,).
    """
    beyond = excess(inside, outside, here, elsewhere)
    pure = 1 - false_share(inside, outside, here, elsewhere, 3.0)
    telling = np.maximum(gap(inside, outside, here, elsewhere), np.where(inside >= FEW, doubt, 0.0))
    return float((np.minimum(beyond, 1000.0) * pure * np.where(telling >= TELLING, telling, 0.0) ** 2).max(initial=0.0))


def binned(z: NDArray[np.floating], weight: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Rows (or their weights) beyond each edge, shape (b,), of z (n,)."""
    at = np.searchsorted(EDGES, z, side="right") - 1
    some = at >= 0
    counted = np.bincount(at[some], None if weight is None else weight[some], minlength=len(EDGES))
    return np.asarray(np.cumsum(counted[::-1])[::-1], dtype=np.float64)


def kinship(features: NDArray[np.floating], z: NDArray[np.float64], most: int = 200) -> NDArray[np.float64]:
    """How much nearer of kin the hits beyond each edge are than as many other rows, shape (b,), of features (n, d) and z (n,).

    Kin is the median cosine of a row to its next of kin, of features about their own mean, so that what was added to all counts for
    nobody.  0 where a change was put on any rows, towards 1 where the hits are series of near-copies, whatever else they share.
    At most the `most` highest z are compared; 0 for fewer than three hits, or more than there are other rows.
    """
    order = np.argsort(-z, kind="stable")[:most]
    others = np.flatnonzero(z < EDGES[0])
    found = np.zeros(len(EDGES))
    known: dict[int, float] = {}
    for at, number in enumerate(np.minimum(binned(z), len(order)).astype(int).tolist()):
        if 2 < number <= len(others) and number not in known:
            usual = next_of_kin(features[others[np.linspace(0, len(others) - 1, number).astype(np.intp)]])
            known[number] = (next_of_kin(features[order[:number]]) - usual) / max(1 - usual, 1e-9)
        found[at] = known.get(number, 0.0)
    return found


def next_of_kin(features: NDArray[np.floating]) -> float:
    """The median over rows (n, d) of the cosine to the most similar other row, about their mean."""
    centred = features - features.mean(axis=0)
    centred = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    cosine = centred @ centred.T
    np.fill_diagonal(cosine, -1.0)
    return float(np.median(cosine.max(axis=1)))


def robust_scale(values: NDArray[np.floating]) -> tuple[float, float]:
    """Middle and standard deviation (n >= 1) from the lower half alone, since a trigger's carriers are in the upper one.

    Where carriers are so many that they shift the median (`SKEWED`), from the lower quarter: that bears up to half of a small label.
    Where so many lie so far above that there are two heaps, those of the lower one.
    """
    middle, scale = lower_half(values)
    if (values > middle + FAR * scale).sum() <= MANY * len(values):
        return middle, scale
    rest = np.sort(values)
    for _ in range(HEAPS):
        if len(rest) < 2:
            break
        side, share, clear = split(rest)
        if side < 0 or clear < CLEAR:
            break
        rest = rest[: len(rest) - round(share * len(rest))]
    if len(rest) > (1 - MANY) * len(values):
        return middle, scale
    lower, own = lower_half(rest)
    return lower, max(own, scale / 2)


def lower_half(values: NDArray[np.floating]) -> tuple[float, float]:
    """Middle and standard deviation (n >= 1) as the lower half tells them, or its own lower half where the upper one holds more."""
    low, quarter, middle = np.quantile(values, (0.1, 0.25, 0.5)).tolist()
    below = middle - values[values < middle]
    if not len(below):
        return middle, 1.0
    scale = float(np.median(below)) / NORMAL_QUARTER
    lower = max((quarter - low) / (NORMAL_TENTH - NORMAL_QUARTER), scale / 3)
    if lower < (SKEWED - 1.5 / np.sqrt(len(values))) * scale:
        middle, scale = quarter + NORMAL_QUARTER * lower, lower
    return middle, scale + 1e-12


def robust_middles(values: NDArray[np.float64], starts: NDArray[np.intp], usual: float) -> NDArray[np.float64]:
    """`robust_scale(values[starts[i] : starts[i + 1]])[0]` for every i, all of them at once; `usual` where there are no values."""
    found = np.full(len(starts) - 1, usual)
    size = np.diff(starts)
    some = np.flatnonzero(size)
    if not len(some):
        return found
    first, n = starts[some], size[some]
    ordered = values.copy()
    for at, number in zip(first.tolist(), n.tolist(), strict=True):
        ordered[at : at + number].sort()
    low, quarter, middle = (_quantile(ordered, first, n, share) for share in (0.1, 0.25, 0.5))
    below = np.add.reduceat(ordered < np.repeat(middle, n), first, dtype=np.int64)
    half = ((middle - ordered[first + np.maximum(below - 1, 0) // 2]) + (middle - ordered[first + below // 2])) / 2
    scale = np.where(below > 0, half / NORMAL_QUARTER, 1.0)
    lower = np.maximum((quarter - low) / (NORMAL_TENTH - NORMAL_QUARTER), scale / 3)
    skewed = (below > 0) & (lower < (SKEWED - 1.5 / np.sqrt(n)) * scale)
    middle, scale = np.where(skewed, quarter + NORMAL_QUARTER * lower, middle), np.where(skewed, lower, scale)
    far = np.add.reduceat(ordered > np.repeat(middle + FAR * scale, n), first, dtype=np.int64) > MANY * n
    for one in np.flatnonzero(far).tolist():
        middle[one] = robust_scale(values[first[one] : first[one] + n[one]])[0]
    found[some] = middle
    return found


def _quantile(ordered: NDArray[np.float64], first: NDArray[np.intp], n: NDArray[np.intp], share: float) -> NDArray[np.float64]:
    """The quantile, interpolated, of each of the runs of `n` ascending values that begin at `first`."""
    place = share * (n - 1)
    lower = np.floor(place).astype(np.intp)
    a, b = ordered[first + lower], ordered[first + np.minimum(lower + 1, n - 1)]
    return np.asarray(a + (b - a) * (place - lower))


def split(values: NDArray[np.floating]) -> tuple[int, float, float]:
    """Which heap of the values (n >= 2) is the smaller (1 the upper, -1 the lower), its share, and how far apart the two are.

    The heaps are those of least variance within (Otsu 1979, two means in one dimension); how far apart their means are is in standard
    deviations within them.
    """
    ordered = np.sort(values.astype(np.float64) - values.mean())
    number = np.arange(1, len(ordered))
    cut = int((np.cumsum(ordered)[:-1] ** 2 / (number * (len(ordered) - number))).argmax()) + 1
    low, high = ordered[:cut], ordered[cut:]
    within = np.sqrt((len(low) * low.var() + len(high) * high.var()) / len(ordered))
    clear = float((high.mean() - low.mean()) / max(float(within), 1e-12))
    return (1 if len(high) <= len(low) else -1), min(len(high), len(low)) / len(values), clear


def measure(
    scores: NDArray[np.float64],
    inside: NDArray[np.bool_],
    mates: NDArray[np.bool_],
    target: NDArray[np.int32],
    doubt: NDArray[np.float64],
    labels: int,
) -> tuple[float, NDArray[np.float64], float, NDArray[np.float64]]:
    """Promise, middle by label (L,), scale, and z (n,) of a candidate's scores (n,) on the sample, whose rows are in order of `target`.

    `inside` tells the rows of the accused label, `mates` those whose middle and scale count, `doubt` (n,) how much each contradicts
    its label, 0 to 1.
    """
    middle = robust_middles(scores, np.searchsorted(target, np.arange(labels + 1)), robust_scale(scores[mates])[0])
    centred = scores - middle[target]
    scale = robust_scale(centred[mates])[1]
    z = centred / scale
    here, there = binned(z[inside]), binned(z[~inside])
    contradiction = binned(z[inside], doubt[inside]) / np.maximum(here, 1)
    worth = promise(here.astype(np.int64), there.astype(np.int64), contradiction, int(inside.sum()), int((~inside).sum()))
    return worth, middle, scale, z
