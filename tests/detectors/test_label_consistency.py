"""Flipped labels are called and named; honest labels hardly ever; a one-way stream of flips gets its own finding."""

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.knn import Knn
from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.targets import Targets
from dataaudit.detectors.label_consistency import LabelConsistency, votes
from dataaudit.model import Columns, Plan
from tests.aggregates.test_knn import table_of

NAMES = ["cat", "dog", "fox", "owl"]
PLAN = Plan("vectors", Columns(None, "label", None, "v"), "label", "none", "00" * 16)


def animals(n=800, seed=0, spread=0.35):
    """Vectors around one centre a label, and the labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, n)
    return rng.normal(size=(4, 12))[label] * 1.2 + spread * rng.normal(size=(n, 12)), label


def judged(vectors, label, detector=None):
    table = table_of(vectors, [None if v < 0 else NAMES[v] for v in label])
    views = {"plan": PLAN}
    for name, unit in (("targets", Targets()), ("moments", Moments()), ("knn", Knn())):
        views[name] = unit.finish(unit.start(table, views), views)
    detector = detector or LabelConsistency()
    scores = detector.score(table, views)
    marked = pa.table(
        {
            "sample_id": [f"s#{i}" for i in range(len(label))],
            "target": table.column("target"),
            "digest": ["d"] * len(label),
            "score": scores.score,
            "group": scores.group,
        }
    ).filter(pa.array(scores.group >= 0))
    return scores, list(detector.findings(marked, views))


def test_flipped_labels_are_called_and_lead_the_order():
    vectors, label = animals()
    flipped = label.copy()
    flipped[:12] = (label[:12] + 1 + np.arange(12) % 3) % 4
    scores, findings = judged(vectors, flipped)
    assert set(np.argsort(-scores.score)[:12]) == set(range(12))
    assert len(findings) == 1
    assert (findings[0].kind, findings[0].severity) == ("label", "medium")
    assert set(range(12)) <= {int(s[2:]) for s in findings[0].samples[:14]}


def test_honest_labels_are_left_alone():
    scores, findings = judged(*animals())
    assert sum(f.count for f in findings) <= 4
    assert (scores.score < 0.5).mean() > 0.98


def test_scores_are_finely_graded_where_labels_overlap():
    scores, _ = judged(*animals(spread=2.5))
    assert len(np.unique(scores.score)) > 700


def test_a_one_way_stream_of_flips_is_named():
    vectors, label = animals()
    flipped = label.copy()
    flipped[np.flatnonzero(label == 0)[:25]] = 3
    _, findings = judged(vectors, flipped)
    assert [f.subject for f in findings if f.p_value < 1] == ["owl to cat"]
    named = findings[0]
    assert named.target == "owl"
    assert 15 <= named.count <= 27
    assert "'owl'" in named.reason
    assert "'cat'" in named.reason
    assert findings[-1].p_value == 1


def test_confusion_both_ways_is_no_stream():
    vectors, label = animals()
    flipped = label.copy()
    flipped[np.flatnonzero(label == 0)[:20]] = 3
    flipped[np.flatnonzero(label == 3)[:20]] = 0
    _, findings = judged(vectors, flipped)
    assert [f.p_value for f in findings] == [1.0]


def test_labels_that_shade_into_each_other_one_way_are_no_stream():
    rng = np.random.default_rng(4)
    vectors, label = animals(1200)
    between = (vectors[label == 0].mean(axis=0) + vectors[label == 3].mean(axis=0)) / 2
    shared = np.r_[np.flatnonzero(label == 0)[:160], np.flatnonzero(label == 3)[:60]]  # more cats than owls look like this
    vectors[shared] = between + 0.35 * rng.normal(size=(220, 12))
    _, findings = judged(vectors, label)
    assert all(f.p_value == 1 for f in findings)


def test_a_sample_without_a_label_contradicts_nothing():
    vectors, label = animals()
    missing = label.copy()
    missing[:30] = -1
    scores, _ = judged(vectors, missing)
    assert not scores.score[:30].any()
    assert (scores.group[:30] == -1).all()


def test_one_label_alone_cannot_contradict():
    vectors, _ = animals(100)
    scores, findings = judged(vectors, np.zeros(100, int))
    assert not scores.score.any()
    assert not findings


def test_data_without_targets_is_said_to_be_out_of_reach():
    plain = Plan("text", Columns("text"), "none", "none", "00" * 16)
    assert "no labels" in (LabelConsistency().unavailable(plain) or "")
    assert LabelConsistency().unavailable(PLAN) is None


def test_votes_name_the_strongest_other_target():
    share, rival, rival_share = votes(np.array([1, 0], np.int32), np.array([[1, 2, 2], [0, 0, -1]], np.int32), np.full((2, 3), 1 / 3))
    assert np.allclose(share, [1 / 3, 2 / 3])
    assert rival.tolist() == [2, -1]
    assert np.allclose(rival_share, [2 / 3, 0])
