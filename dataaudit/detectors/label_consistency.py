"""Samples whose target contradicts their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views, plan_of
from dataaudit.aggregates.knn import KnnView
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000
PAIRS_SHOWN = 10
MIDST = 0.8


@dataclass(frozen=True)
class LabelConsistency:
    """Samples that look like one target and carry another.

    Attack: flipped labels, alone or many from one label to another; dirty-label backdoors also show here, one
    sample at a time.
    Signal: how unlikely an out-of-fold classifier finds the sample's own target, and the share of its nearest
    neighbours with another.  A sample is called when another target holds at least `majority` of its neighbours
    and at least as much as three quarters of that target's own samples see around themselves (as in confident
    learning, each target sets its own threshold), and the out-of-fold probability of its own target is below `doubt`.
    Innocent causes: honest mistakes of annotators, ambiguous content, rare kinds within a label.  Every real data
    set has them; alone they are graded medium.
    Source: Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021; Bahri, Jiang and Gupta, "Deep k-NN for
    noisy labels", ICML 2020.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "knn")
    columns: ClassVar[tuple[str, ...]] = ("target", "embedding", *TARGET_COLUMNS)

    k: int = 20
    majority: float = 0.6
    doubt: float = 0.2
    flips: int = 10
    alpha: float = 1e-4

    def unavailable(self, plan: Plan) -> str | None:
        return "the data has no labels or responses to compare the content with" if plan.target_kind == "none" else None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Half out-of-fold disagreement d / (d + ln 10), half the neighbours' share with another target.

        The group of a called sample is (own target) x (number of targets) + (its neighbours' target).
        """
        view: KnnView = views["knn"]
        count = len(views["targets"].names)
        own = views["targets"].index(table)
        distance, near = view.neighbours(table, self.k)
        if count < 2 or not near.shape[1]:
            return Scores(np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32))
        share, rival, rival_share = votes(own, view.target[near], closeness(distance))
        surprise = np.maximum(views["moments"].disagreement(table, views), 0)
        score = np.where(own < 0, 0, (surprise / (surprise + log(10)) + 1 - share) / 2)
        needed = np.maximum(self.majority, usual_share(view, self.k, count)[np.maximum(rival, 0)])
        called = (own >= 0) & (rival >= 0) & (rival_share >= needed) & (surprise >= -log(self.doubt))
        group = np.where(called, own * count + rival, -1)
        return Scores(np.clip(score, 0, 1).astype(np.float32), group.astype(np.int32))

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding for each direction of concentrated flips, then one for all called samples."""
        if not len(marked):
            return
        names = [str(n) for n in views["targets"].names]
        labelled, label = ("captioned", "caption") if plan_of(views).captioned else ("labelled", "label")
        flips = directions(np.asarray(marked.column("group")), len(names))
        evidence = [{"label": names[a], "looks like": names[b], "count": n} for a, b, n in flips[:PAIRS_SHOWN]]
        for a, b, n, p_value in self.concentrated(flips, len(names)):
            if not leaves_a_gap(views["knn"], a, b, self.k):
                continue
            rows = marked.filter(pc.equal(marked.column("group"), a * len(names) + b))
            yield finding(
                rows,
                ("flip", names[a], names[b]),
                names[a],
                p_value,
                f"{n:,} samples {labelled} {names[a]!r} look like {names[b]!r}, far more than the other way round.",
                {"label": names[a], "looks like": names[b], "innocent": "an annotation guideline that was read wrongly"},
            )
        yield finding(
            marked,
            ("all",),
            "",
            1.0,
            f"{len(marked):,} samples whose {label} their content contradicts, the clearest first; expect ambiguous ones among them.",
            {"directions": evidence, "innocent": "honest mistakes and ambiguous content"},
        )

    def concentrated(self, flips: Sequence[tuple[int, int, int]], count: int) -> list[tuple[int, int, int, float]]:
        """Directions that stand out: label, its look, count, p-value.

        Honest confusions go both ways and are spread out, so under the null a direction is as frequent as its
        reverse (binomial test, Bonferroni over all directions between `count` targets); it must also hold `flips`
        samples, three times its reverse, and five times the median direction.  Labels that shade into each other
        are sorted out later (`leaves_a_gap`).
        """
        from scipy.stats import binom

        counted = {(a, b): n for a, b, n in flips}
        possible = count * (count - 1)
        middle = sorted(counted.values())[-(possible // 2) - 1] if 2 * len(counted) > possible else 0
        found = []
        for (a, b), n in counted.items():
            back = counted.get((b, a), 0)
            p_value = min(1.0, possible * float(binom.sf(n - 1, n + back, 0.5)))
            if n >= max(self.flips, 3 * back) and n >= 5 * middle and p_value <= self.alpha:
                found.append((a, b, n, p_value))
        return found

    def blind(self, views: Views) -> str | None:
        """Beyond a number of targets they are not told apart."""
        count = len(views["targets"].names)
        if count < 2:
            return "there is one target only, which nothing can contradict"
        return None if len(views["moments"].counts) else f"{count:,} targets are too many to tell apart; only near neighbours were compared"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Nothing to add: sample and label stand side by side."""
        return finding


def closeness(distance: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weights (n, k) that sum to 1 in each row; the k-th neighbour counts half of a copy."""
    weight = 1 / (1 + distance.astype(np.float64) / np.maximum(distance[:, -1:].astype(np.float64), 1e-9))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def votes(
    own: NDArray[np.int32], theirs: NDArray[np.int32], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """The weighted share of each row's neighbours (n, k) with its own target, the strongest other target, and that one's share."""
    share = (weight * (theirs == own[:, None])).sum(axis=1)
    # support[i, j]: how much weight the target of neighbour j has among the neighbours of row i.
    support = np.einsum("nij,nj->ni", theirs[:, :, None] == theirs[:, None, :], weight)
    support[(theirs == own[:, None]) | (theirs < 0)] = 0
    best = support.argmax(axis=1)
    rows = np.arange(len(own))
    rival_share = support[rows, best]
    # Weights sum to 1 only nearly: without rounding, the last bits would order samples that are equal.
    share, rival_share = np.round(share, 6), np.round(rival_share, 6)
    return share, np.where(rival_share > 0, theirs[rows, best], -1).astype(np.int64), rival_share


def usual_share(view: KnnView, k: int, count: int) -> NDArray[np.float64]:
    """The share of its own target that three quarters of the references of each target see around themselves, shape (count,)."""
    same = (view.target[view.near[:, :k]] == view.target[:, None]).mean(axis=1)
    order = np.lexsort((same, view.target))
    number = np.bincount(view.target[view.target >= 0], minlength=count)
    unlabelled = len(order) - number.sum()
    lower = unlabelled + np.cumsum(number) - number + number // 4
    return np.where(number > 0, same[order][np.minimum(lower, len(order) - 1)], 0.0)


def leaves_a_gap(view: KnnView, label: int, look: int, k: int) -> bool:
    """Whether more references of `label` lie in the midst of `look` than halfway there.

    A flipped sample sees hardly anything but the other label; where labels shade into each other (shirts and
    tops), more samples see both.
    """
    near = view.near[view.target == label, :k]
    share = (view.target[near] == look).mean(axis=1)
    return bool((share >= MIDST).sum() > ((share >= 1 - MIDST) & (share < MIDST)).sum())


def directions(group: NDArray[np.int32], count: int) -> list[tuple[int, int, int]]:
    """Each direction (label, look, number of samples), most frequent first."""
    found, number = np.unique(group, return_counts=True)
    order = np.argsort(-number, kind="stable")
    return [(int(g) // count, int(g) % count, int(n)) for g, n in zip(found[order], number[order], strict=True)]


def finding(rows: pa.Table, what: tuple[str, ...], target: str, p_value: float, reason: str, evidence: dict[str, object]) -> Finding:
    """A finding about the given rows, strongest first."""
    return Finding(
        id=fingerprint("label_consistency", *what),
        kind="label",
        detector="label_consistency",
        severity="medium",
        subject=" to ".join(what[1:]) or f"{len(rows):,} samples",
        target=target,
        count=len(rows),
        samples=tuple(strongest(rows).column("sample_id").slice(0, CAP).to_pylist()),
        risk=float(pc.max(rows.column("score")).as_py()),
        p_value=p_value,
        reason=reason,
        evidence=evidence,
        groups=tuple(sorted(pc.unique(rows.column("group")).to_pylist())),
    )
