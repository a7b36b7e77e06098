import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dataaudit.reports import html
from dataaudit.reports.cards import card, data_uri, embedded
from dataaudit.store.directory import AuditDirectory, write_findings
from tests.reports.make_audit import HOSTILE, image_campaign, make_audit, other, png, text_campaign

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """All start tags with their attributes, all visible text, and whether the tags nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open, self.balanced = [], [], [], True
        self.feed(text)
        self.balanced = self.balanced and not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style = data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = make_audit(tmp_path_factory.mktemp("audit"))
    return Page(html.write(path).read_text("utf-8"))


def test_the_verdict_comes_first_then_campaigns_then_the_rest(page):
    order = [
        "Evidence of poisoning: 3 campaigns",
        "Campaigns",
        "ankle boot",
        "blue heron",
        "Other findings",
        "and what was not",
        "This audit",
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert page.text.startswith("dataaudit: poisoned Poisoned Evidence of poisoning")


def test_a_campaign_shows_trigger_target_carriers_and_how_sure(page):
    for words in ("40 carriers", "risk 0.97; about 1 in 10³⁷ by chance", "98% of the samples", "Innocent cause ruled out"):
        assert words in page.text
    assert "alike to 0.38, against 0.46 for the label and 0.40 for everything" in page.text
    assert "5 × 5 px at x 23, y 23" in page.text
    assert "there is one label only" in page.text
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == 1 + 8, "the trigger's picture and eight carriers"
    assert all(a["src"].startswith("data:image/png;base64,") and a["alt"] for a in images)


def test_hostile_strings_are_harmless_and_visible(page):
    assert page.balanced
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "link", "form", "base", "svg", "a"})
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "⟦U+202E⟧" in page.text
    assert not {"\u202e", "\u200b", "\x1b"} & set(page.text)


def test_nothing_is_fetched(page):
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attrs.get(name, "data:").startswith("data:"), (tag, name)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "url(" not in page.style
    assert "prefers-color-scheme: dark" in page.style


def test_landmarks_and_languages_for_screen_readers(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("main") == tags.count("h1") == 1
    assert next(a for tag, a in page.tags if tag == "html")["lang"] == "en"
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= ids
    assert all(a.get("scope") == "col" for tag, a in page.tags if tag == "th")


def test_the_innocent_twin_accuses_nobody(tmp_path):
    page = Page(html.write(make_audit(tmp_path, campaigns=0, others=0, skipped=0, hostile=False)).read_text("utf-8"))
    assert "Nothing found" in page.text
    assert "Campaigns" not in page.text
    assert "everything could be read" in page.text
    assert "clean" not in page.text.casefold()


def test_however_much_there_is_the_report_stays_small_and_counts_the_rest(tmp_path):
    path = html.write(make_audit(tmp_path, campaigns=200, others=2_000, skipped=2_000, hostile=False))
    page = Page(path.read_text("utf-8"))
    assert path.stat().st_size < 5 << 20
    assert "170 more campaigns" in page.text
    assert "1,850 more findings" in page.text
    assert "1,850 more rows" in page.text


def test_caps_are_halved_until_it_fits(tmp_path):
    audit = AuditDirectory(make_audit(tmp_path, campaigns=100, others=100, hostile=True))
    assert len(html.render(audit, limit=60_000).encode()) < 60_000


def test_only_small_png_and_jpeg_are_embedded():
    assert data_uri(png(1)).startswith("data:image/png")
    assert data_uri(b"\xff\xd8\xff\xe0...").startswith("data:image/jpeg")
    assert data_uri(b"<svg onload=alert(1)>") == ""
    assert data_uri(png(1) + b"0" * (1 << 20)) == ""
    assert embedded("not base64!") == embedded(7) == embedded("A" * (1 << 20)) == ""


def test_an_innocent_cause_is_ruled_out_only_by_who_says_so():
    finding = text_campaign(0)
    assert card(finding, {}).ruled_out
    assert not card(replace(finding, kind="duplicate"), {}).ruled_out
    assert card(replace(finding, kind="outlier", evidence={"ruled_out": "a topic"}), {}).innocent == "a topic"


def test_a_card_survives_any_evidence():
    for value in (None, 3, "text", [1, 2], {"a": [None]}, True, [[]], HOSTILE):
        odd = dict.fromkeys(("picture", "purity", "coherence", "place", "innocent", "snippets", "phrase", "trigger", "other"), value)
        shown = card(replace(image_campaign(0), evidence=json.loads(json.dumps(odd))), {})
        assert [name for name, _ in shown.details] == ["other"]
        assert shown.picture == ""


def test_serious_findings_that_are_no_campaign_are_called_serious(tmp_path):
    path = make_audit(tmp_path, campaigns=0, others=1, hostile=False)
    assert "flag no sample by themselves" in Page(html.write(path).read_text("utf-8")).text
    write_findings(path, [replace(other(0), kind="file", severity="critical")])
    assert "Some of these are serious" in Page(html.write(path).read_text("utf-8")).text
