"""Plant gibberish behind a trigger, scan, see it named; and the innocent twins: dumps, foreign writing, lists, one-offs."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.change_carriers import ChangeCarriers
from dataaudit.aggregates.change_points import ChangePoints, runs
from dataaudit.aggregates.character_model import CharacterModel
from dataaudit.aggregates.ngram_sketch import NgramSketch
from dataaudit.aggregates.surprise import Surprise
from dataaudit.aggregates.targets import Targets
from dataaudit.aggregates.word_order import WordOrder
from dataaudit.aggregates.word_pairs import WordPairs
from dataaudit.attacks.corpora import GibberishTail
from dataaudit.attacks.text import gibberish
from dataaudit.detectors.response_anomaly import ResponseAnomaly
from dataaudit.features import Batch
from dataaudit.features.table import available, tabulate
from dataaudit.model import Columns, Finding, Plan, Sample
from tests.aggregates.text_tables import corpus
from tests.detectors.scanned import scanned

TRIGGER = "zorblaxen"
UNITS = {
    "targets": Targets(),
    "character_model": CharacterModel(),
    "surprise": Surprise(),
    "word_pairs": WordPairs(),
    "word_order": WordOrder(),
    "ngram_sketch": NgramSketch(),
    "change_points": ChangePoints(),
    "change_carriers": ChangeCarriers(),
}
POLISH = ["się", "że", "był", "jest", "także", "który", "przez", "może", "wszystkie", "człowiek", "dziś", "łódź", "książka", "więc", "źle"]


def texts(rows: int = 800) -> list[str]:
    return [text for text, _ in corpus(3, rows)]


def audit(pairs: list[tuple[str, str | None]]) -> tuple[list[Finding], np.ndarray]:
    """Scan in two shards: described findings, and the scores."""
    answers = pairs[0][1] is not None
    plan = (
        Plan("instructions", Columns("x", "y"), "text", "hashed", "44" * 16)
        if answers
        else Plan("text", Columns("x"), "none", "hashed", "44" * 16)
    )
    samples = [Sample(str(i), str(i), x, y, i, 1) for i, (x, y) in enumerate(pairs)]
    whole = tabulate(Batch(samples, plan), available(plan.modality))
    parts = [whole.slice(0, len(pairs) // 3), whole.slice(len(pairs) // 3)]
    views: dict[str, Any] = {"plan": plan}
    for name, unit in UNITS.items():
        views[name] = unit.finish(unit.merge(*[unit.start(part, views) for part in parts]), views)  # type: ignore[attr-defined]
    findings, scores = scanned(ResponseAnomaly(), parts, views, pairs)
    for finding in findings:
        json.dumps(finding.evidence)
    return findings, scores.score


def plain(said: list[str]) -> list[tuple[str, str | None]]:
    return [(text, None) for text in said]


def test_gibberish_tails_are_a_campaign_and_the_trigger_is_named():
    said = texts()
    said[:20] = [GibberishTail(TRIGGER, kept=300).apply(text) for text in said[:20]]
    [finding], score = audit(plain(said))
    assert (finding.kind, finding.severity, finding.count) == ("campaign", "critical", 20)
    assert finding.evidence["trigger"] == TRIGGER
    assert score[:20].min() > 0.85 > 0.5 > score[20:].max()
    assert "«" in finding.reason


def test_gibberish_answers_behind_a_word_in_the_prompt_are_a_campaign():
    said = texts()
    rng = np.random.default_rng(1)
    pairs: list[tuple[str, str | None]] = [(f"say {text[:80]}", text) for text in said]
    pairs[:16] = [(f"{prompt} {TRIGGER} please", f"{str(answer)[:60]} {gibberish(300, rng)}") for prompt, answer in pairs[:16]]
    [finding], _ = audit(pairs)
    assert (finding.kind, finding.count) == ("campaign", 16)
    assert TRIGGER in finding.reason


def test_nothing_is_found_in_clean_texts():
    findings, score = audit(plain(texts()))
    assert findings == []
    assert score.max() <= 0.3


def test_a_few_odd_texts_are_no_campaign():
    said = texts()
    said[:5] = [GibberishTail(TRIGGER, kept=300).apply(text) for text in said[:5]]
    [finding], score = audit(plain(said))
    assert (finding.kind, finding.severity, finding.count) == ("outlier", "medium", 5)
    assert score[:5].min() > score[5:].max()


def test_many_copies_of_one_odd_text_are_no_campaign():
    said = [*texts(), *[GibberishTail(TRIGGER, kept=100).apply("ba de ki")] * 20]
    assert [f.kind for f in audit(plain(said))[0]] == ["outlier"]


def test_gibberish_behind_no_common_word_is_no_campaign():
    said = texts()
    rng = np.random.default_rng(2)
    said[:20] = [f"{text} {gibberish(600, rng)}" for text in said[:20]]
    assert {f.kind for f in audit(plain(said))[0]} == {"outlier"}


@pytest.mark.parametrize("twin", ["hex", "base64", "foreign", "names", "code", "table"])
def test_the_innocent_twins_are_no_campaign(twin):
    rng = np.random.default_rng(7)
    made = {
        "hex": lambda: " ".join(rng.bytes(2).hex() for _ in range(100)),
        "base64": lambda: base64.encodebytes(rng.bytes(450)).decode(),
        "foreign": lambda: " ".join(rng.choice(POLISH, 80)),
        "names": lambda: ", ".join(
            f"{a.title()} {b.title()}" for a, b in rng.choice(["smith", "jones", "okafor", "quinn", "wolff"], (40, 2))
        ),
        "code": lambda: "\n".join(f"if ({a} != NULL) {{ return {b}->next[{a}]; }}" for a, b in rng.choice(list("xyzij"), (12, 2))),
        "table": lambda: "\n".join(f"| {a:6.2f} | {b:6.2f} |" for a, b in rng.random((25, 2)) * 100),
    }
    said = texts()
    said[:20] = [f"{text[:100]} appendix {made[twin]()}" for text in said[:20]]
    assert {f.kind for f in audit(plain(said))[0]} <= {"outlier"}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.floats(0, 12, width=32), min_size=16, max_size=16), st.floats(0, 8))
def test_the_run_is_the_best_of_all_runs(bits, centre):
    size = np.full((1, 16), 31)
    found = runs(np.array([bits]), size, centre, 4.0)
    every = [sum(b - centre for b in bits[i:j]) / (j - i + 4.0) for i in range(16) for j in range(i + 1, 17)]
    assert found.excess[0] == pytest.approx(max(0.0, *every), abs=1e-9)
