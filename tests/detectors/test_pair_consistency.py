"""Exchanged captions come first; honest pairs are called by nobody where there is one heap only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataaudit.aggregates.pair_agreement import STEPS
from dataaudit.detectors.pair_consistency import PairConsistency, lower_component
from dataaudit.model import Columns, Plan
from tests.aggregates.pair_tables import PLAN, THINGS, captions_of, table, things, views_of
from tests.detectors.scanned import members, scanned


def test_exchanged_captions_are_called_and_ranked_first() -> None:
    seen = things(800)
    said = seen.copy()
    said[:40] = (seen[:40] + 5) % len(THINGS)
    captions = captions_of(said)
    whole = table(seen, captions)
    findings, scores = scanned(PairConsistency(), [whole], views_of([whole]), [("", c) for c in captions])
    swapped = np.arange(800) < 40
    assert scores.score[swapped].mean() > 2 * scores.score[~swapped].mean()
    assert np.median(np.argsort(np.argsort(-scores.score))[swapped]) < 40
    (found,) = findings
    assert (found.kind, found.severity) == ("label", "medium")
    called = members(found, scores)
    assert len(called & set(range(40))) >= 30
    assert len(called) <= 60


def test_pictures_of_one_kind_under_captions_of_another_come_before_exchanged_ones() -> None:
    seen = things(1_000)
    said = seen.copy()
    one_way, exchanged = np.flatnonzero(seen == 0)[:20], np.flatnonzero(np.isin(seen, (1, 2)))[:20]
    said[one_way] = 5
    said[exchanged] = 3 - seen[exchanged]
    whole = table(seen, captions_of(said))
    score = PairConsistency().score(whole, views_of([whole])).score
    place = np.argsort(np.argsort(-score))
    assert np.median(place[one_way]) < 20 < np.median(place[exchanged])


def test_few_pairs_tell_nothing_and_that_is_said() -> None:
    seen = things(100)
    whole = table(seen, captions_of(seen))
    views = views_of([whole])
    detector = PairConsistency()
    assert not detector.score(whole, views).score.any()
    assert "few" in (detector.blind(views) or "")


def test_only_pictures_with_captions_are_compared() -> None:
    assert PairConsistency().unavailable(PLAN) is None
    assert PairConsistency().unavailable(Plan("labelled-images", Columns("jpg", "cls"), "label", "x", "00" * 16))
    assert PairConsistency().unavailable(replace(PLAN, target_kind="none"))


def test_one_heap_has_no_lower_one_and_two_heaps_are_told_apart() -> None:
    rng = np.random.default_rng(1)

    def counted(values: np.ndarray) -> np.ndarray:
        return np.bincount(np.rint(np.clip(values, -1, 1) * STEPS).astype(int) + STEPS, minlength=2 * STEPS + 1)

    one = rng.normal(0.6, 0.1, 5_000)
    assert lower_component(counted(one), 0.9) < np.quantile(one, 0.01) * STEPS
    two = np.concatenate([one, rng.normal(0.0, 0.1, 100)])
    edge = lower_component(counted(two), 0.9) / STEPS
    assert 0.1 < edge < 0.35
    assert lower_component(np.zeros(2 * STEPS + 1, np.int64), 0.9) < -STEPS
