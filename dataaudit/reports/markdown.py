"""The audit as a few lines of Markdown, for schedulers and pull requests."""

from __future__ import annotations

from dataaudit.store.directory import AuditDirectory

ROWS = 20
SPECIAL = str.maketrans({c: f"&#{ord(c)};" for c in "\\`*_{}[]<>#|!~&"})


def summary(audit: AuditDirectory) -> str:
    """Verdict, campaigns and counts; content of the data is escaped, and cut at 200 characters."""
    said = audit.summary
    lines = [f"# {said['verdict']['kind'].replace('_', ' ')}", "", escape(said["verdict"]["sentence"]), ""]
    campaigns = audit.findings[audit.findings["kind"] == "campaign"]
    if len(campaigns):
        lines += ["| campaign | target | carriers | risk | reason |", "|---|---|---|---|---|"]
        for row in campaigns.head(ROWS).to_dict("records"):
            lines.append(f"| `{row['id']}` | {escape(row['target'])} | {row['count']} | {row['risk']:.2f} | {escape(row['reason'])} |")
        lines.append("")
    others = audit.findings[audit.findings["kind"] != "campaign"]
    lines += [f"- {escape(row['severity'])} {escape(row['kind'])}: {escape(row['reason'])}" for row in others.head(ROWS).to_dict("records")]
    counts = f"{said['samples']:,} samples, {said['flagged']:,} flagged, {said['skipped']:,} skipped."
    return "\n".join([*lines, "", f"{counts} Report: `{audit.path / 'report.html'}`"])


def escape(text: object) -> str:
    """Markdown and HTML in data become plain characters; line breaks become spaces."""
    plain = "".join(c if c.isprintable() else " " for c in str(text)[:200])
    return plain.translate(SPECIAL)
