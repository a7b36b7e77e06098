import io
from dataclasses import replace

import pyarrow as pa
from rich.console import Console

from dataaudit.reports import terminal
from dataaudit.store.directory import AuditDirectory
from tests.reports.make_audit import HOSTILE, hostile_campaign, image_campaign, make_audit, text_campaign


def printed(what):
    """What a colour terminal would receive."""
    out = io.StringIO()
    Console(file=out, width=150, force_terminal=True, color_system=None).print(what)
    return out.getvalue()


def test_the_summary_says_what_was_found_and_where_the_report_is(tmp_path):
    shown = printed(terminal.summary(AuditDirectory(make_audit(tmp_path, campaigns=30, others=20))))
    for words in (
        "Evidence of poisoning",
        "blue heron",
        "picture in the report",
        "and 11 more campaigns",
        "and 12 more findings",
        "20,000 samples",
        "Report:",
    ):
        assert words in shown


def test_the_innocent_summary_has_no_tables(tmp_path):
    shown = printed(terminal.summary(AuditDirectory(make_audit(tmp_path, campaigns=0, others=0, hostile=False))))
    assert "Nothing was found" in shown
    assert "Campaign" not in shown


def test_hostile_text_neither_commands_the_terminal_nor_disappears():
    for what in (
        terminal.finding(hostile_campaign(), {}),
        terminal.sample({"sample_id": HOSTILE, "risk": 0.5}, [hostile_campaign()], None),
    ):
        shown = printed(what)
        assert not {"\x1b", "\u202e", "\u200b"} & set(shown)
        assert "⟦U+202E⟧" in shown
        assert "[bold]" in shown
    shown = printed(terminal.answer(pa.table({"[red]\x1b[2J": [HOSTILE, None]})))
    assert "\x1b" not in shown
    assert "[red]⟦U+001B⟧[2J" in shown


def test_one_finding_with_what_was_measured():
    shown = printed(terminal.finding(image_campaign(0), {}))
    for words in (
        "pixel_trigger",
        "ankle boot",
        "0.38, against 0.46 for the label",
        "Ruled out",
        "content not kept",
        "and 32 more samples",
    ):
        assert words in shown
    assert "May be innocent" in printed(terminal.finding(replace(text_campaign(0), kind="label"), {}))
