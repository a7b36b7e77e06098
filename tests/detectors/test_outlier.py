"""A lone sample far from all others stands out; ordinary data calls nearly nobody."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from dataaudit.detectors.outlier import Outlier
from tests.aggregates.test_knn import cloud, table_of, view_of


def found(vectors, detector=None):
    table = table_of(vectors)
    detector = detector or Outlier()
    views = {"knn": view_of(table)}
    scores = detector.score(table, views)
    marked = pa.table(
        {
            "sample_id": [f"s#{i}" for i in range(len(vectors))],
            "target": table.column("target"),
            "digest": ["d"] * len(vectors),
            "score": scores.score,
            "group": scores.group,
        }
    ).filter(pa.array(scores.group >= 0))
    return scores, list(detector.findings(marked, views))


def clusters(n=600, seed=0):
    """Four dense directions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 16))
    return centres[rng.integers(0, 4, n)] + 0.2 * rng.normal(size=(n, 16))


def test_lone_samples_are_found_and_lead_the_order():
    rng = np.random.default_rng(1)
    vectors = clusters()
    vectors[:5] = 3 * rng.normal(size=(5, 16))
    scores, findings = found(vectors)
    assert set(np.argsort(-scores.score)[:5]) == set(range(5))
    assert len(findings) == 1
    assert (findings[0].kind, findings[0].severity) == ("outlier", "low")
    assert set(findings[0].samples[:5]) == {f"s#{i}" for i in range(5)}


def test_a_sample_off_the_axes_of_all_others_is_found_although_projection_hides_it():
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.normal(size=(400, 30)))[0]
    vectors = rng.normal(size=(300, 30)) @ axes.T + 0.01 * rng.normal(size=(300, 400))
    vectors[:5] = rng.normal(size=(5, 400))
    table = table_of(vectors)
    views = {"knn": view_of(table, moments=SimpleNamespace(projection=axes.astype(np.float32)))}
    scores = Outlier().score(table, views)
    assert set(np.argsort(-scores.score)[:5]) == set(range(5))
    assert (scores.group[:5] == 0).all()


def test_forty_like_samples_do_not_shelter_each_other():
    """Sixteen neighbours see nothing of them; sixty-four do."""
    rng = np.random.default_rng(3)
    vectors = clusters()
    vectors[:40] = rng.normal(size=16) * 3 + 0.2 * rng.normal(size=(40, 16))
    scores, findings = found(vectors)
    assert (scores.group[:40] == 0).all()
    assert findings[0].count == 40


def test_ordinary_data_calls_nobody():
    scores, findings = found(clusters())
    assert not findings
    assert scores.score.max() < 0.5
    assert len(np.unique(scores.score)) > 200


def test_too_few_samples_have_no_outliers():
    scores, findings = found(cloud(20))
    assert not findings
    assert not scores.score.any()


def test_copies_at_distance_zero_do_not_break_the_logarithms():
    vectors = np.repeat(cloud(4), 30, axis=0)
    scores, _ = found(vectors)
    assert np.isfinite(scores.score).all()
