"""One self-contained HTML file: the verdict, the campaigns with their evidence, and what was not looked at.

No script, no network, nothing but the audit directory.  However large the data, the file stays below
5 MB: cards, rows and carriers are capped and the report says how many more there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataaudit.model import Finding
from dataaudit.reports.cards import Card, card
from dataaudit.reports.plain import odds, visible
from dataaudit.store.directory import AuditDirectory
from dataaudit.store.records import atomic

if TYPE_CHECKING:
    from markupsafe import Markup

LIMIT = 5 << 20
HIDDEN = re.compile(r"⟦U\+[0-9A-F]{4,6}⟧(?:×\d+)?")
TRIGGER = re.compile(r"«([^«»]{1,400})»")


@dataclass(frozen=True)
class Caps:
    """How much is shown; the rest is counted."""

    cards: int = 30
    carriers: int = 8
    rows: int = 150

    def halved(self) -> Caps:
        """Half of everything, never less than one."""
        return Caps(max(1, self.cards // 2), max(1, self.carriers // 2), max(1, self.rows // 2))


def write(directory: Path) -> Path:
    """Write report.html into a finished audit directory."""
    path = Path(directory) / "report.html"
    text = render(AuditDirectory(Path(directory))).encode("utf-8")
    with atomic(path) as out:
        out.write(text)
    return path


def render(audit: AuditDirectory, caps: Caps | None = None, limit: int = LIMIT) -> str:
    """The report as text, smaller than `limit` bytes: where the caps do not suffice, they are halved."""
    caps = caps or Caps()
    page = _page(audit, caps)
    while len(page.encode("utf-8")) >= limit and caps != caps.halved():
        caps = caps.halved()
        page = _page(audit, caps)
    return page


def _page(audit: AuditDirectory, caps: Caps) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dataaudit", "reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": shown, "odds": odds}
    css = environment.loader.get_source(environment, "report.css")[0] if environment.loader else ""
    return environment.get_template("report.html.j2").render(**_content(audit, caps), css=css)


def _content(audit: AuditDirectory, caps: Caps) -> dict[str, Any]:
    findings = list(audit.each_finding())
    campaigns = [f for f in findings if f.kind == "campaign"]
    others = [f for f in findings if f.kind != "campaign"]
    skipped = audit.table("skipped")
    said = audit.summary
    return {
        "said": said,
        "kind": str((said.get("verdict") or {}).get("kind", "incomplete")),
        "sentence": str((said.get("verdict") or {}).get("sentence", "")),
        "cards": _cards(audit, campaigns[: caps.cards], caps.carriers),
        "more_cards": max(0, len(campaigns) - caps.cards),
        "others": others[: caps.rows],
        "serious": any(f.severity in ("critical", "high") for f in others),
        "more_others": max(0, len(others) - caps.rows),
        "skipped": skipped.slice(0, caps.rows).to_pylist(),
        "more_skipped": max(0, skipped.num_rows - caps.rows),
        "coverage": said.get("coverage") or {},
        "settings": flat(said.get("settings") or {}),
        "versions": flat(said.get("versions") or {}),
        "dataset": flat(said.get("dataset") or {}),
    }


def _cards(audit: AuditDirectory, findings: list[Finding], carriers: int) -> list[Card]:
    kept = audit.evidence_of({i for f in findings for i in f.samples[:carriers]})
    return [card(f, kept, carriers) for f in findings]


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and text, at most 200."""
    rows: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "not set" if value is None else str(value)))
    return rows[:200]


def shown(text: object, limit: int = 500) -> Markup:
    """Text from the data as safe HTML: escaped, invisible characters set off, «triggers» marked."""
    from markupsafe import Markup, escape

    safe = str(escape(visible(text, limit)))
    safe = TRIGGER.sub(r"<mark>\1</mark>", safe)
    return Markup(HIDDEN.sub(lambda m: f'<span class="hidden">{m[0]}</span>', safe))  # noqa: S704 - escaped two lines above
