"""What is kept as evidence can be shown anywhere."""

from dataaudit.model import Sample
from dataaudit.stages.look import SNIPPET, snippet


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
