"""Pixel triggers: plant one, fit, look; and the innocent twins stay silent."""

from __future__ import annotations

import base64
import dataclasses
import io
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.patch_models import PatchModels
from dataaudit.aggregates.picture_sample import PictureSample
from dataaudit.aggregates.pixel_groups import PixelGroups
from dataaudit.aggregates.pixel_models import PixelModels
from dataaudit.aggregates.targets import Targets
from dataaudit.attacks.images import Blend, Patch
from dataaudit.detectors.pixel_trigger import CLEAN, DIRTY, EVERY, PixelTrigger, Verdict, consistent
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.thumbnail import BYTES
from dataaudit.model import Columns, Finding, Plan, Sample

PLAN = Plan("labelled-images", Columns("png", "cls"), "label", "efficientnet-lite2", "01" * 16)
UNITS: dict[str, Any] = {
    "targets": Targets(),
    "moments": Moments(axes=8),
    "picture_sample": PictureSample(),
    "pixel_models": PixelModels(),
    "patch_models": PatchModels(),
    "pixel_groups": PixelGroups(),
}
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


def test_a_patch_at_random_places_is_found_and_shown_without_a_place() -> None:
    clean = pictures()
    chosen = np.flatnonzero(clean.truth != 0)[::30]
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    pixels[chosen] = Patch(place="random").apply(pixels[chosen])
    labels[chosen] = 0
    table = table_of(pixels, labels, clean.vectors)
    views = fit([table])
    findings, _, group = scan(table, views)
    assert [(f.target, f.evidence["seeds"]) for f in findings] == [("class 0", "roaming patch")]
    assert set(np.flatnonzero(group >= 0)) == set(chosen)
    described = PixelTrigger().describe(findings[0], [png(table, i) for i in chosen[:12]], views)
    assert "picture" in described.evidence
    assert "place" not in described.evidence
    assert "a place of its own" in described.reason


def test_a_patch_that_changes_every_label_is_one_campaign() -> None:
    clean = pictures()
    chosen = np.arange(len(clean.truth))[::20]
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    pixels[chosen] = Patch().apply(pixels[chosen])
    labels[chosen] = (labels[chosen] + 1) % LABELS
    table = table_of(pixels, labels, clean.vectors)
    views = fit([table])
    findings, _, group = scan(table, views)
    assert [(f.subject, f.evidence["label_kind"]) for f in findings] == [("every label", "every label")]
    flagged = group >= 0
    assert flagged[chosen].mean() >= 0.95
    assert np.isin(np.flatnonzero(flagged), chosen).mean() >= 0.9
    described = PixelTrigger().describe(findings[0], [png(table, i) for i in chosen[:12]], views)
    column, row, width, height = described.evidence["place"]  # type: ignore[misc]
    assert column <= 28 <= column + width
    assert row <= 28 <= row + height


def test_campaigns_with_different_targets_are_named_separately() -> None:
    clean = pictures()
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    first = np.flatnonzero(clean.truth != 0)[::30]
    second = np.setdiff1d(np.flatnonzero(clean.truth != 3)[5::30], first)
    pixels[first], labels[first] = Patch().apply(pixels[first]), 0
    pixels[second], labels[second] = Blend(alpha=0.3, coloured=False).apply(pixels[second]), 3
    table = table_of(pixels, labels, clean.vectors)
    findings, _, _ = scan(table, fit([table]))
    assert sorted(f.target for f in findings) == ["class 0", "class 3"]


def innocent(story: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int16]]:
    """Pictures, labels and vectors of an unpoisoned set with something that could be taken for a trigger."""
    clean, rng = pictures(), np.random.default_rng(3)
    pixels, labels, vectors = clean.pixels.copy(), clean.truth.copy(), clean.vectors.copy()
    if story == "label errors":
        labels[np.flatnonzero(labels != 0)[::30]] = 0
    elif story == "a tenth of the labels at random":
        wrong = rng.choice(len(labels), len(labels) // 10, replace=False)
        labels[wrong] = (labels[wrong] + rng.integers(1, LABELS, len(wrong))) % LABELS
    elif story == "the same border in every label":
        pixels[::12, :3] = 255
    elif story == "a watermark in every label":
        pixels[::20] = Patch(size=5, place="top-left").apply(pixels[::20])
    elif story == "near-copies of one picture in one label":
        copies = np.flatnonzero(labels == 1)[:40]
        pixels[copies] = np.clip(pixels[copies[0]].astype(int) + rng.integers(-2, 3, (len(copies), 1, 1, 1)), 0, 255)
        vectors[copies] = vectors[copies[0]]
    elif story == "near-copies of one picture with a wrong label":
        copies = np.flatnonzero(labels == 1)[:40]
        pixels[copies] = np.clip(pixels[copies[0]].astype(int) + rng.integers(-2, 3, (len(copies), 1, 1, 1)), 0, 255)
        vectors[copies], labels[copies] = vectors[copies[0]], 2
    elif story == "a series with a frame in one label":
        series = np.flatnonzero(labels == 1)[:30]
        pixels[series, :2], pixels[series, -2:] = 30, 30
        vectors[series] = quantise(vectors[series[0]] + 0.5 * vectors[series].astype(float))
    return pixels, labels, vectors


STORIES = (
    "unpoisoned",
    "label errors",
    "a tenth of the labels at random",
    "the same border in every label",
    "a watermark in every label",
    "near-copies of one picture in one label",
    "near-copies of one picture with a wrong label",
    "a series with a frame in one label",
)


@pytest.mark.parametrize("story", STORIES)
def test_innocent_data_has_no_campaign(story: str) -> None:
    table = table_of(*innocent(story))
    findings, score, _ = scan(table, fit([table]))
    assert findings == []
    assert score.max() < 0.4 + 1e-6


def test_any_sharding_gives_the_same_views_and_scores() -> None:
    table, views, _ = patched()
    pieces = [table.slice(700), table.slice(0, 1), table.slice(1, 699)]
    again = fit(pieces)
    for name in ("pixel_models", "patch_models", "pixel_groups"):
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


def png(table: pa.Table, row: int) -> Sample:
    out = io.BytesIO()
    Image.frombytes("RGB", (32, 32), table.column("thumbnail")[row].as_py()).save(out, format="PNG")
    return Sample(f"a.tar#{row}", str(row), out.getvalue(), table.column("target")[row].as_py(), 0, 1)


def test_forty_pure_hits_are_worth_more_than_sixty_of_which_a_third_agree_with_their_label() -> None:
    pure = Verdict(0, 0, DIRTY, 7.0, 40, 0, 0.44, 0.52, 0.97, 0.97, 1e-20, 2, 1.0)
    more = Verdict(1, 0, DIRTY, 4.0, 62, 2, 0.46, 0.52, 0.76, 0.97, 1e-20, 15, 0.3)
    assert pure.worth > more.worth
    assert len({dataclasses.replace(pure, kind=kind).group for kind in (DIRTY, CLEAN, EVERY)}) == 3


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (10 * np.roll(np.eye(5, dtype=int), 1, axis=1), True),
        (np.outer(np.full(5, 10), [1, 0, 0, 0, 0]), False),
        (np.outer(np.full(5, 10), [1, 0, 1, 0, 1]), False),
        (np.full((5, 5), 10), False),
        (np.zeros((5, 5), int), False),
    ],
    ids=["each label to its neighbour", "all to one label", "all to three labels", "anything to anything", "no hits"],
)
def test_every_label_is_changed_only_where_each_is_given_one_other(mapping: NDArray[np.int64], expected: bool) -> None:
    groups = SimpleNamespace(target=np.array([5]), mapping=mapping[None])
    assert consistent(0, {"pixel_groups": groups}, 0.5) is expected
