"""A caption unlike all others and a combination that occurs nowhere else stand out; honest pairs do not."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.aggregates.pair_density import PairDensity
from dataaudit.detectors.pair_outlier import PairOutlier
from dataaudit.model import Columns, Plan
from tests.aggregates.pair_tables import PLAN, THINGS, captions_of, content, cut, table, things, views_of
from tests.detectors.scanned import scanned

SEEN = things(600)
KINDS = ("brown", "quiet", "lonely", "famous", "narrow", "heavy", "wooden", "bright", "frozen", "hollow", "silver", "gentle", "crooked")
WHERE = ("kitchen", "garden", "harbour", "attic", "market", "cellar", "studio", "meadow", "station", "library", "workshop")


def varied(seen: NDArray[np.int64], seed: int = 0) -> list[str]:
    """Honest captions, nearly all of them different."""
    rng = np.random.default_rng(seed)
    captions = captions_of(seen, seed)
    kinds, where = rng.integers(0, len(KINDS), len(seen)), rng.integers(0, len(WHERE), len(seen))
    return [f"{c}, {KINDS[k]}, {WHERE[w]}" for c, k, w in zip(captions, kinds, where, strict=True)]


def test_captions_from_elsewhere_come_first() -> None:
    captions = varied(SEEN)
    captions[:3] = ["qx vv 81 zzkk", "lorem ipsum dolor", "0x77 0x19 0xfe"]
    whole = table(SEEN, captions)
    findings, scores = scanned(PairOutlier(), [whole], views_of([whole]), [("", c) for c in captions])
    assert set(np.argsort(-scores.score)[:3]) == {0, 1, 2}
    (found,) = findings
    assert (found.kind, found.severity, found.count) == ("outlier", "low", 3)


def test_pairs_that_never_met_come_before_most_others() -> None:
    wrong = SEEN.copy()
    wrong[:40] = (SEEN[:40] + 5) % len(THINGS)
    whole = table(SEEN, varied(wrong))
    place = np.argsort(np.argsort(-PairOutlier().score(whole, views_of([whole])).score))
    assert np.median(place[:40]) < 0.25 * len(SEEN)


def test_honest_pairs_call_nobody() -> None:
    captions = varied(SEEN)
    whole = table(SEEN, captions)
    findings, scores = scanned(PairOutlier(), [whole], views_of([whole]), [("", c) for c in captions])
    assert not findings
    assert scores.score.max() < 0.5


def test_without_a_caption_and_with_too_few_pairs_nobody_stands_out() -> None:
    captions = varied(SEEN)
    captions[7] = ""
    whole = table(SEEN, captions)
    assert PairOutlier().score(whole, views_of([whole])).score[7] == 0
    few = whole.slice(0, 40)
    assert not PairOutlier().score(few, views_of([few])).score.any()


def test_only_pictures_with_captions_are_looked_at() -> None:
    assert PairOutlier().unavailable(PLAN) is None
    assert PairOutlier().unavailable(Plan("labelled-images", Columns("jpg", "cls"), "label", "x", "00" * 16))
    assert PairOutlier().unavailable(replace(PLAN, target_kind="none"))


@pytest.mark.parametrize("seed", range(3))
def test_any_sharding_gives_the_same_view_and_scores(seed: int) -> None:
    whole = table(SEEN, varied(SEEN))
    views = views_of([whole])
    parts = cut(whole, [50, 51, 333], random.Random(seed))
    unit = PairDensity()
    states = [unit.start(part, views) for part in parts]
    state = states[0]
    for other in states[1:]:
        state = unit.merge(state, other)
    again = unit.finish(state, views)
    for name, value in content(views["pair_density"]).items():
        assert np.array_equal(value, content(again)[name]), name
    scores = PairOutlier().score(whole, views).score
    assert np.array_equal(scores[100:107], PairOutlier().score(whole.slice(100, 7), views).score)


def test_a_pair_outside_the_references_is_judged_like_one_of_them() -> None:
    """The same pair under another rank stands out as far, but for having itself as a neighbour."""
    captions = varied(SEEN)
    captions[0] = "qx vv 81 zzkk"
    whole = table(SEEN, captions)
    views = views_of([whole.slice(1)])
    assert PairOutlier().score(whole, views).group[0] == 0
