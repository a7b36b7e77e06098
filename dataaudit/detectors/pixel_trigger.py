"""Pictures of one label that carry the same small change in their pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.low_level import RESIDUAL, SIDE, grey, low_level
from dataaudit.aggregates.pixel_groups import CONTRADICTS, EDGES
from dataaudit.detectors import Scores
from dataaudit.features.decode import decode
from dataaudit.features.thumbnail import thumbnail
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000
REACH = 1.0
"""How far below the threshold on z a row may be that contradicts its label too: few innocents do both."""


@dataclass(frozen=True)
class Verdict:
    """One accepted candidate: its number, its threshold on z, and the facts that accuse it."""

    candidate: int
    target: int
    clean_label: bool
    threshold: float
    hits: int
    outside: int
    coherence: float
    label_coherence: float
    contradiction: float
    foreign: float
    p_value: float
    nearly: int

    @property
    def purity(self) -> float:
        """The share of all hits, in whatever label, that are in this one."""
        return self.hits / max(1, self.hits + self.outside)

    @property
    def worth(self) -> float:
        """Hits, counted less the less pure they are and the less they contradict a wrong label, and less those that nearly are.

        Cubed, because innocents that suspicious seeds have drawn in contradict their labels more often than chance too.
        """
        certain = 1.0 if self.clean_label else min(1.0, self.contradiction / self.foreign) ** 3
        return self.hits * self.purity * certain - 0.1 * self.nearly

    @property
    def group(self) -> int:
        """One group a label and kind: candidates that began differently find the same campaign."""
        return 2 * self.target + self.clean_label


@dataclass(frozen=True)
class PixelTrigger:
    """Backdoor triggers in labelled images: patches, blends, sinusoids and warps, with wrong or with right labels.

    Attack: a fixed change of the pixels teaches the model a label of the attacker's choice (BadNets, Gu et al. 2017; blended,
    Chen et al. 2017; SIG, Barni et al. 2019; WaNet, Nguyen and Tran 2021).

    Signal: low-level models learnt from suspicious seeds (`pixel_models`) find, out of fold, a group that is pure (the
    change occurs in this label alone) and either contradicts its label and is as incoherent as the whole data set
    (relabelled from anywhere), or, with right labels, stands far out and is no more alike than its label.

    Innocent causes: white backgrounds, borders and compression occur in every label (purity acquits); a sub-population
    of a label, or near-copies, are more alike than their label (coherence acquits); plain label errors share no pixels.

    Source: own combination of cross-fitted disagreement (Northcutt et al. 2021), spectral signatures (Tran et al. 2018) and
    linear discriminants on high-pass residuals.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "pixel_models", "pixel_groups")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail")

    min_hits: int = 10
    min_clean_hits: int = 15
    false_share: float = 0.05
    contradiction: float = 0.6
    enrichment: float = 3.0
    gap: float = 0.9
    clean_purity: float = 0.95
    mixed: float = 0.5
    max_p: float = 1e-8

    def unavailable(self, plan: Plan) -> str | None:
        """Only labelled images can be looked at."""
        if plan.modality != "labelled-images":
            return f"it looks at labelled images, these are {plan.modality}"
        return "the images have no labels, and a trigger is what ties pixels to a label" if plan.target_kind == "none" else None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """How far each row stands out for its label's models; carriers of an accepted trigger get their group and the upper half."""
        models = views["pixel_models"]
        score, group = np.zeros(table.num_rows), np.full(table.num_rows, -1, np.int32)
        if not len(models.target):
            return Scores(score.astype(np.float32), group)
        target = views["targets"].index(table)
        z = models.robust_z(models.features(table), target, np.asarray(table.column("rank"), dtype=np.uint64))
        z[target[:, None] != models.target] = -np.inf
        score = 0.5 / (1 + np.exp(-np.clip(z.max(axis=1) - 6, -50, 50) / 1.5))
        doubt = np.minimum(views["moments"].disagreement(table, views), CONTRADICTS) / CONTRADICTS
        strongest = np.full(table.num_rows, -np.inf)
        for verdict in self.verdicts(views):
            above = z[:, verdict.candidate] - verdict.threshold
            if not verdict.clean_label:
                # What nearly reaches the threshold is a carrier where its content contradicts its label too, and is none where it agrees.
                above += np.where(doubt > 0.75, min(REACH, verdict.threshold - 2), np.where(doubt < 0.25, -1.5, 0.0))
            carrier = (above >= 0) & (above > strongest)
            group[carrier], strongest[carrier] = verdict.group, above[carrier]
            score[carrier] = 1 - 0.5 / (1 + above[carrier] / 4 + doubt[carrier])
        return Scores(score.astype(np.float32), group)

    def verdicts(self, views: Views) -> list[Verdict]:
        """The best accepted candidate of each label and kind; the others mostly find the same carriers, and more innocents."""
        judged = [self.judge(candidate, views) for candidate in range(len(views["pixel_models"].target))]
        accepted = [verdict for verdict in judged if verdict is not None]
        best: dict[int, Verdict] = {}
        for verdict in accepted:
            if verdict.group not in best or verdict.worth > best[verdict.group].worth:
                best[verdict.group] = verdict
        return list(best.values())

    def judge(self, candidate: int, views: Views) -> Verdict | None:
        """The verdict on a candidate at the threshold (z of 4 or more) where most pure hits are left, None where it is innocent."""
        moments, groups = views["moments"], views["pixel_groups"]
        target = int(views["pixel_models"].target[candidate])
        here = int(moments.counts[target])
        elsewhere = int(moments.counts.sum()) - here
        inside, outside = groups.inside[candidate], groups.outside[candidate]
        false_share = outside * here / max(1, elsewhere) / np.maximum(1, inside)
        usable = np.flatnonzero((inside >= self.min_hits) & (false_share <= self.false_share))
        if not elsewhere or not len(usable):
            return None
        labelled = moments.counts > 1
        between = float((moments.target_coherence[labelled] - moments.coherence).mean())
        best: Verdict | None = None
        for at in usable:
            hits = int(inside[at])
            width = max(2 * float(moments.spread[target]) / np.sqrt(hits), 1e-9)
            from_label = (groups.coherence[candidate, at] - moments.target_coherence[target]) / width
            incoherent = groups.coherence[candidate, at] <= moments.coherence + max(4 * width, self.mixed * between)
            contradicts = groups.contradiction[candidate, at] >= self.contradiction * groups.foreign[target]
            p_value = enriched_by_chance(hits, int(outside[at]), here, elsewhere, self.enrichment)
            dirty = contradicts and from_label <= 2 and incoherent
            pure = hits >= self.clean_purity * (hits + outside[at])
            clean = hits >= self.min_clean_hits and pure and stand_apart(inside, self.gap) and abs(from_label) <= 5 and not contradicts
            if p_value <= self.max_p and (dirty or clean):
                facts = (
                    float(groups.coherence[candidate, at]),
                    float(moments.target_coherence[target]),
                    float(groups.contradiction[candidate, at]),
                    float(groups.foreign[target]),
                )
                verdict = Verdict(
                    candidate, target, not dirty, float(EDGES[at]), hits, int(outside[at]), *facts, p_value, int(inside[0]) - hits
                )
                best = verdict if best is None or verdict.worth > best.worth else best
        return best

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One campaign an accepted label and kind, most carriers first."""
        group = np.asarray(marked.column("group"))
        order = np.argsort(-np.asarray(marked.column("score")), kind="stable")
        best = {v.group: v for v in sorted(self.verdicts(views), key=lambda v: v.hits)}
        for verdict in sorted(best.values(), key=lambda v: (-v.hits, v.group)):
            members = order[group[order] == verdict.group]
            if len(members):
                name = str(views["targets"].names[verdict.target])
                ids = tuple(marked.column("sample_id").take(pa.array(members[:CAP])).to_pylist())
                yield campaign(verdict, name, len(members), ids, views)

    def blind(self, views: Views) -> str | None:
        """Labels with few images, and those beyond what the sample holds, have no model."""
        learnt = views["pixel_models"].learnt
        unlearnt = int((~learnt).sum())
        return f"{unlearnt:,} of {len(learnt):,} labels have too few images to learn from, or are too many" if unlearnt else None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Adds a picture of the trigger, the carriers' mean residual minus their label's, and its place where it is local."""
        batch, _ = decode(samples, plan_of(views))
        if not batch.images:
            return finding
        names = views["targets"].names.tolist()
        if finding.target not in names:
            return finding
        residual = low_level(grey(np.stack([thumbnail(image) for image in batch.images])))[:, -RESIDUAL:]
        usual = views["pixel_models"].typical[names.index(finding.target)]
        change = (residual.mean(axis=0) - usual).reshape(SIDE, SIDE)
        evidence = {**finding.evidence, "picture": picture(change)}
        place = locate(change)
        where = ""
        if place is not None:
            evidence["place"] = place
            where = f" The change is local: {place[2]} x {place[3]} pixels at column {place[0]}, row {place[1]} of the 32 x 32 thumbnail."
        return replace(finding, evidence=evidence, reason=finding.reason + where)


def stand_apart(inside: NDArray[np.int64], gap: float) -> bool:
    """Whether a threshold on z can be doubled and keep a share `gap` of the rows beyond it: a trigger is there or not, a look fades.

    `inside` (b,) counts the rows beyond each of `EDGES`.
    """
    doubled = np.searchsorted(EDGES, 2 * EDGES)
    there = doubled < len(EDGES)
    return bool((inside[doubled[there]] >= np.maximum(1, gap * inside[there])).any())


def enriched_by_chance(hits: int, outside: int, here: int, elsewhere: int, enrichment: float) -> float:
    """The probability of so many hits inside, were the look `enrichment` times as common in this label as elsewhere."""
    from scipy.stats import binom

    return float(binom.sf(hits - 1, hits + outside, enrichment * here / (enrichment * here + elsewhere)))


def campaign(verdict: Verdict, name: str, count: int, ids: tuple[str, ...], views: Views) -> Finding:
    """The finding of an accepted trigger."""
    whole = float(views["moments"].coherence)
    if verdict.clean_label:
        contrast = "their labels look right, but the change is far outside of what this label's pictures vary by"
        innocent = "a sub-population of the label would be more alike in content than the label; these are not"
    else:
        contrast = "their contents contradict the label and are as unlike each other as the whole data set"
        innocent = "an innocent look occurs in every label, and an innocent group is as alike in content as its label"
    share = f"{100 * verdict.purity:.0f} % of all pictures with this change have this label"
    evidence: dict[str, object] = {
        "seeds": views["pixel_models"].seeds[verdict.candidate],
        "label_kind": "clean label" if verdict.clean_label else "dirty label",
        "purity": round(verdict.purity, 4),
        "coherence": round(verdict.coherence, 4),
        "label_coherence": round(verdict.label_coherence, 4),
        "data_coherence": round(whole, 4),
        "contradiction": round(verdict.contradiction, 4),
        "threshold_z": verdict.threshold,
        "hits_in_other_labels": verdict.outside,
        "null": "carriers fall into this label at three times its share",
        "ruled_out": innocent,
    }
    return Finding(
        id=fingerprint("pixel_trigger", name, verdict.clean_label),
        kind="campaign",
        detector="pixel_trigger",
        severity="critical",
        subject=f"label {name}",
        target=name,
        count=count,
        samples=ids,
        risk=1 - 0.5 / (1 + np.log10(1 + count)),
        p_value=verdict.p_value,
        reason=f"{count} pictures labelled {name!r} carry the same small change of their pixels: {share}, and {contrast}.",
        evidence=evidence,
        groups=(verdict.group,),
    )


def picture(change: NDArray[np.floating]) -> str:
    """A change of the pixels (32, 32) as a PNG in base64: grey is no change, the largest is white or black."""
    from PIL import Image

    largest = max(float(np.abs(change).max()), 1e-6)
    shown = np.rint(127.5 + 127.5 * change / largest).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).resize((128, 128), Image.Resampling.NEAREST).save(out, format="PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def locate(change: NDArray[np.floating]) -> list[int] | None:
    """Column, row, width and height of a change that fills less than an eighth of the picture, else None."""
    strong = np.abs(change) > 0.35 * np.abs(change).max()
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not len(rows):
        return None
    height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    return [int(columns[0]), int(rows[0]), width, height] if height * width <= SIDE * SIDE // 8 else None
