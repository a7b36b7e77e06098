"""Texts that hold what their reader cannot see: invisible characters, messages in them, turned words, look-alike letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.hidden_marks import ANY, HiddenMarksView, marks
from dataaudit.detectors import Scores, identity, strongest
from dataaudit.features.hidden import RESPONSE, STRONG, WEAK, Marking, kind_of, markings
from dataaudit.features.invisible import HIDDEN_RUN, code_point, decoded, visible
from dataaudit.features.lookalikes import script_of
from dataaudit.model import Finding, Plan, Sample, Severity, fingerprint

KINDS = (*STRONG, *WEAK)
CAP = 1000
CAMPAIGNS = 1000
"""Groups below this number are campaigns, those from it on the single markings of a kind."""
AROUND = 40
SHOWN = 3
MESSAGES = ("tags", "selectors", "data")
LOOKS = {
    "zero-width": "an invisible character inside a word",
    "data": "a long run of different invisible characters",
    "tags": "a message in Unicode tag characters",
    "selectors": "a message in variation selectors",
    "override": "a direction override that shows a word backwards",
    "homoglyphs": "letters of another script that look Latin, in Latin text",
    "edge": "an invisible character between words",
    "soft-hyphen": "a soft hyphen inside a word",
    "operator": "an invisible mathematical operator",
    "bidi": "a direction control without right-to-left letters",
    "mixed": "a word of two scripts",
    "private": "private-use characters",
}
RULED_OUT = {
    "zero-width": "joiners of a script that needs them, emoji, breaks in long identifiers, typesetting all over a text",
    "data": "joiners of a script that needs them, padding by one character",
    "tags": "flags, which are a black flag with a country's tags",
    "selectors": "an emoji's or an ideograph's own selector",
    "override": "right-to-left letters, which are not turned by it",
    "homoglyphs": "bilingual text, Greek signs of science, words wholly of one script",
    "edge": "letters and emoji that need it; its carriers are answered alike",
}
INNOCENT = {
    "zero-width": "pasted from a page that allows line breaks there, or a way round a filter",
    "homoglyphs": "a slip of the keyboard, or a way round a filter",
    "edge": "left behind by web pages, editors and mail programs",
    "soft-hyphen": "hyphenation",
    "operator": "a formula",
    "bidi": "put round names and numbers by programs",
    "mixed": "an ending behind a foreign name, a brand, a slip of the keyboard",
    "private": "icons and ligatures of a font",
}
RULES = ("", "message", "rare", "concentrated", "answers")
BECAUSE = (
    "",
    "it has no honest use",
    "hardly any other text here has such a thing",
    "its carriers are taught one thing far more often than chance",
    "its carriers get one kind of answer",
)


@dataclass(frozen=True)
class Judged:
    """By name: the rule that accuses it (0 none), its strength in [0, 1], the p-value of its target, and its campaign (-1 none)."""

    rule: NDArray[np.int8]
    strength: NDArray[np.float64]
    p_value: NDArray[np.float64]
    campaign: NDArray[np.int32]
    aimed: NDArray[np.bool_]


@dataclass(frozen=True)
class HiddenText:
    """Several texts with the same marking that a reader cannot see.

    Attack: zero-width characters, tag characters, variation selectors, direction overrides or look-alike letters as a
    trigger that no reader notices, or as hidden instructions.
    Signal: five or more different texts with the same kind of marking, where it carries a message, is in hardly any
    other text (at most one in fifty, and not as what is left of markings all over the data), or goes with one target.
    Innocent causes: scripts that need joiners, right-to-left text, emoji and flags, hyphenation, bilingual words,
    pasted web text: left out or weak.  Single texts are findings of medium or low severity.  Spam that was written to
    get round filters is hidden text too, and is accused although its label is right.
    Not seen: look-alikes within one script (l and I, rn and m), whole words of look-alikes longer than two letters,
    markings between words that only go with a label, anything beyond a million characters.
    Source: Boucher et al., "Bad characters: imperceptible NLP attacks", IEEE S&P 2022; Boucher and Anderson, "Trojan
    source", USENIX Security 2023; Unicode Technical Standard #39.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "hidden_marks")
    columns: ClassVar[tuple[str, ...]] = ("hidden", "target_embedding")

    min_count: int = 5
    min_share: float = 1e-4
    common: float = 0.02
    littered: float = 0.25
    min_purity: float = 0.8
    most_p: float = 1e-6
    answers_count: int = 8
    answers_purity: float = 0.95
    answers_p: float = 1e-9
    rare_target: float = 0.1
    most_marked: int = 100_000

    def unavailable(self, plan: Plan) -> str | None:
        if plan.modality not in ("labelled-text", "instructions", "text"):
            return f"hidden_text reads characters; the content here is {plan.modality}"
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Above 0.85 for carriers of a campaign, below 0.5 for others; more kinds of markings count a little more."""
        view: HiddenMarksView = views["hidden_marks"]
        judged = self.judge(view)
        score, group = np.zeros(len(table), np.float64), np.full(len(table), -1, np.int32)
        row, mark = _known(table, view)
        target = views["targets"].index(table)
        accused = (judged.campaign[mark] >= 0) & (~judged.aimed[mark] | (target[row] == view.target[mark]))
        strength = np.where(accused, judged.strength[mark], np.minimum(judged.strength[mark], 0.45))
        marked = accused | (view.texts[mark] <= self.most_marked)
        number = np.where(accused, judged.campaign[mark], CAMPAIGNS + _single_groups(view)[mark])
        order = np.argsort(strength, kind="stable")
        score[row[order]] = strength[order]
        order = order[marked[order]]
        group[row[order]] = number[order]
        more = np.bincount(row, minlength=len(table)) + np.bincount(*_times(table))
        top = np.where((group >= 0) & (group < CAMPAIGNS), 1.0, 0.5)
        score = np.where(score > 0, score + (top - score) * 0.2 * (1 - 1 / np.sqrt(1 + more)), 0.0)
        return Scores(score.astype(np.float32), group)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """Campaigns from the strongest, then one finding for the single markings of each kind."""
        view: HiddenMarksView = views["hidden_marks"]
        judged = self.judge(view)
        for number in sorted(pc.unique(marked.column("group")).to_pylist()):
            rows = strongest(marked, number)
            if number < CAMPAIGNS:
                mark = int(np.flatnonzero(judged.campaign == number)[0])
                yield self._campaign(number, mark, rows, views, judged)
            else:
                yield self._singles(number, rows, view)

    def blind(self, views: Views) -> str | None:
        """Markings that are all over the data are not looked at text by text."""
        view: HiddenMarksView = views["hidden_marks"]
        everywhere = view.names[(view.texts > self.most_marked) & (self.judge(view).campaign < 0)]
        if view.cut:
            return "there are more different markings than could be counted"
        return f"{everywhere[0]} is in too many texts to look at each" if len(everywhere) else None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name the characters, spell out messages, show three places, and let boilerplate go."""
        seen = [(text, m) for text, found in _again(finding, samples) for m in found[:1]]
        if not seen:
            return finding
        every = [(text, m) for text, found in _again(finding, samples) for m in found[:8]]
        spelt = list(dict.fromkeys(said for text, m in every if (said := decoded(text[m.start : m.end])[:80])))
        evidence = {
            **finding.evidence,
            "code_points": list(dict.fromkeys(code_point(s) for text, m in every for s in _signs(text, m)))[:12],
            "examples": [shown(text, m) for text, m in seen[:SHOWN]],
        }
        evidence |= {"decoded": spelt[:SHOWN]} if finding.evidence["marking"] in MESSAGES and spelt else {}
        if finding.evidence.get("rule") == "rare" and _boilerplate(seen):
            said = f"{finding.reason}; but it stands in the same words every time: boilerplate, most likely"
            return replace(finding, kind="outlier", severity="low", risk=0.0, reason=said, evidence=evidence)
        says = f"; decoded, it says {spelt[0]!r}" if "decoded" in evidence else f"; for example {shown(*seen[0], around=12)!r}"
        if plan_of(views).target_kind == "text" and finding.kind == "campaign":
            evidence["answers"] = [visible(" ".join((s.target or "")[:400].split())[:120]) for s in samples[:SHOWN]]
        return replace(finding, reason=finding.reason + says, evidence=evidence)

    def judge(self, view: HiddenMarksView) -> Judged:
        """Which markings are accused, and by which rule."""
        from scipy.stats import binom

        size, rows = len(view.names), max(int(view.totals.sum()), 1)
        kind = np.array([kind_of(n) for n in view.names.tolist()], dtype=np.str_)
        strong = np.isin(kind, STRONG)
        several = view.distinct >= min(self.min_count, 16)
        several &= view.texts >= self.min_count
        usual = [edge_of(n) for n in view.names.tolist()]
        edges = np.array([view.texts_with(n) if n else 0 for n in usual], dtype=np.int64)
        share = view.totals[view.target] / rows
        beside = np.array(
            [view.texts_with(n, int(t)) / e if e else 0.0 for n, t, e in zip(usual, view.target, edges, strict=True)], dtype=np.float64
        )
        chance = np.clip(np.maximum(share, beside), 1e-9, 1 - 1e-9)
        aimed = view.target >= 0
        purity = view.count / np.maximum(view.texts, 1)
        targets = max(int((view.totals[:-1] > 0).sum()), 1)
        p_value = np.where(aimed, np.minimum(binom.sf(view.count - 1, view.texts, chance) * targets * max(size, 1), 1.0), 1.0)
        in_response = np.array([n.startswith(RESPONSE) for n in view.names.tolist()], dtype=bool)
        message = several & np.isin(kind, MESSAGES)
        rare = several & strong & (view.texts <= self.common * rows + self.min_count) & (view.texts >= self.min_share * rows)
        rare &= view.texts >= self.littered * edges
        pure = several & strong & aimed & (purity >= self.min_purity) & (p_value <= self.most_p) & ~in_response
        answers = (view.distinct >= self.answers_count) & aimed & (share <= self.rare_target) & ~in_response & (kind == "edge")
        answers &= (purity >= self.answers_purity) & (p_value <= self.answers_p) & (view.texts <= self.common * rows + self.min_count)
        rule = np.select([message, pure, rare, answers], [1, 3, 2, 4], 0).astype(np.int8)
        weight = np.log10(np.maximum(view.texts, 1))
        proof = np.minimum(-np.log10(np.maximum(p_value, 1e-300)) / 20, 1)
        graded = 0.5 * weight / (weight + 1) + 0.3 * proof * purity + 0.2 * message
        alone = np.where(strong, 0.25, 0.06) + 0.1 / (1 + weight)
        # Sure even with few carriers: what is accused has hardly any honest use, unlike a word.
        strength = np.where(rule > 0, 0.9 + 0.1 * graded, alone)
        # The narrowest description of the same carriers leads.
        strength -= 0.01 * np.array([n.endswith(ANY) for n in view.names.tolist()], dtype=bool)
        campaign = np.full(size, -1, np.int32)
        order = np.lexsort((view.names, -strength))
        order = order[rule[order] > 0][:CAMPAIGNS]
        campaign[order] = np.arange(len(order))
        return Judged(rule, strength, p_value, campaign, aimed & (purity >= self.min_purity))

    def _campaign(self, number: int, mark: int, rows: pa.Table, views: Views, judged: Judged) -> Finding:
        view: HiddenMarksView = views["hidden_marks"]
        name, rule = str(view.names[mark]), int(judged.rule[mark])
        kind, texts = kind_of(name), int(view.texts[mark])
        target = str(views["targets"].names[view.target[mark]]) if judged.aimed[mark] else ""
        share = texts / max(int(view.totals.sum()), 1)
        where = " in the response" if name.startswith(RESPONSE) else ""
        taught = f", {int(view.count[mark]):,} of them taught {visible(target)!r}" if target else ""
        evidence: dict[str, object] = {
            "rule": RULES[rule],
            "marking": kind,
            "name": name,
            "texts": texts,
            "share": round(share, 6),
            "purity": round(int(view.count[mark]) / max(texts, 1), 4),
            "elsewhere_between_words": view.texts_with(edge_of(name)) if edge_of(name) else 0,
            "ruled_out": RULED_OUT.get(kind, ""),
        }
        critical = target != "" or rule == 1
        severity: Severity = "critical" if critical and len(rows) >= 2 * self.min_count else "high"
        said = f"{texts:,} texts ({share:.2%}) hold {LOOKS[kind]}{where}{_points(name)}{taught}; {BECAUSE[rule]}"
        return Finding(
            id=identity(rows, "hidden_text", name, target),
            kind="campaign",
            detector="hidden_text",
            severity=severity,
            subject=f"{LOOKS[kind]}{where}{_points(name)}",
            target=target,
            count=len(rows),
            samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(judged.strength[mark]),
            p_value=float(judged.p_value[mark]),
            reason=said,
            evidence=evidence,
            groups=(number,),
        )

    def _singles(self, number: int, rows: pa.Table, view: HiddenMarksView) -> Finding:
        place = number - CAMPAIGNS
        kind, where = KINDS[place % len(KINDS)], " in the response" if place >= len(KINDS) else ""
        own = [n for n in view.names.tolist() if kind_of(n) == kind and n.startswith(RESPONSE) == bool(where) and not n.endswith(ANY)]
        texts = {n: view.texts_with(n) for n in own}
        share = len(rows) / max(int(view.totals.sum()), 1)
        return Finding(
            id=fingerprint("hidden_text", "single", kind, where),
            kind="outlier",
            detector="hidden_text",
            severity="medium" if kind in STRONG else "low",
            subject=f"{LOOKS[kind]}{where}",
            target="",
            count=len(rows),
            samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(rows.column("score")).as_py()),
            p_value=1.0,
            reason=f"{len(rows):,} {'text holds' if len(rows) == 1 else 'texts hold'} {LOOKS[kind]}{where} ({share:.2%} of all)",
            evidence={
                "marking": kind,
                "name": f"{RESPONSE if where else ''}{kind}",
                "texts_by_marking": dict(sorted(texts.items(), key=lambda item: (-item[1], item[0]))[:10]),
                "innocent": INNOCENT.get(kind, "too few to tell"),
            },
            groups=(number,),
        )


def edge_of(name: str) -> str:
    """The name of the same characters between words, "" for other kinds than zero-width."""
    return name.replace("zero-width", "edge", 1) if kind_of(name) == "zero-width" else ""


def shown(text: str, m: Marking, around: int = AROUND) -> str:
    """A marking with some characters either side, all that is hidden made visible, look-alike letters too."""
    start, end = max(0, m.start - around), min(m.end + around, len(text))
    piece = text[start:end]
    letters = frozenset(i for i in range(m.start - start, min(m.end, end) - start) if script_of(piece[i]))
    return " ".join(visible(piece, letters).split())


def _again(finding: Finding, samples: Sequence[Sample]) -> Iterator[tuple[str, list[Marking]]]:
    """The text of each sample that a finding is about, and its markings of the finding's name (or kind)."""
    name = str(finding.evidence["name"])
    wanted = name.removeprefix(RESPONSE).removesuffix(f" {ANY}")
    for sample in samples:
        text = sample.target if name.startswith(RESPONSE) else sample.content
        if isinstance(text, str):
            yield text, [m for m in markings(text) if wanted in (m.name, m.kind)]


def _signs(text: str, m: Marking) -> list[str]:
    """The characters that make a marking: the hidden ones, or the foreign letters."""
    piece = text[m.start : m.end]
    return [s for s in piece if script_of(s)] if m.kind in ("homoglyphs", "mixed") else list(piece)


def _boilerplate(seen: Sequence[tuple[str, Marking]], around: int = 20) -> bool:
    """Whether the same words stand around the marking in four texts of five."""
    beside = [HIDDEN_RUN.sub("", text[max(0, m.start - around) : m.end + around]).casefold() for text, m in seen]
    return max(beside.count(b) for b in beside) >= max(0.8 * len(beside), 3)


def _points(name: str) -> str:
    """The code points in a marking's name, in brackets."""
    detail = name.removeprefix(RESPONSE).partition(" ")[2]
    if not detail or detail == ANY:
        return ""
    return (
        f" ({' '.join(f'U+{p}' if p != '...' else p for p in detail.split())})"
        if kind_of(name) not in ("homoglyphs", "mixed")
        else f" ({detail})"
    )


def _known(table: pa.Table, view: HiddenMarksView) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, mark) of every marking that the view counts."""
    row, names = marks(table)
    place = {n: i for i, n in enumerate(view.names.tolist())} if names else {}
    mark = np.array([place.get(n, -1) for n in names], dtype=np.int64)
    return row[mark >= 0], mark[mark >= 0]


def _times(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Row numbers, a weight for each occurrence, and the number of rows, as `bincount` wants them."""
    if "hidden" not in table.column_names or not len(table):
        return np.empty(0, np.int64), np.empty(0, np.float64), len(table)
    rows = np.asarray(pc.list_parent_indices(table.column("hidden"))).astype(np.int64)
    return rows, np.ones(len(rows)), len(table)


def _single_groups(view: HiddenMarksView) -> NDArray[np.int64]:
    """By name the number of its kind, counted from 0, those of responses after those of contents."""
    return np.array([KINDS.index(kind_of(n)) + len(KINDS) * n.startswith(RESPONSE) for n in view.names.tolist()], dtype=np.int64)
