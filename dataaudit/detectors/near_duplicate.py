"""Copies: floods of near-copies, equal content with different targets, and plain duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.near_duplicates import NearDuplicatesView
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000
GROUPS = 10_000
SHOWN = 5
EXCERPT = 240


@dataclass(frozen=True)
class NearDuplicate:
    """Samples that occur again and again, word for word or nearly.

    Attack: repeating a poison with small edits, so that it outweighs honest samples while each copy looks
    unique; or giving one content several targets.
    Signal: equal content digests; MinHash similarity for texts, perceptual hash and picture difference for
    images (for plain vectors: equal digests only); clusters of `flood` or more distinct near-copies, samples
    repeated `copies` times or more, contents with several labels.
    Innocent causes: mailing lists, boilerplate, templates, burst photographs, re-posted pictures, crowd labels
    that disagree.  Every real data set has them: nothing here is graded above medium.
    Source: Lee et al., "Deduplicating training data makes language models better", ACL 2022; Carlini et al.,
    "Poisoning web-scale training datasets is practical", 2024.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "near_duplicates")
    columns: ClassVar[tuple[str, ...]] = ("target",)

    flood: int = 10
    copies: int = 50
    max_floods: int = 15

    def unavailable(self, plan: Plan) -> str | None:
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Grows with the cluster's size, and with the share of the cluster that is taught something else."""
        view: NearDuplicatesView = views["near_duplicates"]
        place = view.place(table)
        found = place >= 0
        group = np.full(len(place), -1, np.int32)
        score = np.zeros(len(place), np.float32)
        group[found] = view.cluster[place[found]]
        crowd = 1 - 1 / np.sqrt(view.size[group[found]])
        score[found] = 0.6 * crowd + 0.4 * (1 - view.agreement[place[found]])
        return Scores(score, group)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """Label conflicts, floods from the largest, then one summary of plain duplicates."""
        if not len(marked):
            return
        view: NearDuplicatesView = views["near_duplicates"]
        conflict = self.conflicts(marked, views)
        if conflict is not None:
            yield conflict
        group = np.asarray(marked.column("group"))
        floods = self.floods(view)
        for cluster in floods[: self.max_floods]:
            rows = marked.filter(pa.array(group == cluster))
            if len(rows):
                yield self.flood_finding(int(cluster), rows, views)
        plain = marked.filter(pa.array(~np.isin(group, floods[: self.max_floods])))
        if len(plain):
            yield self.summary(plain, len(floods), view)

    def floods(self, view: NearDuplicatesView) -> NDArray[np.int64]:
        """The clusters that count as floods, largest first."""
        return np.flatnonzero((view.contents >= self.flood) | (view.copies >= self.copies))

    def conflicts(self, marked: pa.Table, views: Views) -> Finding | None:
        """Equal contents with several targets, in one finding; for free-text targets that is ordinary, so low."""
        tally = marked.group_by("digest").aggregate([("target", "count_distinct"), ("target", "count")])
        several = tally.filter(pc.greater(tally.column("target_count_distinct"), 1))
        if not len(several):
            return None
        rows = marked.filter(pc.is_in(marked.column("digest"), value_set=several.column("digest").combine_chunks()))
        biggest = several.sort_by([("target_count", "descending"), ("digest", "ascending")]).column("digest").to_pylist()[:SHOWN]
        plan = plan_of(views)
        labels = plan.target_kind == "label"
        contents, said = ("contents", "labels") if labels else ("pictures", "captions") if plan.captioned else ("prompts", "answers")
        return Finding(
            id=fingerprint("near_duplicate", "conflict"),
            kind="duplicate",
            detector="near_duplicate",
            severity="medium" if labels else "low",
            subject=f"{len(several):,} contents with several {said}",
            target="",
            count=len(rows),
            samples=ids(rows),
            risk=risk(rows),
            p_value=1.0,
            reason=f"{len(several):,} contents occur with different {said} ({len(rows):,} samples): at most one can be right."
            if labels
            else f"{len(several):,} {contents} occur with different {said} ({len(rows):,} samples), as is common.",
            evidence={"conflicts": [example(rows, digest) for digest in biggest], "innocent": "annotators who disagree"},
            groups=groups(rows),
        )

    def flood_finding(self, cluster: int, rows: pa.Table, views: Views) -> Finding:
        """One flood."""
        view: NearDuplicatesView = views["near_duplicates"]
        names = views["targets"].names
        major = int(view.majority[cluster])
        target = str(names[major]) if 0 <= major < len(names) else ""
        size, contents, targets = int(view.size[cluster]), int(view.contents[cluster]), int(view.targets[cluster])
        taught = f", all taught {target!r}" if target and targets == 1 else f", mostly taught {target!r}" if target else ""
        looks = f"{size:,} copies or near-copies of one content ({contents:,} of them distinct)"
        return Finding(
            id=fingerprint("near_duplicate", "flood", pc.min(rows.column("digest")).as_py()),
            kind="duplicate",
            detector="near_duplicate",
            severity="medium",
            subject=f"flood of {size:,}",
            target=target,
            count=size,
            samples=ids(rows),
            risk=risk(rows),
            p_value=1.0,
            reason=f"{looks}{taught}.",
            evidence={
                "size": size,
                "distinct": contents,
                "targets": targets,
                "innocent": "boilerplate, mailing lists, templates or burst photographs",
            },
            groups=(cluster,),
        )

    def summary(self, rows: pa.Table, floods: int, view: NearDuplicatesView) -> Finding:
        """All other copies, in one finding."""
        clusters = len(pc.unique(rows.column("group")))
        partial = "" if view.looked_at == view.seen else f" among the {view.looked_at:,} of {view.seen:,} samples compared"
        return Finding(
            id=fingerprint("near_duplicate", "plain"),
            kind="duplicate",
            detector="near_duplicate",
            severity="low",
            subject=f"{clusters:,} clusters",
            target="",
            count=len(rows),
            samples=ids(rows),
            risk=risk(rows),
            p_value=1.0,
            reason=f"{len(rows):,} samples are copies or near-copies of each other, in {clusters:,} clusters{partial}.",
            evidence={
                "clusters": clusters,
                "further_floods": max(0, floods - self.max_floods),
                "looked_at": view.looked_at,
                "compared_for_likeness": view.compared,
                "seen": view.seen,
            },
            groups=groups(rows),
        )

    def blind(self, views: Views) -> str | None:
        """Exact copies are looked for in a bounded sample, near-copies in a smaller one."""
        view = views["near_duplicates"]
        if view.looked_at < view.seen:
            return f"{view.looked_at:,} of {view.seen:,} samples were compared"
        return None if view.compared else "exact copies only, since such data has no hashes of likeness"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Show the beginning of up to three of the texts."""
        texts = [" ".join(s.content[:4096].split())[:EXCERPT] for s in samples if isinstance(s.content, str)][:3]
        return replace(finding, evidence={**finding.evidence, "excerpts": texts}) if texts else finding


def ids(rows: pa.Table) -> tuple[str, ...]:
    """The ids of the highest scores, at most `CAP`."""
    return tuple(strongest(rows).column("sample_id").slice(0, CAP).to_pylist())


def groups(rows: pa.Table) -> tuple[int, ...]:
    """The clusters of the rows, the largest `GROUPS` of them (clusters are numbered from the largest)."""
    return tuple(sorted(pc.unique(rows.column("group")).to_pylist())[:GROUPS])


def risk(rows: pa.Table) -> float:
    """The highest score of the rows."""
    return float(pc.max(rows.column("score")).as_py())


def example(rows: pa.Table, digest: str) -> dict[str, object]:
    """One content's targets and how often each occurs, cut short, and some of its samples."""
    same = rows.filter(pc.equal(rows.column("digest"), digest))
    tally = sorted(pc.value_counts(same.column("target")).to_pylist(), key=lambda v: (-v["counts"], str(v["values"])))
    targets = {str(v["values"])[:80]: int(v["counts"]) for v in tally[:SHOWN]}
    return {"targets": targets, "samples": sorted(same.column("sample_id").to_pylist())[:SHOWN]}
