"""What learning triggers at a fixed place rests on: peculiar axes, models that no sample judges itself by, and a planted patch."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataaudit.aggregates.low_level import RESIDUAL, SIDE, STEPS, WIDTH, low_level
from dataaudit.aggregates.picture_sample import DISAGREEMENT_STEPS, PictureSampleState
from dataaudit.aggregates.pixel_models import FOLDS, WEIGHT_RANGE, PixelModels, PixelModelsView, factorise, out_of_fold, peculiar_axes
from dataaudit.attacks.images import Patch
from dataaudit.features.thumbnail import BYTES

LABELS, EACH, CARRIERS = 2, 300, 24
TARGET = np.repeat(np.arange(LABELS, dtype=np.int32), EACH)
CARRIER = np.arange(LABELS * EACH) < CARRIERS
UNIT = PixelModels()


def test_a_direction_that_all_labels_vary_by_does_not_hide_one_that_is_peculiar() -> None:
    rng = np.random.default_rng(1)
    common, planted = np.eye(20)[0], np.eye(20)[7]
    rows = rng.normal(size=(500, 20)) + 30 * rng.normal(size=(500, 1)) * common
    carriers = np.arange(500) < 60
    rows[carriers] += 8 * planted
    everyone = np.diag(1 + 900 * common)
    scores = peculiar_axes(rows.astype(np.float32), lambda v: np.linalg.solve(everyone, v).astype(np.float32))
    along = np.abs(scores[0] - np.median(scores[0]))
    assert set(np.argsort(-along)[:60]) == set(np.flatnonzero(carriers))


def test_the_solver_of_a_fold_knows_the_covariance_of_the_others() -> None:
    rng = np.random.default_rng(2)
    features, fold = rng.integers(-127, 128, (200, 12)).astype(np.int8), rng.integers(0, FOLDS, 200)
    wanted = rng.normal(size=(12, 3)).astype(np.float32)
    solve = factorise(features, fold, 0.15)
    for f in range(FOLDS):
        others = features[fold != f] / STEPS
        exact = np.linalg.solve(others.T @ others / len(others) + 0.15 * np.eye(12), wanted)
        assert_allclose(solve(f, wanted), exact, rtol=1e-3, atol=1e-4)


def test_a_row_is_judged_by_the_weights_of_its_own_fold() -> None:
    rng = np.random.default_rng(3)
    features, fold = rng.integers(-127, 128, (50, 12)).astype(np.float64), rng.integers(0, FOLDS, 50)
    weights = rng.integers(-1000, 1000, (3, FOLDS, 12)).astype(np.int32)
    expected = [
        [sum(int(x) * int(w) for x, w in zip(row, model[f], strict=True)) for model in weights]
        for row, f in zip(features, fold, strict=True)
    ]
    assert_array_equal(out_of_fold(features, weights, fold), expected)


def test_scores_of_whole_numbers_are_exact_in_any_order() -> None:
    assert WEIGHT_RANGE * 127 * WIDTH < 2**53


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Textured noise, grey (n, 1024)."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 1.2, 1.2)) * 70
    clouds = gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 4, 4)) * 400
    grain = rng.normal(size=(count, SIDE, SIDE)) * 6
    return np.asarray(np.clip(128 + clouds + texture + grain, 0, 255).astype(np.uint8).reshape(count, -1))


def stamped(greys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures, with a chequer in the lower right corner."""
    return np.asarray(Patch().apply(greys.reshape(-1, SIDE, SIDE, 1)).reshape(greys.shape))


def ranks(count: int, seed: int = 4) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)


def table_of(greys: NDArray[np.uint8], rank: NDArray[np.uint64]) -> pa.Table:
    rgb = np.repeat(greys[..., None], 3, axis=2)
    return pa.table({"rank": pa.array(rank), "thumbnail": pa.array([p.tobytes() for p in rgb], pa.binary(BYTES))})


def learnt(greys: NDArray[np.uint8], contradicting: NDArray[np.bool_], target: NDArray[np.int32] = TARGET) -> PixelModelsView:
    """The models of a sample, of which some rows contradict their label by 3 to 5 nats and the others hardly do."""
    rng = np.random.default_rng(5)
    doubt = np.where(contradicting, rng.uniform(3, 5, len(target)), rng.exponential(0.08, len(target)))
    steps = np.rint(doubt * DISAGREEMENT_STEPS).astype(np.int32)
    sample = PictureSampleState(len(target), ranks(len(target)), target, steps, greys)
    counts = np.bincount(target)
    views = {
        "targets": SimpleNamespace(names=np.array([f"class {i}" for i in range(len(counts))]), counts=counts),
        "moments": SimpleNamespace(counts=counts),
        "picture_sample": sample,
    }
    nothing = UNIT.start(pa.table({}), views)
    return UNIT.finish(UNIT.merge(nothing, nothing), views)


@cache
def planted() -> tuple[NDArray[np.uint8], PixelModelsView]:
    """Of label 0, the first 24 have a patch and contradict their label."""
    greys = pictures(LABELS * EACH)
    greys[CARRIER] = stamped(greys[CARRIER])
    return greys, learnt(greys, CARRIER)


def test_a_patch_in_pictures_that_contradict_their_label_is_learnt() -> None:
    greys, view = planted()
    assert (view.target == 0).any()
    z = view.robust_z(table_of(greys, ranks(len(greys))), TARGET)[:, view.target == 0]
    best = z[CARRIER].min(axis=0).argmax()
    assert z[CARRIER, best].min() > 1.5 * z[~CARRIER, best].max()
    assert view.seeds[np.flatnonzero(view.target == 0)[best]].startswith("disagreement")


def test_pictures_that_were_not_in_the_sample_are_told_by_the_same_model() -> None:
    _, view = planted()
    fresh = pictures(200, seed=6)
    greys = np.concatenate([stamped(fresh[:100]), fresh[100:]])
    table = table_of(greys, ranks(200, seed=7))
    z = view.robust_z(table, np.zeros(200, np.int32)).max(axis=1)
    assert z[:100].min() > z[100:].max()
    assert np.isneginf(view.robust_z(table, np.full(200, -1, np.int32))).all()


def test_a_row_has_the_same_z_in_any_batch() -> None:
    greys, view = planted()
    table = table_of(greys, ranks(len(greys)))
    whole = view.robust_z(table, TARGET)
    order = np.random.default_rng(8).permutation(len(greys))
    for part in np.split(order, [1, 7, 300]):
        assert_array_equal(view.robust_z(table.take(pa.array(part)), TARGET[part]), whole[part])


def test_models_are_whole_numbers_in_order_of_their_labels() -> None:
    greys, view = planted()
    count = len(view.target)
    assert view.weights.shape == (count, FOLDS, WIDTH)
    assert (np.abs(view.weights.astype(np.int64)).max(axis=(1, 2)) == WEIGHT_RANGE).all()
    assert view.middle.shape == (count, LABELS)
    assert (view.scale > 0).all()
    assert list(view.target) == sorted(view.target)
    assert view.learnt.all()
    assert_allclose(view.typical[1], low_level(greys[TARGET == 1])[:, -RESIDUAL:].mean(axis=0), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("doubted", [False, True], ids=["right labels", "wrong labels without a patch"])
def test_the_innocent_twins_have_no_model_beyond_whose_threshold_anything_is(doubted: bool) -> None:
    greys = pictures(LABELS * EACH)
    view = learnt(greys, CARRIER & doubted)
    fresh = pictures(200, seed=6)
    z = view.robust_z(table_of(fresh, ranks(200, seed=7)), np.zeros(200, np.int32))
    assert z.max(initial=0) < 7
    assert doubted or not len(view.target)


def test_what_a_third_of_a_label_has_begins_a_model_whole() -> None:
    """A tenth of so many carriers is no fair sample of them: what begins the model is that the label has two heaps."""
    rng = np.random.default_rng(9)
    mine, fold, carrier = rng.normal(size=(900, WIDTH)).astype(np.float32), rng.integers(0, FOLDS, 900), np.arange(900) < 300
    mine[carrier] += rng.choice((-0.5, 0.5), WIDTH)
    names, scores, shares, priors = UNIT._beginnings(mine, fold, np.zeros(900), lambda _, v: v)
    mode = [names.index("mode 0")]
    assert shares[mode] == pytest.approx(1 / 3, abs=0.01)
    seeds = (shares[mode] * 900).astype(np.intp)
    weights = UNIT._amplify(mine, fold, scores[mode], seeds, seeds, priors[mode], lambda _, v: v)
    found = out_of_fold(mine.astype(np.float64), weights, fold)[:, 0]
    assert found[carrier].min() > found[~carrier].max()


def test_a_patch_that_every_label_has_is_no_model() -> None:
    greys = pictures(LABELS * EACH)
    common = np.arange(len(greys)) % EACH < CARRIERS
    greys[common] = stamped(greys[common])
    assert not len(learnt(greys, np.zeros(len(greys), bool)).target)


def test_too_few_pictures_of_a_label_have_no_model() -> None:
    greys, target = pictures(60), np.repeat(np.arange(2, dtype=np.int32), 30)
    view = learnt(greys, np.zeros(60, bool), target)
    assert not view.learnt.any()
    assert view.robust_z(table_of(greys, ranks(60)), target).shape == (60, 0)
