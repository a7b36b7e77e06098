"""Hits are counted from the highest z down, and doubt is capped so that no single row decides."""

import numpy as np

from dataaudit.aggregates.pixel_groups import CONTRADICTS, STEPS, cumulate, steps


def test_bins_add_up_from_above():
    assert cumulate(np.array([[1, 2, 3]])).tolist() == [[6, 5, 3]]


def test_doubt_is_whole_and_capped():
    assert steps(np.array([0.0, 1.0, 1e6])).tolist() == [0, STEPS, int(CONTRADICTS * STEPS)]
