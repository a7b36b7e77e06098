"""One sentence, never "clean"."""

from dataclasses import replace

import pytest

from dataaudit.findings.verdict import Coverage, at_least, judge
from dataaudit.model import Finding

LOOKED = Coverage(1000, 4, 0, 0, ("token_trigger",), ("pixel_trigger",))
CAMPAIGN = Finding("1", "campaign", "token_trigger", "critical", "", "spam", 20, (), 0.9, 1e-9, "a word")


def test_a_campaign_is_evidence_of_poisoning():
    verdict = judge([CAMPAIGN], LOOKED, 0.001)
    assert verdict.kind == "poisoned"
    assert "1 campaign with 20 carriers" in verdict.sentence


def test_label_errors_are_no_poisoning():
    assert judge([replace(CAMPAIGN, kind="label", severity="medium")], LOOKED, 0.001).kind == "nothing_found"


def test_an_unsafe_file():
    assert judge([replace(CAMPAIGN, kind="file", severity="high", subject="a.tar")], LOOKED, 0.001).kind == "unsafe_files"


@pytest.mark.parametrize(
    "gap",
    [{"skipped_shards": 1}, {"skipped_samples": 2}, {"samples": 0}, {"detectors": ()}],
    ids=["a shard", "samples", "empty", "nobody looked"],
)
def test_what_was_not_looked_at_makes_it_incomplete(gap):
    assert judge([], replace(LOOKED, **gap), 0.001).kind == "incomplete"


def test_one_sample_in_a_thousand_may_be_unreadable():
    assert judge([], replace(LOOKED, skipped_samples=1), 0.001).kind == "nothing_found"


def test_the_sentence_says_what_was_looked_at_and_never_clean():
    sentence = judge([], LOOKED, 0.001).sentence
    assert "1,000 samples in 4 shards" in sentence
    assert "not run on such data: pixel_trigger" in sentence
    assert "not measured" in sentence
    assert "clean" not in sentence


def test_the_sentence_stays_a_sentence_where_many_detectors_do_not_apply():
    sentence = judge([], replace(LOOKED, idle=("a", "b", "c", "d", "e")), 0.001).sentence
    assert "not run on such data: a, b, c and 2 more." in sentence


def test_severities_are_ordered():
    assert at_least("critical", "high")
    assert at_least("high", "high")
    assert not at_least("medium", "high")
