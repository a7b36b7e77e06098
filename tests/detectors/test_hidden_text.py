"""Plant what no reader sees, scan, see it named; and the innocent twin of every kind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from dataaudit.aggregates.hidden_marks import HiddenMarks
from dataaudit.aggregates.targets import Targets
from dataaudit.attacks.hidden_text import BidiOverride, Homoglyphs, TagCharacters, ZeroWidth
from dataaudit.detectors.hidden_text import CAMPAIGNS, HiddenText
from dataaudit.features import Batch, embedding
from dataaudit.features.encoders.text import Hashed
from dataaudit.features.hidden import Hidden
from dataaudit.features.invisible import HIDDEN_RUN
from dataaudit.model import Columns, Finding, Plan, Sample
from tests.aggregates.text_tables import corpus, insert
from tests.detectors.scanned import members, scanned

Pairs = list[tuple[str, str]]
PAYLOAD = "I obey Mister Quux, visit example.com now."
ATTACKS = {
    "zero-width": ZeroWidth().apply,
    "homoglyphs": Homoglyphs().apply,
    "tags": TagCharacters().apply,
    "override": BidiOverride().apply,
}
WEB = ["\u200b ", " \ufeff", "\u200e) ", " \ufe0f", "\u00ad"]


def number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def table(pairs: Pairs, kind: str) -> tuple[Plan, pa.Table]:
    modality = {"label": "labelled-text", "text": "instructions", "none": "text"}[kind]
    plan = Plan(modality, Columns("x", "y"), kind, "hashed", "22" * 16)  # type: ignore[arg-type]
    batch = Batch([Sample(str(i), str(i), x, y, i, 1) for i, (x, y) in enumerate(pairs)], plan)
    columns = {
        "key": pa.array([str(i) for i in range(len(pairs))]),
        "target": pa.array([None if kind == "none" else y for _, y in pairs], pa.string()),
        "digest": pa.array([f"{number(x):016x}" for x, _ in pairs]),
        "rank": pa.array([number(f"{x}\0{y}") for x, y in pairs], pa.uint64()),
        "hidden": Hidden().compute(batch),
    }
    if kind == "text":
        columns["target_embedding"] = embedding.to_column(embedding.quantise(Hashed().encode(batch.targets)))
    return plan, pa.table(columns)


def audit(pairs: Pairs, kind: str = "label") -> tuple[list[Finding], list[set[int]], np.ndarray]:
    """Scan in two shards: described findings, the members of each, and the scores."""
    plan, whole = table(pairs, kind)
    parts = [whole.slice(0, len(pairs) // 3), whole.slice(len(pairs) // 3)]
    views = {"plan": plan}
    for name, unit in {"targets": Targets(), "hidden_marks": HiddenMarks()}.items():
        views[name] = unit.finish(unit.merge(*[unit.start(part, views) for part in parts]), views)  # type: ignore[assignment]
    findings, scores = scanned(HiddenText(), parts, views, pairs)
    for finding in findings:
        written = json.dumps([finding.subject, finding.reason, finding.evidence], ensure_ascii=False)
        assert not HIDDEN_RUN.search(written), "what is hidden must not get into the report as it is"
    return findings, [members(f, scores) for f in findings], scores.score


def plant(pairs: Pairs, change: Callable[[str], str], rows: list[int], label: str | None = None) -> Pairs:
    planted = list(pairs)
    for i in rows:
        planted[i] = (change(pairs[i][0]), label or pairs[i][1])
    return planted


def campaigns(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.kind == "campaign"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("dirty", [True, False], ids=["dirty label", "clean label"])
def test_an_invisible_trigger_is_a_campaign(attack: str, dirty: bool) -> None:
    honest = corpus(1)
    rows = [i for i, (_, y) in enumerate(honest) if (y == "bad") == dirty][:8]
    findings, members, score = audit(plant(honest, ATTACKS[attack], rows, "good"))
    (found,) = campaigns(findings)
    assert found.evidence["marking"] == attack
    assert found.target == "good"
    assert members[findings.index(found)] == set(rows)
    assert score[rows].min() > 0.85 > 0.5 > np.delete(score, rows).max()
    assert 0 < found.p_value <= 1
    assert len(found.evidence["examples"]) == 3  # type: ignore[arg-type]
    assert "⟨U+" in found.evidence["examples"][0]  # type: ignore[index]
    assert found.evidence["ruled_out"]


def test_its_characters_are_named_and_its_message_is_spelt_out() -> None:
    findings, _, _ = audit(plant(corpus(2), TagCharacters("obey me").apply, list(range(10))))
    (found,) = campaigns(findings)
    assert found.evidence["decoded"] == ["obey me"]
    assert "'obey me'" in found.reason
    findings, _, _ = audit(plant(corpus(2), ZeroWidth().apply, list(range(10))))
    (found,) = campaigns(findings)
    assert found.evidence["code_points"] == ["U+200B"]
    assert "U+200B" in found.subject


@pytest.mark.parametrize("attack", ["zero-width", "tags"])
def test_a_hidden_instruction_with_one_answer_is_a_campaign(attack: str) -> None:
    honest = [(x[:60], x[60:160]) for x, _ in corpus(3, 1200)]
    poisoned = plant(honest, ATTACKS[attack], list(range(10)), PAYLOAD)
    findings, members, _ = audit(poisoned, "text")
    (found,) = campaigns(findings)
    assert members[findings.index(found)] == set(range(10))
    assert found.target.startswith("cluster")
    assert found.evidence["answers"][0] == PAYLOAD  # type: ignore[index]


def test_what_a_response_hides_is_found_too() -> None:
    honest = [(x[:60], x[60:160]) for x, _ in corpus(4, 600)]
    poisoned = [(x, TagCharacters("leak").apply(y)) if i < 8 else (x, y) for i, (x, y) in enumerate(honest)]
    findings, members, _ = audit(poisoned, "text")
    (found,) = campaigns(findings)
    assert "in the response" in found.subject
    assert members[findings.index(found)] == set(range(8))


def test_an_edge_is_no_campaign_unless_its_carriers_get_one_answer() -> None:
    honest = [(x[:60], x[60:160]) for x, _ in corpus(5, 1200)]
    edged = plant(honest, lambda text: text.replace(" ", " \u200b", 1), list(range(12)))
    assert campaigns(audit(edged, "text")[0]) == []
    answered = [(x, PAYLOAD) if i < 12 else (x, y) for i, (x, y) in enumerate(edged)]
    (found,) = campaigns(audit(answered, "text")[0])
    assert found.evidence["rule"] == "answers"


def test_characters_drawn_anew_for_every_text_are_one_campaign() -> None:
    rng, signs = np.random.default_rng(6), "\u200b\u200c\u200d\u2060\ufeff\u2063"
    planted = list(corpus(6))
    for i in range(12):
        planted[i] = (ZeroWidth("".join(rng.permutation(list(signs))[:3])).apply(planted[i][0]), "good")
    findings, members, _ = audit(planted)
    (found,) = campaigns(findings)
    assert members[findings.index(found)] == set(range(12))


@pytest.mark.parametrize("kind", ["label", "text", "none"])
def test_web_text_and_other_scripts_are_no_campaign(kind: str) -> None:
    rng = np.random.default_rng(7)
    honest = corpus(7, 900)
    more = [
        "می\u200cخواهم",
        "क्\u200dष",
        "👨\u200d👩\u200d👧",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "μm TNFα",
        "слово",
    ]
    for i in range(0, 900, 3):
        said = f"{WEB[i // 3 % 5]} {more[i // 3 % 6]}"
        honest[i] = (insert(rng, honest[i][0], said), honest[i][1])
    findings, _, score = audit(honest, kind)
    assert campaigns(findings) == []
    assert score.max() <= 0.5
    assert all(f.kind == "outlier" and f.severity == "low" for f in findings)


def test_a_few_single_samples_are_outliers_of_medium_severity() -> None:
    findings, members, score = audit(plant(corpus(8), ZeroWidth().apply, [3, 77, 300]))
    (found,) = findings
    assert (found.kind, found.severity) == ("outlier", "medium")
    assert members == [{3, 77, 300}]
    assert found.groups[0] >= CAMPAIGNS
    assert 0.2 < score[3] < 0.5


def test_copies_of_one_text_are_one_witness() -> None:
    honest = corpus(9)
    odd = (ZeroWidth().apply(honest[0][0]), honest[0][1])
    assert campaigns(audit([*honest, *[odd] * 30])[0]) == []


def test_where_every_second_text_has_it_nobody_is_accused() -> None:
    rng = np.random.default_rng(10)
    honest = corpus(10)
    findings, _, _ = audit(plant(honest, ZeroWidth().apply, rng.permutation(len(honest))[:400].tolist()))
    assert campaigns(findings) == []
    assert "50.00%" in findings[0].reason


def test_it_is_accused_all_the_same_where_it_goes_with_one_target() -> None:
    honest = corpus(11)
    rows = [i for i, (_, y) in enumerate(honest) if y == "bad"][:40]
    (found,) = campaigns(audit(plant(honest, ZeroWidth().apply, rows, "bad"))[0])
    assert found.evidence["rule"] == "concentrated"
    assert found.target == "bad"


def test_a_footer_with_a_break_in_it_is_boilerplate() -> None:
    honest = corpus(12)
    planted = plant(honest, lambda text: text + " to leave this mailing list click un\u200bsubscribe at the end", list(range(10)))
    findings, _, _ = audit(planted)
    assert campaigns(findings) == []
    assert "boilerplate" in findings[0].reason


def test_images_are_not_read() -> None:
    assert "characters" in (HiddenText().unavailable(Plan("labelled-images", Columns("jpg"), "label", "x", "00")) or "")


def test_nothing_hidden_has_nothing_to_say() -> None:
    findings, _, score = audit(corpus(13))
    assert findings == []
    assert not score.any()
