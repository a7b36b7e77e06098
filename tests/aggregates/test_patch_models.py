"""Small triggers at any place: what a filter responds to, which patches stand out, and that a planted one is learnt."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataaudit.aggregates import patch_models
from dataaudit.aggregates.low_level import SIDE
from dataaudit.aggregates.patch_models import (
    PLACES,
    WHOLE,
    WINDOW,
    PatchModels,
    PatchModelsView,
    clearest_patches,
    cut,
    patch_precision,
    place,
    respond,
    unit_filters,
    windows,
)
from dataaudit.aggregates.picture_sample import DISAGREEMENT_STEPS, PictureSampleState
from dataaudit.features.thumbnail import BYTES

LABELS, EACH, CARRIERS = 3, 300, 40
CHEQUER = (np.indices((WINDOW, WINDOW)).sum(axis=0) % 2 * 255).astype(np.uint8)


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Textured noise, grey (n, 1024)."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 1.2, 1.2)) * 70
    clouds = gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 4, 4)) * 400
    grain = rng.normal(size=(count, SIDE, SIDE)) * 6
    return np.asarray(np.clip(128 + clouds + texture + grain, 0, 255).astype(np.uint8).reshape(count, -1))


def stamped(greys: NDArray[np.uint8], seed: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures, each with a chequer at a random place, and the places."""
    at = np.random.default_rng(seed).integers(0, PLACES**2, len(greys))
    out = greys.reshape(-1, SIDE, SIDE).copy()
    for picture, row, column in zip(out, *np.divmod(at, PLACES), strict=True):
        picture[row : row + WINDOW, column : column + WINDOW] = CHEQUER
    return out.reshape(greys.shape), at


def whole_filters(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).integers(-WHOLE, WHOLE + 1, (count, WINDOW * WINDOW)).astype(np.float32)


def centred(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    flat = patches.reshape(-1, WINDOW * WINDOW).astype(np.float64)
    return np.asarray(flat - flat.mean(axis=1, keepdims=True))


def test_a_response_is_the_largest_at_any_place() -> None:
    greys, filters = pictures(3), whole_filters(4)
    expected = [
        [
            max(
                int((p[y : y + WINDOW, x : x + WINDOW] * f.reshape(WINDOW, WINDOW).astype(int)).sum())
                for y in range(PLACES)
                for x in range(PLACES)
            )
            for f in filters
        ]
        for p in greys.reshape(-1, SIDE, SIDE).astype(int)
    ]
    assert_array_equal(respond(greys, filters), expected)


def test_the_largest_products_add_up_exactly() -> None:
    white = np.full((1, SIDE * SIDE), 255, np.uint8)
    weights = np.full((1, WINDOW * WINDOW), WHOLE, np.float32)
    weights[0, 0] -= 1
    assert int(respond(white, weights)[0, 0]) == 255 * (25 * WHOLE - 1)


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_a_response_does_not_depend_on_the_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    greys, filters = pictures(270), whole_filters(3)
    whole = respond(greys, filters)
    assert_array_equal(np.concatenate([respond(greys[i : i + batch], filters) for i in range(0, len(greys), batch)]), whole)
    monkeypatch.setattr(patch_models, "CHUNK", batch)
    assert_array_equal(respond(greys, filters), whole)


def test_no_filters_and_no_pictures_have_no_responses() -> None:
    assert respond(pictures(3), whole_filters(0)).shape == (3, 0)
    assert respond(pictures(3)[:0], whole_filters(2)).shape == (0, 2)


def test_a_filter_is_placed_where_it_responds_most() -> None:
    greys, at = stamped(pictures(20))
    weights = centred(CHEQUER)[0]
    assert_array_equal(place(greys, weights), at)
    assert_array_equal(cut(greys, at), np.tile(CHEQUER.reshape(1, -1), (20, 1)))


def test_unit_filters_have_no_sum_and_variance_1_over_ordinary_patches() -> None:
    greys = pictures(200)
    inverse = patch_precision(greys, shrinkage=1e-5)
    filters = unit_filters(windows(pictures(40, seed=3))[:, 4, 9].reshape(-1, WINDOW * WINDOW).astype(np.float64), inverse)
    assert_allclose(filters.sum(axis=1), 0, atol=1e-9)
    responses = centred(windows(pictures(200, seed=4))) @ filters.T
    assert_allclose((responses**2).mean(axis=0), 1, atol=0.1)


def test_shrinkage_only_lowers_the_variance_of_a_filter() -> None:
    greys = pictures(200)
    filters = unit_filters(windows(greys[:40])[:, 4, 9].reshape(-1, WINDOW * WINDOW).astype(np.float64), patch_precision(greys))
    assert ((centred(windows(greys)) @ filters.T) ** 2).mean(axis=0).max() < 1.05


def test_even_ground_has_filters_without_effect() -> None:
    even = np.full((4, SIDE * SIDE), 77, np.uint8)
    inverse = patch_precision(even)
    assert_allclose(unit_filters(clearest_patches(even, inverse, 2), inverse), 0, atol=1e-9)


def test_the_clearest_patch_is_the_planted_chequer() -> None:
    ordinary = pictures(200)
    greys, at = stamped(pictures(20, seed=5))
    first = clearest_patches(greys, patch_precision(ordinary), 3)[:20]
    assert_array_equal(first, centred(cut(greys, at).astype(np.uint8)))


def test_the_clearest_patches_of_a_picture_do_not_overlap() -> None:
    greys, each = pictures(10), 5
    found = clearest_patches(greys, patch_precision(greys), each).reshape(each, len(greys), -1)
    for number, every in enumerate(windows(greys)):
        flat = centred(every)
        at = [np.flatnonzero((flat == patch).all(axis=1)) for patch in found[:, number]]
        assert [len(a) for a in at] == [1] * each
        rows, columns = np.divmod(np.concatenate(at), PLACES)
        apart = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
        assert apart[~np.eye(each, dtype=bool)].min() >= WINDOW


CARRIER = np.arange(LABELS * EACH) < CARRIERS
TARGET = np.repeat(np.arange(LABELS, dtype=np.int32), EACH)


def sample(greys: NDArray[np.uint8], contradicting: NDArray[np.bool_] = CARRIER) -> PictureSampleState:
    """Three labels of 300, of which the first 40 of label 0 contradict it, or those told."""
    rng = np.random.default_rng(6)
    doubt = np.where(contradicting, rng.uniform(3, 5, len(TARGET)), rng.exponential(0.08, len(TARGET)))
    steps = np.rint(doubt * DISAGREEMENT_STEPS).astype(np.int32)
    return PictureSampleState(EACH, np.arange(len(TARGET), dtype=np.uint64), TARGET, steps, greys)


def learnt(greys: NDArray[np.uint8], contradicting: NDArray[np.bool_] = CARRIER) -> PatchModelsView:
    targets = SimpleNamespace(names=np.array(["a", "b", "c"]), counts=np.full(LABELS, EACH))
    views = {"targets": targets, "moments": SimpleNamespace(counts=targets.counts), "picture_sample": sample(greys, contradicting)}
    unit = PatchModels()
    nothing = unit.start(pa.table({}), views)
    return unit.finish(unit.merge(nothing, nothing), views)


@cache
def planted() -> tuple[NDArray[np.uint8], PatchModelsView]:
    greys = pictures(LABELS * EACH)
    greys[CARRIER] = stamped(greys[CARRIER])[0]
    return greys, learnt(greys)


def table_of(greys: NDArray[np.uint8]) -> pa.Table:
    rgb = np.repeat(greys[..., None], 3, axis=2)
    return pa.table({"thumbnail": pa.array([p.tobytes() for p in rgb], pa.binary(BYTES))})


def test_a_chequer_at_random_places_is_learnt() -> None:
    greys, view = planted()
    assert set(view.target.tolist()) == {0, LABELS}, "both the label and the contradicted rows, which are the carriers here, share it"
    assert view.seeds == ("roaming patch",) * len(view.target)
    assert view.filters.shape == (len(view.target), WINDOW * WINDOW)
    assert (np.abs(view.filters).max(axis=1) == WHOLE).all()
    z = view.robust_z(table_of(greys), TARGET)
    assert z[CARRIER].min(axis=0).max() > 2 * z[~CARRIER].max()


def test_pictures_that_were_not_in_the_sample_are_told_by_the_same_filter() -> None:
    _, view = planted()
    fresh = pictures(100, seed=7)
    greys, nobody = np.concatenate([stamped(fresh)[0], fresh]), np.full(200, -1, np.int32)
    z = view.robust_z(table_of(greys), np.zeros(200, np.int32)).max(axis=1)
    assert z[:100].min() > z[100:].max()
    assert np.isneginf(view.robust_z(table_of(greys), nobody)).all()


def test_the_innocent_twin_keeps_no_filter() -> None:
    greys = pictures(LABELS * EACH)
    view = learnt(greys)
    assert len(view.target) == 0
    assert view.middle.shape == (0, LABELS)
    assert view.robust_z(table_of(greys), TARGET).shape == (LABELS * EACH, 0)


def test_a_chequer_that_every_label_has_is_no_trigger() -> None:
    greys = pictures(LABELS * EACH)
    common = np.arange(len(greys)) % EACH < CARRIERS
    greys[common] = stamped(greys[common])[0]
    assert len(learnt(greys).target) == 0


def test_a_chequer_in_the_contradicted_pictures_of_every_label_is_learnt_for_all_of_them() -> None:
    greys = pictures(LABELS * EACH)
    some = np.arange(len(greys)) % EACH < CARRIERS // 2
    greys[some] = stamped(greys[some])[0]
    view = learnt(greys, some)
    every = view.target == LABELS
    assert every.any()
    z = view.robust_z(table_of(greys), TARGET)[:, every]
    assert z[some].min(axis=0).max() > 2 * z[~some].max()
