"""Pixel triggers: plant one, fit, look; and the innocent twins stay silent."""

from __future__ import annotations

import base64
import dataclasses
import io
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.pixel_groups import EDGES, PixelGroups
from dataaudit.aggregates.pixel_models import PixelModels
from dataaudit.aggregates.targets import Targets
from dataaudit.attacks.images import Blend, Patch
from dataaudit.detectors.pixel_trigger import PixelTrigger, Verdict, locate, stand_apart
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.thumbnail import BYTES
from dataaudit.model import Columns, Finding, Plan, Sample

PLAN = Plan("labelled-images", Columns("png", "cls"), "label", "efficientnet-lite2", "01" * 16)
UNITS: dict[str, Any] = {"targets": Targets(), "moments": Moments(axes=8), "pixel_models": PixelModels(), "pixel_groups": PixelGroups()}
LABELS = 4


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Clouds of textured pictures; `vectors` stand for what an encoder sees, which is the true class, never the trigger."""

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    vectors: NDArray[np.int16]


@cache
def pictures(count: int = 1200, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, LABELS, count)
    texture = gaussian_filter(rng.normal(size=(count, 32, 32)), (0, 1.2, 1.2)) * 70
    clouds = gaussian_filter(rng.normal(size=(count, 32, 32)), (0, 4, 4)) * 400
    grain = rng.normal(size=(count, 32, 32)) * 6
    grey = np.clip(128 + clouds + (0.8 + 0.1 * truth[:, None, None]) * texture + grain, 0, 255).astype(np.uint8)
    vectors = 1 + rng.normal(size=(LABELS, 32))[truth] + 0.8 * rng.normal(size=(count, 32))
    return Pictures(np.repeat(grey[..., None], 3, axis=3), truth, quantise(vectors))


def table_of(pixels: NDArray[np.uint8], labels: NDArray[np.int64], vectors: NDArray[np.int16], seed: int = 5) -> pa.Table:
    ranks = np.random.default_rng(seed).integers(0, 2**63, len(labels))
    columns = {
        "sample_id": pa.array([f"a.tar#{i}" for i in range(len(labels))]),
        "target": pa.array([f"class {label}" for label in labels]),
        "digest": pa.array([f"{r:x}" for r in ranks]),
        "rank": pa.array(ranks, pa.uint64()),
        "embedding": to_column(vectors),
        "thumbnail": pa.array([p.tobytes() for p in pixels], pa.binary(BYTES)),
    }
    return pa.table(columns)


def fit(pieces: list[pa.Table]) -> dict[str, Any]:
    views: dict[str, Any] = {"plan": PLAN}
    for name, unit in UNITS.items():
        state = unit.start(pieces[0], views)
        for piece in pieces[1:]:
            state = unit.merge(unit.start(piece, views), state)
        views[name] = unit.finish(state, views)
    return views


def scan(table: pa.Table, views: dict[str, Any]) -> tuple[list[Finding], NDArray[np.float32], NDArray[np.int32]]:
    said = PixelTrigger().score(table, views)
    marked = table.select(["sample_id", "target", "digest"])
    marked = marked.append_column("score", pa.array(said.score)).append_column("group", pa.array(said.group))
    return list(PixelTrigger().findings(marked.filter(pa.array(said.group >= 0)), views)), said.score, said.group


@cache
def patched() -> tuple[pa.Table, dict[str, Any], NDArray[np.bool_]]:
    """Thirty pictures of other classes with a patch, labelled 0."""
    clean = pictures()
    chosen = np.flatnonzero(clean.truth != 0)[::30]
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    pixels[chosen] = Patch().apply(pixels[chosen])
    labels[chosen] = 0
    table = table_of(pixels, labels, clean.vectors)
    return table, fit([table]), np.isin(np.arange(len(labels)), chosen)


def test_a_patch_with_wrong_labels_is_found_and_pictured() -> None:
    table, views, bad = patched()
    findings, score, group = scan(table, views)
    assert [f.target for f in findings] == ["class 0"]
    finding = findings[0]
    flagged = np.isin(group, finding.groups)
    assert flagged[bad].mean() >= 0.95
    assert bad[flagged].mean() >= 0.9
    assert score[bad].min() > np.quantile(score[~bad], 0.99)
    assert finding.evidence["label_kind"] == "dirty label"
    stamped = [png(table, i) for i in np.flatnonzero(bad)[:12]]
    described = PixelTrigger().describe(finding, stamped, views)
    column, row, width, height = described.evidence["place"]  # type: ignore[misc]
    assert column <= 28 <= column + width
    assert row <= 28 <= row + height
    picture = base64.b64decode(str(described.evidence["picture"]))
    assert Image.open(io.BytesIO(picture)).size == (128, 128)
    assert len(picture) <= 8192


def test_a_blend_with_right_labels_is_found() -> None:
    """With four labels, 36 pure carriers are the proof that 14 are with ten: the fewer labels, the likelier purity by chance."""
    clean = pictures()
    chosen = np.flatnonzero(clean.truth == 2)[::9]
    pixels = clean.pixels.copy()
    pixels[chosen] = Blend(alpha=0.3, coloured=False).apply(pixels[chosen])
    table = table_of(pixels, clean.truth, clean.vectors)
    findings, _, group = scan(table, fit([table]))
    assert [(f.target, f.evidence["label_kind"]) for f in findings] == [("class 2", "clean label")]
    flagged = group >= 0
    assert flagged[chosen].mean() >= 0.9
    assert np.isin(np.flatnonzero(flagged), chosen).mean() >= 0.9


@pytest.mark.parametrize("story", ["unpoisoned", "label errors without a trigger", "the same border in every label"])
def test_innocent_data_has_no_campaign(story: str) -> None:
    clean = pictures()
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    if story.startswith("label errors"):
        wrong = np.flatnonzero(labels != 0)[::30]
        labels[wrong] = 0
    if story.startswith("the same border"):
        pixels[::12, :3] = 255
    table = table_of(pixels, labels, clean.vectors)
    findings, score, _ = scan(table, fit([table]))
    assert findings == []
    assert score.max() < 0.5 + 1e-6


def test_any_sharding_gives_the_same_views_and_scores() -> None:
    table, views, _ = patched()
    pieces = [table.slice(700), table.slice(0, 1), table.slice(1, 699)]
    again = fit(pieces)
    for name in ("pixel_models", "pixel_groups"):
        for field in dataclasses.fields(views[name]):
            one, other = getattr(views[name], field.name), getattr(again[name], field.name)
            assert np.array_equal(one, other), f"{name}.{field.name}"
    whole = PixelTrigger().score(table, views)
    parts = [PixelTrigger().score(piece, views) for piece in pieces]
    assert np.array_equal(whole.score[700:], parts[0].score)
    assert np.array_equal(whole.score[:1], parts[1].score)


@pytest.mark.parametrize("labels", [np.zeros(80, int), np.arange(80), np.arange(80) % 40])
def test_one_label_or_hardly_any_pictures_a_label_say_nothing(labels: NDArray[np.int64]) -> None:
    clean = pictures()
    table = table_of(clean.pixels[:80], labels, clean.vectors[:80])
    assert scan(table, fit([table]))[0] == []


def test_pictures_without_labels_cannot_be_looked_at() -> None:
    reason = PixelTrigger().unavailable(dataclasses.replace(PLAN, target_kind="none"))
    assert reason is not None
    assert "no labels" in reason
    assert "labelled images" in str(PixelTrigger().unavailable(dataclasses.replace(PLAN, modality="labelled-text")))
    assert PixelTrigger().unavailable(PLAN) is None


def test_a_change_of_the_whole_picture_has_no_place() -> None:
    assert locate(np.random.default_rng(0).normal(size=(32, 32))) is None
    assert locate(np.zeros((32, 32))) is None


def png(table: pa.Table, row: int) -> Sample:
    out = io.BytesIO()
    Image.frombytes("RGB", (32, 32), table.column("thumbnail")[row].as_py()).save(out, format="PNG")
    return Sample(f"a.tar#{row}", str(row), out.getvalue(), table.column("target")[row].as_py(), 0, 1)


def test_a_trigger_stands_apart_and_a_look_fades() -> None:
    edges = len(EDGES)
    assert stand_apart(np.array([61, 60, 60, 60, 60, 60, 60, 60, 55, 40, 9][:edges]), 0.9)
    assert not stand_apart(np.array([76, 70, 63, 58, 54, 50, 48, 43, 30, 12, 2][:edges]), 0.9)
    assert not stand_apart(np.zeros(edges, np.int64), 0.9)


def test_forty_pure_hits_are_worth_more_than_sixty_of_which_a_third_agree_with_their_label() -> None:
    pure = Verdict(0, 0, False, 7.0, 40, 0, 0.44, 0.52, 0.97, 0.97, 1e-20, 2)
    more = Verdict(1, 0, False, 4.0, 62, 2, 0.46, 0.52, 0.76, 0.97, 1e-20, 15)
    assert pure.worth > more.worth
