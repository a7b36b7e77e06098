"""The project's own audit of a feature table, in memory and in one process: the real aggregates, detectors and fusion.

What the stages do with shards and a cache is done here with batches; every unit gets the columns and the views that it asks
for and no others, as there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataaudit.detectors import Detector
from dataaudit.discovery import units
from dataaudit.findings.risk import THRESHOLD
from dataaudit.model import Finding, Plan, Sample, Settings
from dataaudit.stages.aggregate import COMMON, schedule
from dataaudit.stages.detect import GROUP, choose, wanted_views
from dataaudit.stages.judge import risk_shard
from dataaudit.stages.look import SAMPLES, again
from dataaudit.store.cache import Cache
from tests.benchmarks import measures
from tests.benchmarks.suite import Expected, Planted

SHARD = "bench"
ENOUGH = 0.5
"""The share of a campaign's carriers that a finding must hold to have found it, and of its members that must be poisons not to be false."""
KEPT = 40
"""Findings that are kept in a result."""
DEFAULTS = Settings()
Reread = Callable[[Sequence[str]], list[Sample]]


@dataclass(frozen=True)
class Result:
    """What was said of n rows: `risk` (n,), findings, and by detector `scores` (n,) and `groups` (n,); `seconds` by unit."""

    risk: NDArray[np.float64]
    findings: tuple[Finding, ...]
    scores: Mapping[str, NDArray[np.float32]]
    groups: Mapping[str, NDArray[np.int32]]
    seconds: Mapping[str, float]
    views: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def members(self, finding: Finding) -> NDArray[np.bool_]:
        """The rows that a finding is about."""
        return np.isin(self.groups[finding.detector], finding.groups)


@dataclass(frozen=True)
class Clock:
    """Adds up how long each unit takes."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - started

    def rounded(self) -> dict[str, float]:
        """Seconds by unit, slowest first."""
        return {name: round(s, 2) for name, s in sorted(self.spent.items(), key=lambda item: -item[1])}


def audit(batches: Sequence[pa.Table], plan: Plan, settings: Settings = DEFAULTS, reread: Reread | None = None) -> Result:
    """Run every unit that such data gets; campaigns get their second look where `reread` returns samples by key."""
    clock = Clock()
    detectors, _ = choose(plan, settings)
    views = fit(batches, plan, wanted_views(detectors), clock)
    table = score(batches, detectors, views, clock)
    findings = [f for name, d in detectors.items() for f in find(name, d, table, views, clock)]
    if reread is not None:
        findings = [look(f, detectors[f.detector], views, reread, clock) for f in findings]
    with clock.of("judge"):
        risk = fused(table, findings, tuple(detectors))
    scores = {name: np.asarray(table.column(name)) for name in detectors}
    groups = {name: np.asarray(table.column(name + GROUP)) for name in detectors}
    return Result(risk, tuple(findings), scores, groups, clock.rounded(), views)


def fit(batches: Sequence[pa.Table], plan: Plan, wanted: Sequence[str], clock: Clock) -> dict[str, Any]:
    """The wanted views, those they need, and the plan."""
    known = units("dataaudit.aggregates")
    views: dict[str, Any] = {"plan": plan}
    for name in (n for wave in schedule(wanted) for n in wave):
        with clock.of(name):
            unit = known[name]()
            own = needed(unit, views)
            state = None
            for batch in batches:
                started = unit.start(columns_of(batch, unit), own)
                state = started if state is None else unit.merge(state, started)
            views[name] = unit.finish(state, own)
    return views


def needed(unit: Any, views: Mapping[str, Any]) -> dict[str, Any]:
    """The plan and the views that a unit asked for."""
    return {"plan": views["plan"]} | {n: views[n] for n in unit.needs}


def columns_of(batch: pa.Table, unit: Any) -> pa.Table:
    """The common columns and those that a unit asked for, as far as the batch has them."""
    return batch.select([n for n in dict.fromkeys([*COMMON, *unit.columns]) if n in batch.column_names])


def score(batches: Sequence[pa.Table], detectors: Mapping[str, Detector], views: Mapping[str, Any], clock: Clock) -> pa.Table:
    """The scores of all rows as the detect stage writes them: key, target, digest and two columns a detector."""
    whole = pa.concat_tables([b.select(["key", "target", "digest"]) for b in batches])
    for name, detector in detectors.items():
        with clock.of(f"{name} (score)"):
            said = [detector.score(columns_of(b, detector), needed(detector, views)) for b in batches]
        scores, groups = np.concatenate([s.score for s in said]), np.concatenate([s.group for s in said])
        if not np.isfinite(scores).all() or scores.min(initial=0) < 0 or scores.max(initial=0) > 1:
            raise ValueError(f"detector {name} gave scores outside [0, 1]")
        whole = whole.append_column(name, pa.array(scores, pa.float32())).append_column(name + GROUP, pa.array(groups, pa.int32()))
    return whole


def find(name: str, detector: Detector, table: pa.Table, views: Mapping[str, Any], clock: Clock) -> list[Finding]:
    """One detector's findings, from the rows it marked."""
    rows = table.filter(pc.greater_equal(table.column(name + GROUP), 0))
    marked = pa.table(
        {
            "sample_id": pc.binary_join_element_wise(pa.scalar(SHARD), rows.column("key"), "#"),
            "target": rows.column("target"),
            "digest": rows.column("digest"),
            "score": rows.column(name),
            "group": rows.column(name + GROUP),
        }
    )
    with clock.of(f"{name} (findings)"):
        return list(detector.findings(marked, needed(detector, views)))


def look(finding: Finding, detector: Detector, views: Mapping[str, Any], reread: Reread, clock: Clock) -> Finding:
    """A campaign after the second look at its strongest samples; other findings as they are."""
    if finding.kind != "campaign":
        return finding
    samples = reread([i.removeprefix(SHARD + "#") for i in finding.samples[:SAMPLES]])
    with clock.of(f"{finding.detector} (look)"):
        return again(detector, finding, samples, needed(detector, views))


def fused(table: pa.Table, findings: Sequence[Finding], detectors: Sequence[str]) -> NDArray[np.float64]:
    """Every row's risk, by the judge stage itself."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pq.write_table(table, root / "scores.parquet")
        risk_shard((0, SHARD, "scores.parquet"), findings, detectors, Cache(root), root / "audit")
        (part,) = (root / "audit" / "scores").glob("*.parquet")
        return np.asarray(pq.read_table(part, columns=["risk"]).column("risk"))


# ---- what it is worth


def measured(made: Planted, said: Result) -> dict[str, Any]:
    """Every figure of our own result."""
    flagged = said.risk >= THRESHOLD
    innocent = ~made.bad & ~made.cover
    campaigns = [f for f in said.findings if f.kind == "campaign"]
    wrong = [f for f in campaigns if false(f, made, said)]
    return ranking(said.risk, made) | {
        "flagged": int(flagged.sum()),
        "flagged_clean": int((flagged & innocent).sum()),
        "flagged_clean_share": float((flagged & innocent).sum() / max(1, innocent.sum())),
        "precision": _share(flagged & made.bad, flagged & ~made.cover),
        "recall": _share(flagged & made.bad, made.bad),
        "expected": [found(e, made, said) for e in made.expected],
        "campaigns": len(campaigns),
        "false_campaigns": len(wrong),
        "detectors": {name: ranking(score, made) for name, score in said.scores.items()},
        "findings": [described(f, made, said) for f in said.findings[:KEPT]],
    }


def ranking(score: NDArray[np.floating], made: Planted) -> dict[str, float | None]:
    """How well a score ranks the poisons above clean samples; label noise where there is no poison, nothing without either."""
    wrong = made.bad.copy()
    if not wrong.any():
        for noise in (e for e in made.expected if e.kinds == ("label",)):
            wrong[noise.rows] = True
    if not wrong.any():
        return {"auroc": None, "tpr_at_0.001": None, "tpr_at_0.01": None, "precision_at_n": None}
    return {
        "auroc": measures.auroc(score, wrong, made.cover),
        "tpr_at_0.001": measures.tpr_at_fpr(score, wrong, 0.001, made.cover),
        "tpr_at_0.01": measures.tpr_at_fpr(score, wrong, 0.01, made.cover),
        "precision_at_n": measures.precision_at_n(score, wrong, made.cover),
    }


def false(finding: Finding, made: Planted, said: Result) -> bool:
    """Whether less than half of what a campaign accuses is poison; cover samples count for neither side."""
    members = said.members(finding) & ~made.cover
    return bool((members & made.bad).sum() < ENOUGH * members.sum()) or not members.any()


def found(expected: Expected, made: Planted, said: Result) -> dict[str, Any]:
    """How an expected campaign was found.

    By the one finding that holds most of its carriers; where any label is right, by all findings that are no false campaigns.
    """
    carriers = np.zeros(len(made.bad), bool)
    carriers[expected.rows] = True
    able = [f for f in said.findings if f.kind in expected.kinds]
    right = [f for f in able if expected.target in (None, f.target) or (f.kind != "campaign" and not f.target)]
    best = max(right, key=lambda f: int((said.members(f) & carriers).sum()), default=None)
    named = [best] if best is not None else []
    if expected.target is None:
        named = [f for f in right if f.kind != "campaign" or not false(f, made, said)]
    members = np.any([said.members(f) for f in named], axis=0) if named else np.zeros(len(carriers), bool)
    recall = _share(members & carriers, carriers)
    return {
        "attack": expected.attack,
        "target": expected.target,
        "carriers": len(expected.rows),
        "found": recall is not None and recall >= ENOUGH,
        "recall": recall,
        "precision": _share(members & carriers, members & ~made.cover),
        "findings": len(named),
        "kind": named[0].kind if named else None,
    } | dict(expected.recognised(named[0]) if named and (recall or 0) >= ENOUGH else {"right_trigger": None})


def described(finding: Finding, made: Planted, said: Result) -> dict[str, Any]:
    """A finding as it is kept in a result."""
    members = said.members(finding)
    return {
        "kind": finding.kind,
        "detector": finding.detector,
        "target": finding.target,
        "count": finding.count,
        "poisons": int((members & made.bad).sum()),
        "covers": int((members & made.cover).sum()),
        "risk": finding.risk,
        "p_value": finding.p_value,
        "reason": finding.reason,
        "evidence": {k: v for k, v in finding.evidence.items() if k != "picture"},
    }


def _share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    return float(some.sum() / of.sum()) if of.any() else None
