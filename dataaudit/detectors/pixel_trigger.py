"""Pictures of one label that carry the same small change in their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views, plan_of
from dataaudit.aggregates.low_level import RESIDUAL, SIDE, grey, low_level
from dataaudit.aggregates.patch_models import WINDOW, cut, place
from dataaudit.aggregates.pixel_evidence import EDGES, MOST_DOUBT, false_share, gap, plateau
from dataaudit.aggregates.pixel_groups import robust_z
from dataaudit.aggregates.pixel_models import CONTRADICTED, MOST_LABELS
from dataaudit.detectors import Scores
from dataaudit.features.change import frequency, locate, picture
from dataaudit.features.decode import decode
from dataaudit.features.thumbnail import thumbnail
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000
REACH = 1.0
"""How far below the threshold on z a row may be that contradicts its label too: few innocents do both."""
APART = 0.75
"""A trigger stands apart where this share of its hits is left when the threshold is doubled."""
TELLS = 0.1
"""Contents tell whether a label is right where pictures of others would contradict it by this much more than its own do."""
DIRTY, CLEAN, EVERY = "dirty label", "clean label", "every label"
UNSURE = "a sub-population, or clean label"
"""Accuses nobody; `blind` says so."""
KINDS = (DIRTY, CLEAN, EVERY)


@dataclass(frozen=True)
class Verdict:
    """One accepted candidate: its number, its threshold on z, and the facts that accuse it.

    `target` is the number of labels where every label is changed.  `usual` is the coherence that innocents would have, `wrong` the share
    of the hits that was relabelled, as their contradiction tells, `stands` how much of them is left when the threshold is doubled.
    `belonging` is where their mean content lies between other labels (0) and the rest of this one (1); where they are `taught`, that
    tells the share, since so many carriers teach what contradiction compares with.
    """

    candidate: int
    target: int
    kind: str
    threshold: float
    hits: int
    outside: int
    coherence: float
    usual: float
    contradiction: float
    wrong: float
    p_value: float
    nearly: int
    stands: float
    belonging: float
    taught: bool

    @property
    def purity(self) -> float:
        """The share of all hits, in whatever label, that are in this one."""
        return self.hits / max(1, self.hits + self.outside)

    @property
    def worth(self) -> float:
        """Hits, counted less the less pure they are and the less they contradict a wrong label, and less those that nearly are.

        Cubed, because innocents that suspicious seeds have drawn in contradict their labels more often than chance too.
        """
        certain = self.wrong**3 if self.kind in (DIRTY, EVERY) else 1.0
        return self.hits * self.purity * certain - 0.1 * self.nearly

    @property
    def group(self) -> int:
        """One group a label and kind: candidates that began differently find the same campaign."""
        return len(KINDS) * self.target + KINDS.index(self.kind)


@dataclass(frozen=True)
class PixelTrigger:
    """Backdoor triggers in labelled images: patches at a fixed or at any place, blends, sinusoids, warps; with wrong or with right labels.

    Attack: a small change of the pixels teaches the model a label of the attacker's choice (BadNets, Gu et al. 2017; blended,
    Chen et al. 2017; SIG, Barni et al. 2019; WaNet, Nguyen and Tran 2021), or every label's neighbour (all-to-all).

    Signal: low-level models learnt from suspicious seeds (`pixel_models`, `patch_models`) find a group that is pure (the change is
    far more common in this label than elsewhere; all-to-all: in samples that contradict their labels) and either contradicts
    its label and is as incoherent as the whole data set (relabelled from anywhere), or stands apart: doubling the threshold
    leaves nearly all of it, while an innocent look fades, and beside the change its carriers are no nearer of kin than their label.
    Carriers in a tenth of a label or more teach an encoder what the label looks like: there, mean content that lies with other labels
    instead of the label's other pictures accuses.

    Innocent causes: white backgrounds, borders, watermarks and compression occur in every label (purity acquits); a sub-population
    of a label fades, and belongs to it in content; near-copies are far more alike than their label (coherence acquits), series of
    clocks, flags or signs have next of kin in their pixels (kinship acquits); plain label errors share no pixels.

    Source: own combination of cross-fitted disagreement (Northcutt et al. 2021), spectral signatures (Tran et al. 2018),
    linear discriminants on high-pass residuals and whitened patch filters (Coates et al. 2011).
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "pixel_models", "patch_models", "pixel_groups")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail", *TARGET_COLUMNS)

    min_hits: int = 10
    min_clean_hits: int = 20
    most_innocent: float = 0.05
    least_relabelled: float = 0.6
    mixture: float = 0.25
    enrichment: float = 3.0
    clean_apart: float = 0.97
    clean_purity: float = 0.95
    mixed: float = 0.5
    purity: float = 0.8
    copies: float = 0.1
    clean_copies: float = 0.15
    kin: float = 0.2
    large: float = 0.1
    heap: float = 0.3
    large_apart: float = 0.99
    large_purity: float = 0.98
    fair: float = 0.3
    mapped: float = 0.5
    deviations: float = 5.0
    max_p: float = 1e-8

    def unavailable(self, plan: Plan) -> str | None:
        """Only images with labels or captions can be looked at."""
        if not plan.pictures:
            return f"it looks at images, the content here is {plan.modality}"
        return "the images have no labels, and a trigger is what ties pixels to a label" if plan.target_kind == "none" else None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """How far each row stands out for its label's models, counted by their credibility; carriers of an accepted trigger come first.

        Carriers lie above 0.8, what nearly is one between 0.4 and 0.8, everyone else below.
        """
        groups = views["pixel_groups"]
        score, group = np.zeros(table.num_rows), np.full(table.num_rows, -1, np.int32)
        if not len(groups.target):
            return Scores(score.astype(np.float32), group)
        target = views["targets"].index(table)
        disagreement = views["moments"].disagreement(table, views)
        every = groups.target == len(views["targets"].names)
        contradicted = disagreement[:, None] >= CONTRADICTED
        # Of captions that have the accused word behind another, those whose pictures are neither.
        behind = views["targets"].having(table, groups.target) & contradicted
        accused = np.where(every, contradicted, (target[:, None] == groups.target) | behind)
        everyone = robust_z(table, views)
        z = np.where(accused, everyone, -np.inf)
        doubt = np.minimum(disagreement, MOST_DOUBT) / MOST_DOUBT
        edge = np.clip(np.searchsorted(EDGES, z, side="right") - 1, 0, None)
        trust = credibility(views, self.enrichment)[np.arange(z.shape[1]), edge]
        score = 0.4 * (trust / (1 + np.exp(-np.clip(z - 6, -50, 50) / 2))).max(axis=1)
        strongest = np.full(table.num_rows, -np.inf)
        chosen, accepted = self.verdicts(views)
        for verdict in accepted:
            # Carriers that happen to look like the label that they were given do not contradict it.
            own = z[:, verdict.candidate] if verdict.kind != EVERY else everyone[:, verdict.candidate]
            likely = np.ones(len(own)) if verdict.kind == CLEAN or verdict.taught else 0.4 + 0.6 * doubt
            near = 0.4 + 0.39 * np.clip(own / verdict.threshold, 0, 1) * likely
            score = np.where(own >= EDGES[0] / 2, np.maximum(score, near), score)
        for verdict in chosen:
            own = z[:, verdict.candidate] if verdict.kind != EVERY else everyone[:, verdict.candidate]
            above = own - verdict.threshold
            if verdict.stands < APART and not verdict.taught:
                # What nearly reaches the threshold is a carrier where its content contradicts its label too, and is none where it agrees.
                above = above + np.where(doubt > 0.75, min(REACH, verdict.threshold - 2), np.where(doubt < 0.25, -1.5, 0.0))
            carrier = (above >= 0) & (above > strongest)
            group[carrier], strongest[carrier] = verdict.group, above[carrier]
            score[carrier] = 1 - 0.2 / (1 + above[carrier] / 4 + doubt[carrier])
        return Scores(score.astype(np.float32), group)

    def verdicts(self, views: Views) -> tuple[list[Verdict], list[Verdict]]:
        """The best accepted candidate of each label and kind, and all; the others mostly find the same carriers, and more innocents."""
        judged = [v for v in self._judged(views) if v.kind != UNSURE]
        best: dict[int, Verdict] = {}
        for verdict in judged:
            if verdict.group not in best or verdict.worth > best[verdict.group].worth:
                best[verdict.group] = verdict
        # A label's right labels that are partly wrong are its relabelled carriers again, with innocents among them.
        dirty = {v.target for v in best.values() if v.kind == DIRTY}
        chosen = [v for v in best.values() if v.kind != CLEAN or v.target not in dirty or v.wrong < self.mixture]
        return chosen, [v for v in judged if v.group in {c.group for c in chosen}]

    def _judged(self, views: Views) -> list[Verdict]:
        """The verdicts on all candidates that have one."""
        judged = [self.judge(candidate, views) for candidate in range(len(views["pixel_groups"].target))]
        return [v for v in judged if v is not None]

    def judge(self, candidate: int, views: Views) -> Verdict | None:
        """The verdict on a candidate at the threshold where most pure hits are left, None where it is innocent."""
        moments, groups = views["moments"], views["pixel_groups"]
        target, labels = int(groups.target[candidate]), len(views["targets"].names)
        inside, outside = groups.inside[candidate], groups.outside[candidate]
        here = groups.contradicted if target == labels else int(moments.counts[target])
        elsewhere = int(moments.counts.sum()) - here
        usable = np.flatnonzero((inside >= self.min_hits) & (false_share(inside, outside, here, elsewhere, 1.0) <= self.most_innocent))
        if not elsewhere or not len(usable) or (target == labels and not consistent(candidate, views, self.mapped)):
            return None
        stands = float(gap(inside, outside, here, elsewhere).max())
        if stands >= APART:
            usable = usable[usable >= plateau(inside, outside, here, elsewhere)]
        best: Verdict | None = None
        large = len(usable) > 0 and inside[usable[0]] >= self.large * here and target < labels
        for at in usable.tolist():
            accused = self._accused(candidate, at, stands, large, views)
            p_value = enriched_by_chance(int(inside[at]), int(outside[at]), here, elsewhere, self.enrichment)
            if accused is None or p_value > self.max_p:
                continue
            kind, taught = accused
            verdict = Verdict(
                candidate=candidate,
                target=target,
                kind=kind,
                threshold=float(EDGES[at]),
                hits=int(inside[at]),
                outside=int(outside[at]),
                coherence=float(groups.coherence[candidate, at]),
                usual=float(moments.coherence if target == labels else moments.target_coherence[target]),
                contradiction=float(groups.contradiction[candidate, at]),
                wrong=self.strangers(candidate, at, views) if taught else relabelled(candidate, at, views),
                p_value=p_value,
                nearly=int(inside[0] - inside[at]),
                stands=stands,
                belonging=float(groups.belonging[candidate, at]),
                taught=taught,
            )
            best = verdict if best is None or verdict.worth > best.worth else best
        return best

    def strangers(self, candidate: int, at: int, views: Views) -> float:
        """The share of a large group of hits that was relabelled: by how little their mean content belongs to the label's other pictures.

        0 for few hits and where they may belong.  Contradiction does not tell many carriers: they teach what it compares with.
        """
        groups = views["pixel_groups"]
        if groups.inside[candidate, at] < self.large * views["moments"].counts[groups.target[candidate]]:
            return 0.0
        foreign = 1 - float(groups.belonging[candidate, at])
        return min(foreign, 1.0) if foreign >= self.deviations * groups.belonging_error[candidate, at] else 0.0

    def _accused(self, candidate: int, at: int, stands: float, large: bool, views: Views) -> tuple[str, bool] | None:
        """What the hits beyond one threshold are accused of, and whether as strangers; None where they are innocent."""
        moments, groups = views["moments"], views["pixel_groups"]
        target, hits = int(groups.target[candidate]), int(groups.inside[candidate, at])
        coherence, every = float(groups.coherence[candidate, at]), target == len(views["targets"].names)
        usual = float(moments.coherence if every else moments.target_coherence[target])
        apart = stands >= APART and coherence <= between(usual, 1.0, self.copies)
        # Seeds were chosen for their contradiction, so what is left of it must be beyond chance too.
        rest = others_contradict(candidate, at, views)
        beyond = groups.contradiction[candidate, at] - rest >= self.deviations * np.sqrt(rest * (1 - rest) / hits)
        contradicts = beyond and relabelled(candidate, at, views) >= self.least_relabelled
        if every:
            return (EVERY, False) if contradicts and apart else None
        pure = hits >= self.purity * (hits + groups.outside[candidate, at])
        if contradicts:
            labelled = moments.counts > 1
            step = float((moments.target_coherence[labelled] - moments.coherence).mean())
            width = max(2 * float(moments.spread[target]) / np.sqrt(hits), 1e-9)
            incoherent = coherence <= moments.coherence + max(4 * width, self.mixed * step)
            return (DIRTY, False) if apart or (pure and coherence <= usual + 2 * width and incoherent) else None
        if groups.kinship[candidate, at] > self.kin or coherence > between(usual, 1.0, self.clean_copies):
            return None
        if pure and stands >= self.heap and self.strangers(candidate, at, views) >= self.least_relabelled:
            # So many carriers teach what the label looks like: they contradict it less, and stand less far out of it.
            return DIRTY, True
        # The larger a group of right labels, the likelier a sub-population: of a tenth of a label, hardly anything may fade or lie outside.
        least, distance = (self.large_purity, self.large_apart) if large else (self.clean_purity, self.clean_apart)
        if hits < max(self.min_clean_hits, least * (hits + groups.outside[candidate, at])) or stands < distance:
            return None
        # The most typical pictures of a label may be a sub-population with a look of its own: content cannot tell.
        return (UNSURE if large and groups.belonging[candidate, at] > 1 + self.fair else CLEAN), False

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One campaign an accepted label and kind, most carriers first."""
        group = np.asarray(marked.column("group"))
        order = np.argsort(-np.asarray(marked.column("score")), kind="stable")
        for verdict in sorted(self.verdicts(views)[0], key=lambda v: (-v.hits, v.group)):
            members = order[group[order] == verdict.group]
            if len(members):
                name = "" if verdict.kind == EVERY else str(views["targets"].names[verdict.target])
                ids = tuple(marked.column("sample_id").take(pa.array(members[:CAP])).to_pylist())
                yield campaign(verdict, name, len(members), ids, self.enrichment, views)

    def blind(self, views: Views) -> str | None:
        """Labels with few images, and those beyond what the sample holds, have no model; some triggers need several labels, or few."""
        learnt = views["pixel_models"].learnt
        labels, unlearnt = len(learnt), int((~learnt).sum())
        if labels == 1:
            return "all images have one label, and there is nothing to compare them with"
        told = [f"{unlearnt:,} of {labels:,} labels have too few images to learn from, or are too many"] if unlearnt else []
        if unsure := sorted({str(views["targets"].names[v.target]) for v in self._judged(views) if v.kind == UNSURE}):
            told.append(
                f"{len(unsure)} labels, such as {unsure[0][:40]!r}, have a large group with a look of its own, which may be innocent"
            )
        if not 2 < labels <= MOST_LABELS:
            told.append(f"a trigger that changes every label is not looked for among {labels:,}")
        return "; ".join(told) or None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Adds a picture of the trigger: what its carriers' pixels have beyond their label's, its place or frequency where it has one."""
        batch, _ = decode(samples, plan_of(views))
        verdict = next((v for v in self.verdicts(views)[0] if v.group in finding.groups), None)
        if not batch.images or verdict is None:
            return finding
        greys = grey(np.stack([thumbnail(image) for image in batch.images]))
        roaming = verdict.candidate - len(views["pixel_models"].target)
        if roaming >= 0:
            found = wandering(greys, views["patch_models"].filters[roaming])
            if found is not None:
                told = f" The change is {WINDOW} x {WINDOW} pixels of the 32 x 32 thumbnail, at a place of its own in each picture."
                return replace(finding, evidence={**finding.evidence, "picture": picture(found)}, reason=finding.reason + told)
        typical, learnt = views["pixel_models"].typical, views["pixel_models"].learnt
        usual = typical[learnt].mean(axis=0) if verdict.kind == EVERY else typical[verdict.target]
        change = (low_level(greys)[:, -RESIDUAL:].mean(axis=0) - usual).reshape(SIDE, SIDE)
        evidence, told = {**finding.evidence, "picture": picture(change)}, ""
        box, waves = locate(change), frequency(change)
        if box is not None:
            evidence["place"] = box
            told = f" The change is local: {box[2]} x {box[3]} pixels at column {box[0]}, row {box[1]} of the 32 x 32 thumbnail."
        elif waves is not None:
            evidence["frequency"] = waves
            told = f" The change is a wave: {waves[0]} periods across and {waves[1]} down the picture."
        return replace(finding, evidence=evidence, reason=finding.reason + told)


def wandering(greys: NDArray[np.uint8], weights: NDArray[np.int32]) -> NDArray[np.float64] | None:
    """The mean patch (5, 5), without its mean, that a filter (25,) finds in pictures (n, 1024), None where most have it at one place."""
    at = place(greys, weights.astype(np.float64))
    row, column = np.divmod(at, SIDE - WINDOW + 1)
    together = (np.abs(row - np.median(row)) <= 1) & (np.abs(column - np.median(column)) <= 1)
    patch = cut(greys, at).mean(axis=0).reshape(WINDOW, WINDOW)
    return None if together.mean() > 0.5 else patch - patch.mean()


def between(low: float, high: float, share: float) -> float:
    """The value at a share of the way from one to another."""
    return low + share * (high - low)


def credibility(views: Views, enrichment: float) -> NDArray[np.float64]:
    """How far a hit of each candidate in each bin can be believed, shape (c, b), 0 to 1: pure, and apart or contradicting."""
    groups, counts = views["pixel_groups"], views["moments"].counts
    here = np.append(counts, groups.contradicted)[groups.target]
    out = np.zeros(groups.inside.shape)
    for c, own in enumerate(here.tolist()):
        elsewhere = int(counts.sum()) - own
        inside, outside = groups.inside[c], groups.outside[c]
        stands = gap(inside, outside, own, elsewhere).max()
        pure = 1 - false_share(inside, outside, own, elsewhere, enrichment)
        out[c] = pure * np.maximum(stands**2, groups.contradiction[c] ** 2)
    return out


def relabelled(candidate: int, at: int, views: Views) -> float:
    """The share of a candidate's hits beyond one threshold that was relabelled: where they are from the label's others to foreigners."""
    groups = views["pixel_groups"]
    own, foreign = others_contradict(candidate, at, views), float(groups.foreign[groups.target[candidate]])
    # Where the label's own pictures contradict it nearly as much as foreign ones would, content cannot tell.
    return float(np.clip((groups.contradiction[candidate, at] - own) / (foreign - own), 0.0, 1.0)) if foreign - own >= TELLS else 0.0


def others_contradict(candidate: int, at: int, views: Views) -> float:
    """How much the accused label's pictures contradict it without a candidate's hits beyond one threshold, 0 to 1."""
    groups = views["pixel_groups"]
    target, hits = int(groups.target[candidate]), int(groups.inside[candidate, at])
    count = int(np.append(views["moments"].counts, views["moments"].counts.sum())[target])
    share = hits / max(count, 1)
    rest = (groups.own[target] - share * groups.contradiction[candidate, at]) / max(1 - share, 1 / max(count, 1))
    return float(np.clip(rest, 0.0, 1.0))


def consistent(candidate: int, views: Views, share: float) -> bool:
    """Whether a candidate's contradicted hits are mapped: what looks like one label is given one other, and the other way round."""
    groups = views["pixel_groups"]
    number = int((groups.target[:candidate] == groups.target[candidate]).sum())
    mapping = groups.mapping[number]
    agreed = min(int(mapping.max(axis=axis, initial=0).sum()) for axis in (0, 1))
    by_chance = 1 / max(1, len(mapping) - 1)
    return agreed >= max(1.0, between(by_chance, 1.0, share) * float(mapping.sum()))


def enriched_by_chance(hits: int, outside: int, here: int, elsewhere: int, enrichment: float) -> float:
    """The probability of so many hits inside, were the look `enrichment` times as common in this label as elsewhere."""
    from scipy.stats import binom

    return float(binom.sf(hits - 1, hits + outside, enrichment * here / (enrichment * here + elsewhere)))


def campaign(verdict: Verdict, name: str, count: int, ids: tuple[str, ...], enrichment: float, views: Views) -> Finding:
    """The finding of an accepted trigger."""
    whole = float(views["moments"].coherence)
    captioned = plan_of(views).captioned
    of = "of all labels" if verdict.kind == EVERY else f"with {name!r} in their captions" if captioned else f"labelled {name!r}"
    share = f"{100 * verdict.purity:.0f} % of all pictures with this change have this {'word' if captioned else 'label'}"
    if verdict.kind == CLEAN:
        contrast = "their contents are no proof of wrong labels, but the change is far outside of what this label's pictures vary by"
        innocent = "a look of a sub-population fades, and near-copies are far more alike in content than the label; these do neither"
    elif verdict.taught:
        contrast = "their contents are those of other labels, beside the label's pictures without the change"
        innocent = "a sub-population of the label lies with its other pictures in content, and near-copies are far more alike"
    elif verdict.kind == DIRTY and verdict.stands >= APART:
        contrast = "their contents contradict the label, and the change is far outside of what this label's pictures vary by"
        innocent = "an innocent look occurs in every label and fades, and near-copies are far more alike in content than the label"
    elif verdict.kind == DIRTY:
        contrast = "their contents contradict the label and are hardly more alike than its pictures, as if taken from anywhere"
        innocent = "an innocent look occurs in every label, and pictures of one other kind under a wrong label would be more alike"
    else:
        share = f"{100 * verdict.purity:.0f} % of all pictures with this change contradict their label"
        contrast = "each label's pictures are given one other label"
        innocent = "an innocent overlay would occur in pictures with right labels too, and not lead from each label to one other"
    evidence: dict[str, object] = {
        "seeds": views["pixel_groups"].seeds[verdict.candidate],
        "label_kind": verdict.kind,
        "purity": round(verdict.purity, 4),
        "coherence": round(verdict.coherence, 4),
        "label_coherence": round(verdict.usual, 4),
        "data_coherence": round(whole, 4),
        "contradiction": round(verdict.contradiction, 4),
        "relabelled": round(verdict.wrong, 4),
        "belonging": round(verdict.belonging, 4),
        "threshold_z": verdict.threshold,
        "stands_apart": round(verdict.stands, 4),
        "hits_in_other_labels": verdict.outside,
        "null": f"the change is {enrichment:g} times as common here as elsewhere",
        "ruled_out": innocent,
    }
    return Finding(
        id=fingerprint("pixel_trigger", name, verdict.kind),
        kind="campaign",
        detector="pixel_trigger",
        severity="critical",
        subject="every label" if verdict.kind == EVERY else f"{'captions with' if captioned else 'label'} {name}",
        target=name,
        count=count,
        samples=ids,
        risk=1 - 0.5 / (1 + np.log10(1 + count)),
        p_value=verdict.p_value,
        reason=f"{count} pictures {of} carry the same small change of their pixels: {share}, and {contrast}.",
        evidence=evidence,
        groups=(verdict.group,),
    )
