"""Risk orders everyone, and only a campaign lifts anyone above the threshold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.findings.risk import THRESHOLD, fuse

unit = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(unit, unit, st.booleans()), min_size=1, max_size=50))
def test_only_carriers_reach_the_threshold(rows):
    pixel, label, carrier = (np.array(c) for c in zip(*rows, strict=True))
    risk = fuse(
        {"pixel_trigger": pixel.astype(np.float32), "label_consistency": label.astype(np.float32)}, carrier * 0.7, pixel.astype(float)
    )
    assert ((risk >= 0) & (risk <= 1)).all()
    assert ((risk >= THRESHOLD) == carrier).all()


def test_more_evidence_is_more_risk_and_carriers_are_not_tied():
    label = np.array([0.1, 0.2, 0.9, 0.9], np.float32)
    risk = fuse({"label_consistency": label}, np.array([0, 0, 0.8, 0.8]), np.array([0, 0, 0.5, 0.6]))
    assert (np.diff(risk) > 0).all()


def test_a_detector_that_has_nothing_to_say_changes_nothing():
    score = {"label_consistency": np.array([0.3, 0.6], np.float32)}
    none = np.zeros(2)
    np.testing.assert_array_equal(fuse(score, none, none), fuse(score | {"outlier": np.zeros(2, np.float32)}, none, none))


def test_one_word_of_a_caption_counts_less_beside_the_whole_caption():
    word, none = np.array([0.8, 0.0], np.float32), np.zeros(2)
    whole = np.array([0.0, 0.5], np.float32)
    alone, beside = fuse({"label_consistency": word}, none, none), fuse({"label_consistency": word, "pair_consistency": whole}, none, none)
    assert alone[0] > 2 * beside[0]
    assert beside[1] > beside[0]
