"""Compares audit directories with the manifest of planted attacks: what was found, how exactly, and whether that is good enough."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from dataaudit.model import Finding
from dataaudit.store.directory import AuditDirectory

PRECISION, RECALL, OVERLAP = 0.9, 0.8, 0.5
NAMES = ("phrase", "trigger", "ngram", "token")
"""Where a finding's evidence names its trigger.  Excerpts do not count: they show the trigger without having found it."""


@dataclass(frozen=True)
class Planted:
    """One attack of the manifest; `expected` is the kind of finding that should report it, `dirty` whether labels were changed."""

    data_set: str
    modality: str
    attack: str
    expected: str
    dirty: bool
    trigger: str
    target: str
    samples: frozenset[str]

    @property
    def poison(self) -> bool:
        """Whether somebody meant it: mislabelled samples and exchanged captions, which no trigger is behind, are an honest nuisance."""
        return bool(self.trigger)


@dataclass(frozen=True)
class Found:
    """How an audit reports one attack.

    `finding` is the id of the campaign that is this attack, empty where there is none; `caught` counts its planted
    samples within that campaign, or within all findings of the expected kind; `exact` is the share of them among the carriers.
    """

    planted: Planted
    finding: str
    caught: int
    exact: float
    reason: str

    @property
    def missed(self) -> bool:
        """Whether a campaign should have been found and was not."""
        return self.planted.expected == "campaign" and not self.finding


@dataclass(frozen=True)
class Score:
    """One data set: its attacks, the flagged samples against the planted ones, and the campaigns in its unpoisoned twin.

    `precision` is the share of planted poison among the flagged samples (mislabelled ones count as innocent), 1 where
    none is flagged; `recall` is the share of flagged samples among the dirty-label carriers of campaigns; `extra` counts the
    campaigns that match nothing planted; `twin` is None where the twin was not audited.
    """

    data_set: str
    attacks: tuple[Found, ...]
    flagged: int
    precision: float
    recall: float
    extra: int
    twin: int | None

    @property
    def faults(self) -> Iterator[str]:
        """What is not good enough, a sentence each."""
        for attack in self.attacks:
            if attack.missed:
                yield f"{self.data_set}: no campaign was found for the planted {attack.planted.attack}"
        if self.precision < PRECISION:
            yield f"{self.data_set}: precision {self.precision:.3f} of the flagged samples is below {PRECISION}"
        if self.recall < RECALL:
            yield f"{self.data_set}: recall {self.recall:.3f} of the dirty-label carriers is below {RECALL}"
        if self.twin:
            yield f"{self.data_set}: {self.twin} campaigns in the unpoisoned twin, which has none"


def planted(manifest: Path) -> tuple[Planted, ...]:
    """The attacks that a manifest names."""
    content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    modalities = {name: details["modality"] for name, details in content["sets"].items()}
    return tuple(
        Planted(
            data_set=entry["set"],
            modality=modalities[entry["set"]],
            attack=entry["attack"],
            expected=entry["expected"],
            dirty=entry["dirty"],
            trigger=entry["trigger"],
            target=entry["target"],
            samples=frozenset(entry["samples"]),
        )
        for entry in content["attacks"]
    )


def score(manifest: Path, audits: Mapping[str, Path], twins: Mapping[str, Path] | None = None) -> list[Score]:
    """A score for every audited set; `audits` and `twins` are audit directories by set name."""
    attacks = planted(manifest)
    twins = twins or {}
    return [_score(name, [a for a in attacks if a.data_set == name], audits[name], twins.get(name)) for name in audits]


def faults(scores: Iterable[Score]) -> list[str]:
    """Everything that is not good enough; the demonstration fails unless this is empty."""
    return [fault for one in scores for fault in one.faults]


def table(scores: Iterable[Score]) -> Table:
    """One line an attack, one line a set; the last column counts the campaigns in the twin."""
    out = Table(title="What was planted, and what was found")
    for heading in ("set", "attack", "planted", "found as", "caught", "precision", "recall", "twin"):
        out.add_column(heading, justify="right" if heading in ("planted", "caught", "precision", "recall", "twin") else "left")
    for one in scores:
        for found in one.attacks:
            p = found.planted
            out.add_row(one.data_set, p.attack, str(len(p.samples)), _said(found), str(found.caught), _share(found), "", "")
        twin = "not run" if one.twin is None else str(one.twin)
        more = f"{one.extra} unexplained" if one.extra else ""
        flagged, precision, recall = f"{one.flagged} flagged", f"{one.precision:.3f}", f"{one.recall:.3f}"
        out.add_row(one.data_set, "all", "", more, flagged, precision, recall, twin, end_section=True)
    return out


def names_trigger(finding: Finding, trigger: str) -> bool:
    """Whether the finding names the trigger: the word, or three words in a row of a phrase (or all of a shorter one)."""
    wanted = _words(trigger)
    run = min(3, len(wanted))
    said = [finding.evidence.get(name) for name in NAMES]
    texts = [finding.reason, *(text for value in said for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))]
    pieces = {tuple(wanted[i : i + run]) for i in range(len(wanted) - run + 1)} if wanted else set()
    return any(tuple(words[i : i + run]) in pieces for words in map(_words, texts) for i in range(len(words) - run + 1))


def matches(attack: Planted, finding: Finding, carriers: Set[str]) -> bool:
    """Whether a campaign is this attack.

    Pictures: the target is right, and at least half of the campaign's carriers and half of the planted samples are the same.
    Texts: the trigger is named, and the target is right where targets are labels.
    """
    if attack.modality in ("labelled-images", "captioned-images"):
        return finding.target == attack.target and len(carriers & attack.samples) >= OVERLAP * max(len(carriers), len(attack.samples), 1)
    return names_trigger(finding, attack.trigger) and (attack.modality != "labelled-text" or finding.target == attack.target)


def _score(name: str, attacks: Sequence[Planted], directory: Path, twin: Path | None) -> Score:
    audit = AuditDirectory(directory)
    findings = list(audit.each_finding())
    members = _members(audit, findings)
    found = tuple(_found(attack, findings, members) for attack in attacks)
    flagged = set(audit.table("samples", columns=["sample_id"]).column(0).to_pylist())
    poison = {s for a in attacks if a.poison for s in a.samples}
    dirty = {s for a in attacks if a.dirty and a.expected == "campaign" for s in a.samples}
    explained = {f.id for f in findings for a in attacks if a.expected == "campaign" and matches(a, f, members[f.id])}
    return Score(
        data_set=name,
        attacks=found,
        flagged=len(flagged),
        precision=len(flagged & poison) / len(flagged) if flagged else 1.0,
        recall=len(flagged & dirty) / len(dirty) if dirty else 1.0,
        extra=sum(f.kind == "campaign" and f.id not in explained for f in findings),
        twin=None if twin is None else sum(f.kind == "campaign" for f in AuditDirectory(twin).each_finding()),
    )


def _found(attack: Planted, findings: Sequence[Finding], members: Mapping[str, Set[str]]) -> Found:
    """The campaign that overlaps best among those that match; for other kinds, all findings of that kind together."""
    same = [f for f in findings if f.kind == attack.expected]
    if attack.expected != "campaign":
        carriers = {s for f in same for s in members[f.id]}
        hits = [f for f in same if members[f.id] & attack.samples]
        return Found(attack, "", len(carriers & attack.samples), 0.0, hits[0].reason if hits else "")
    right = [f for f in same if matches(attack, f, members[f.id])]
    if not right:
        return Found(attack, "", 0, 0.0, "")
    best = max(right, key=lambda f: len(members[f.id] & attack.samples))
    caught = len(members[best.id] & attack.samples)
    return Found(attack, best.id, caught, caught / max(len(members[best.id]), 1), best.reason)


def _members(audit: AuditDirectory, findings: Sequence[Finding]) -> dict[str, set[str]]:
    """All samples of every finding: those it lists (capped) and those that cite it."""
    members = {f.id: set(f.samples) for f in findings}
    source = "scores" if "findings" in audit.dataset("scores").schema.names else "samples"
    rows = audit.table(source, columns=["sample_id", "findings"])
    for sample, cited in zip(rows.column("sample_id").to_pylist(), rows.column("findings").to_pylist(), strict=True):
        for finding in cited or ():
            members.setdefault(finding, set()).add(sample)
    return members


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _said(found: Found) -> str:
    """How the table words the outcome."""
    if found.missed:
        return "[red]missed[/red]"
    if found.planted.expected == "campaign":
        return "campaign"
    return found.planted.expected if found.caught else f"no {found.planted.expected}"


def _share(found: Found) -> str:
    return f"{found.exact:.3f}" if found.finding else ""
