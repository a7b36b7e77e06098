"""The audit on a terminal: rich tables of the summary, of one finding, of one sample, of a query's answer.

Whatever comes from the data passes `safe`: escape sequences cannot reach the terminal, rich's markup is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataaudit.model import Finding
from dataaudit.reports.cards import Card, card
from dataaudit.reports.plain import visible
from dataaudit.sources.specification import told
from dataaudit.store.directory import AuditDirectory, Evidence

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

CAMPAIGNS = 20
OTHERS = 8
CELL = 200
TONES = {"poisoned": "bold red", "unsafe_files": "bold red", "incomplete": "bold yellow", "nothing_found": "bold green"}
SEVERITY_TONES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}


def safe(text: object, limit: int = CELL, style: str = "") -> Text:
    """Text from the data: invisible characters shown, markup not interpreted."""
    from rich.text import Text

    return Text(visible(text, limit), style=style)


def summary(audit: AuditDirectory) -> RenderableType:
    """The verdict, the campaigns, the other findings, what was skipped, and where to look next."""
    from rich.console import Group

    findings = list(audit.each_finding())
    campaigns = [f for f in findings if f.kind == "campaign"]
    others = [f for f in findings if f.kind != "campaign"]
    said = audit.summary
    verdict = said["verdict"]
    parts: list[RenderableType] = [safe(verdict["sentence"], 800, TONES.get(verdict["kind"], ""))]
    if campaigns:
        parts += ["", campaign_table(campaigns[:CAMPAIGNS]), *more(len(campaigns) - CAMPAIGNS, "campaigns")]
    if others:
        parts += ["", finding_table(others[:OTHERS]), *more(len(others) - OTHERS, "findings")]
    counts = f"{said['samples']:,} samples, {said['flagged']:,} flagged, {said['skipped']:,} skipped, {said['seconds']} s"
    parts += ["", safe(read_as(said["settings"]), 800, "dim")]
    return Group(*parts, safe(counts, style="dim"), safe(f"Report: {audit.path / 'report.html'}", 1000, "dim"))


def read_as(settings: Mapping[str, Any]) -> str:
    """What the data were taken for, so that a wrong guess is noticed."""
    named = ", ".join(f"{role} {worded(name)}" for role, name in settings.get("columns", {}).items() if name)
    return f"Read as {settings.get('modality', 'unknown').replace('-', ' ')}: {named or 'no columns named'}"


def worded(spec: str) -> str:
    """A column by its name; what is looked for in a conversation in words, with what names it on the command line."""
    words = told(spec)
    return words if words == repr(spec) else f"= {words} ({spec})"


def campaign_table(campaigns: list[Finding]) -> Table:
    """Campaigns, worst first."""
    table = _table("Campaign", "Trigger", "Target", "Carriers", "Risk", "Why", right=(3, 4))
    for finding in campaigns:
        shown = card(finding, {}, 0)
        what = shown.phrase or ("picture in the report" if shown.picture else "")
        named = (safe(finding.id, 24), safe(what, 60), safe(finding.target, 60))
        table.add_row(*named, f"{finding.count:,}", f"{finding.risk:.2f}", safe(finding.reason))
    return table


def finding_table(findings: list[Finding]) -> Table:
    """Findings that accuse nobody."""
    table = _table("Severity", "Kind", "Finding", "Samples", "What", right=(3,))
    for f in findings:
        tone = SEVERITY_TONES.get(f.severity, "")
        table.add_row(safe(f.severity, 12, tone), safe(f.kind, 20), safe(f.id, 24), f"{f.count:,}", safe(f.reason))
    return table


def finding(one: Finding, kept: Mapping[str, Evidence], carriers: int = 8) -> RenderableType:
    """One finding with its evidence and strongest samples."""
    from rich.console import Group

    shown = card(one, kept, carriers)
    head = safe(one.reason, 600, SEVERITY_TONES.get(one.severity, ""))
    return Group(head, "", _pairs(_said(one, shown)), *_carriers(one, shown), *_excerpts(shown))


def _said(one: Finding, shown: Card) -> list[tuple[str, str]]:
    about = [
        ("Finding", one.id),
        ("Kind", f"{one.kind}, {one.severity}, by {one.detector}"),
        ("Subject", one.subject),
        ("Trigger", shown.phrase),
    ]
    about += [
        ("Target", one.target),
        ("Samples", f"{one.count:,}"),
        ("How sure", shown.sure),
        *shown.facts,
        ("Ruled out" if shown.ruled_out else "May be innocent", shown.innocent),
    ]
    return [(name, text) for name, text in [*about, *shown.details] if text]


def _carriers(one: Finding, shown: Card) -> list[RenderableType]:
    table = _table("Sample", "Target", "Content")
    for c in shown.carriers:
        table.add_row(
            safe(c.id, 80), safe(c.target, 80), safe(c.snippet or ("thumbnail in the report" if c.image else "content not kept"), 300)
        )
    rest = more(one.count - len(shown.carriers), "samples")
    return ["", table, *rest] if shown.carriers else []


def _excerpts(shown: Card) -> list[RenderableType]:
    return ["", *(safe(text, 300) for text in shown.excerpts)] if shown.excerpts else []


def sample(score: Mapping[str, Any], findings: list[Finding], kept: Evidence | None) -> RenderableType:
    """One sample: its risk, each detector's score, the findings that it belongs to, and its content if kept."""
    from rich.console import Group

    rows = [(name, f"{v:.4f}" if isinstance(v, float) else str(v)) for name, v in score.items() if name != "findings" and v is not None]
    content = (kept.snippet or "a thumbnail is in the report") if kept else "not kept"
    parts: list[RenderableType] = [_pairs([*rows, ("content", content)])]
    return Group(*parts, "", finding_table(findings)) if findings else Group(*parts)


def answer(table: pa.Table) -> Table:
    """A query's answer."""
    shown = _table(*(visible(name, 60) for name in table.column_names))
    for row in table.to_pylist():
        shown.add_row(*(safe("" if v is None else v) for v in row.values()))
    return shown


def more(count: int, what: str) -> list[RenderableType]:
    """A line that says how many are not shown, if any."""
    return [safe(f"and {count:,} more {what}", style="dim")] if count > 0 else []


def _pairs(rows: list[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", max_width=24)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(safe(name, 60), safe(text, 600))
    return table


def _table(*names: str, right: tuple[int, ...] = ()) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(Text(name), justify="right" if place in right else "left", overflow="fold")
    return table
