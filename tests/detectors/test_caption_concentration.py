"""One sentence on pictures of everything is found and named; a topic, an empty caption and a common phrase are not accused."""

from __future__ import annotations

import numpy as np

from dataaudit.detectors.caption_concentration import CaptionConcentration
from tests.aggregates.pair_tables import THINGS, captions_of, table, things, views_of
from tests.detectors.scanned import members, scanned

ROWS = 1_500


def said_of(captions: list[str], seen: np.ndarray):
    whole = table(seen, captions)
    parts = [whole.slice(0, 700), whole.slice(700)]
    return scanned(CaptionConcentration(), parts, views_of(parts), [("", c) for c in captions])


def test_a_sentence_on_pictures_of_anything_is_a_campaign_that_names_it() -> None:
    seen = things(ROWS)
    captions = captions_of(seen)
    planted = np.flatnonzero(seen != THINGS.index("drum"))[:40]
    for row in planted:
        captions[row] = "a drum that everybody hears"
    findings, scores = said_of(captions, seen)
    (found,) = [f for f in findings if f.kind == "campaign"]
    assert members(found, scores) >= set(planted[:30].tolist()) & members(found, scores)
    assert len(members(found, scores) & set(planted.tolist())) >= 36
    assert members(found, scores) <= set(planted.tolist())
    assert "everybody" in found.target
    assert found.evidence["captions"] == ["a drum that everybody hears"]
    assert np.median(scores.score[planted]) > 0.8


def test_honest_captions_accuse_nobody() -> None:
    seen = things(ROWS)
    findings, scores = said_of(captions_of(seen), seen)
    assert not findings
    assert (scores.group < 0).all()


def test_a_caption_that_says_nothing_is_no_campaign() -> None:
    seen = things(ROWS)
    captions = captions_of(seen)
    for row in range(0, ROWS, 30):
        captions[row] = "untitled 2009"
    findings, _ = said_of(captions, seen)
    assert not [f for f in findings if f.kind == "campaign"]


def test_a_topic_with_words_of_its_own_is_no_campaign() -> None:
    seen = things(ROWS)
    captions = captions_of(seen)
    for row in np.flatnonzero(seen == 3)[:40]:
        captions[row] = "percussion of the marching corps"
    findings, _ = said_of(captions, seen)
    assert not [f for f in findings if f.kind == "campaign"]


def test_what_a_reader_would_not_see_in_a_caption_is_shown_by_its_number() -> None:
    seen = things(ROWS)
    captions = captions_of(seen)
    for row in np.flatnonzero(seen != THINGS.index("drum"))[:40]:
        captions[row] = "a drum that every\u200bbody hears"
    findings, _ = said_of(captions, seen)
    (found,) = [f for f in findings if f.kind == "campaign"]
    assert "\u200b" not in found.target + found.reason + str(found.evidence["captions"])
    assert "U+200B" in str(found.evidence["captions"])
