"""Floods and label conflicts are named, plain duplicates are summed up, honest data is silent."""

import dataclasses

import numpy as np
import pyarrow as pa

from dataaudit.detectors.near_duplicate import NearDuplicate
from dataaudit.model import Sample
from tests.aggregates.test_near_duplicates import TEXT, UNIT, edited, honest, texts_table, views_of


def looked_at(rows, detector=None, plan=TEXT):
    table = texts_table(rows)
    views = views_of(table, plan)
    views["near_duplicates"] = UNIT.finish(UNIT.start(table, views), views)
    detector = detector or NearDuplicate()
    scores = detector.score(table, views)
    marked = pa.table(
        {
            "sample_id": [f"s#{k}" for k in table.column("key").to_pylist()],
            "target": table.column("target"),
            "digest": table.column("digest"),
            "score": scores.score,
            "group": scores.group,
        }
    ).filter(pa.array(scores.group >= 0))
    return scores, list(detector.findings(marked, views)), views


def flood(n=30, label="spam", seed=0):
    long = " ".join(t for t, _ in honest(5, seed + 50))
    return [(edited(long, 5, seed + i), label) for i in range(n)]


def test_a_flood_is_named_with_size_target_and_excerpt():
    rows = honest() + flood()
    scores, findings, views = looked_at(rows)
    assert len(findings) == 1
    found = findings[0]
    assert (found.kind, found.severity, found.target, found.count) == ("duplicate", "medium", "spam", 30)
    assert "30 copies or near-copies" in found.reason
    assert (scores.score[200:] > 0.4).all()
    assert not scores.score[:200].any()
    again = NearDuplicate().describe(found, [Sample("s#200", "200", rows[200][0], "spam", 0, 0)], views)
    assert rows[200][0].startswith(again.evidence["excerpts"][0][:100])


def test_honest_texts_are_silent():
    scores, findings, _ = looked_at(honest())
    assert not findings
    assert not scores.score.any()


def test_conflicts_are_one_finding_however_many():
    base = honest(60)
    other = {"ham": "spam", "spam": "ham"}
    _, findings, _ = looked_at(base + [(t, other[label]) for t, label in base[:40]])
    conflict = [f for f in findings if "several labels" in f.subject]
    assert len(conflict) == 1
    assert (conflict[0].severity, conflict[0].count) == ("medium", 80)
    assert len(conflict[0].evidence["conflicts"]) == 5
    assert conflict[0].evidence["conflicts"][0]["targets"] == {"ham": 1, "spam": 1}


def test_different_answers_to_one_prompt_are_ordinary():
    plan = dataclasses.replace(TEXT, target_kind="label")
    base = honest(20)
    as_answers = [(t, f"answer {i}") for i, (t, _) in enumerate([*base, *base[:5]])]
    table = texts_table(as_answers)
    views = views_of(table, plan)
    views["near_duplicates"] = UNIT.finish(UNIT.start(table, views), views)
    detector = NearDuplicate()
    scores = detector.score(table, views)
    marked = table.select(["target", "digest"]).append_column("sample_id", table.column("key"))
    marked = marked.append_column("score", pa.array(scores.score)).append_column("group", pa.array(scores.group))
    views["plan"] = dataclasses.replace(TEXT, target_kind="text")
    assert {f.severity for f in detector.findings(marked.filter(pa.array(scores.group >= 0)), views)} == {"low"}


def test_plain_duplicates_are_one_low_finding():
    base = honest(60)
    _, findings, _ = looked_at(base + base[:20])
    assert [(f.severity, f.count) for f in findings] == [("low", 40)]


def test_the_same_sample_many_times_is_a_flood_too():
    base = honest(60)
    _, findings, _ = looked_at(base + [base[0]] * 60)
    assert [(f.severity, f.count) for f in findings] == [("medium", 61)]


def test_many_floods_stay_a_readable_number_of_findings():
    rows = honest(20) + [row for i in range(18) for row in flood(11, seed=100 * i)]
    _, findings, _ = looked_at(rows)
    assert len(findings) == 16
    assert findings[-1].evidence["further_floods"] == 3


def test_a_dissenting_copy_scores_higher_than_its_cluster():
    rows = [*honest(20), *flood(20, "spam"), *flood(1, "ham", seed=0)]
    rows[-1] = (edited(rows[20][0], 3, 77), "ham")
    scores, _, _ = looked_at(rows)
    assert scores.score[-1] > scores.score[20:-1].max()
    assert np.isfinite(scores.score).all()
