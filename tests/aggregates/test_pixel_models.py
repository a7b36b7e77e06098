"""What learning triggers rests on: scales that carriers do not move, and the axis along which one label alone varies."""

import numpy as np

from dataaudit.aggregates.pixel_evidence import robust_scale
from dataaudit.aggregates.pixel_models import peculiar_axes


def test_the_scale_is_that_of_the_innocent_half():
    values = np.random.default_rng(0).normal(size=4000)
    middle, scale = robust_scale(values)
    assert abs(middle) < 0.1
    assert abs(scale - 1) < 0.1
    poisoned = np.concatenate([values, np.full(400, 50.0)])
    assert abs(robust_scale(poisoned)[1] - 1) < 0.2


def test_a_direction_that_all_labels_vary_by_does_not_hide_one_that_is_peculiar():
    rng = np.random.default_rng(1)
    common, planted = np.eye(20)[0], np.eye(20)[7]
    rows = rng.normal(size=(500, 20)) + 30 * rng.normal(size=(500, 1)) * common
    carriers = np.arange(500) < 60
    rows[carriers] += 8 * planted
    everyone = np.diag(1 + 900 * common)
    scores = peculiar_axes(rows.astype(np.float32), lambda v: np.linalg.solve(everyone, v).astype(np.float32))
    along = np.abs(scores[0] - np.median(scores[0]))
    assert set(np.argsort(-along)[:60]) == set(np.flatnonzero(carriers))
