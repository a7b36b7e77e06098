"""What is kept as evidence can be shown anywhere."""

from dataclasses import dataclass, replace

import pytest

from dataaudit.model import Finding, Kind, Sample
from dataaudit.stages.look import SNIPPET, again, snippet

FOUND = Finding("f", "campaign", "made_up", "high", "a word", "", 1, (), 0.9, 1.0, "it is there")


def sample(content: str | bytes) -> Sample:
    return Sample("s#1", "1", content, None, 0, 1)


def test_a_snippet_shows_what_a_reader_would_not_see_and_keeps_its_lines() -> None:
    said = snippet(sample("first\nsecond\u202eline\x1b[31m\u200b"))
    assert said is not None
    assert said.splitlines()[0] == "first"
    assert "U+202E" in said
    assert not set("\u202e\x1b\u200b") & set(said)


def test_a_long_text_is_cut_and_a_picture_has_no_snippet() -> None:
    assert len(snippet(sample("x" * 5000)) or "") == SNIPPET
    assert snippet(sample(b"\x89PNG")) is None


@dataclass(frozen=True)
class Describes:
    """A detector that calls what it sees again by another kind."""

    kind: Kind

    def describe(self, finding, samples, views):
        return replace(finding, kind=self.kind)


@pytest.mark.parametrize(
    ("first", "second", "released"), [("campaign", "outlier", True), ("campaign", "campaign", False), ("outlier", "outlier", False)]
)
def test_a_campaign_that_is_let_go_is_marked(first, second, released):
    assert again(Describes(second), replace(FOUND, kind=first), [], {}).released is released
