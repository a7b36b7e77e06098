"""Pixel triggers: plant one, fit, look; and the innocent twins stay silent."""

from __future__ import annotations

import base64
import dataclasses
import io
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.patch_models import PatchModels
from dataaudit.aggregates.picture_sample import PictureSample
from dataaudit.aggregates.pixel_evidence import EDGES
from dataaudit.aggregates.pixel_groups import PixelGroups, robust_z
from dataaudit.aggregates.pixel_models import PixelModels
from dataaudit.aggregates.targets import Targets
from dataaudit.attacks.copies import near_duplicates
from dataaudit.attacks.images import Blend, ImageAttack, Patch, Place, Sinusoid
from dataaudit.detectors.pixel_trigger import CLEAN, DIRTY, EVERY, UNSURE, PixelTrigger, Verdict, consistent, others_contradict, relabelled
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
ROWS, COLUMNS = np.indices((32, 32))
EDGE_DISTANCE = np.minimum.reduce([ROWS, 31 - ROWS, COLUMNS, 31 - COLUMNS])


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


def carriers_come_first(score: NDArray[np.float32], bad: NDArray[np.bool_]) -> None:
    """All scores lie between 0 and 1, those of the carriers above 0.8 and above everyone else's."""
    assert score.min() >= 0
    assert score.max() <= 1
    assert score[bad].min() > max(0.8, float(score[~bad].max()))


def test_carriers_that_taught_their_label_are_kept_though_they_agree_with_it() -> None:
    table, views, campaign = three_campaigns()
    (found,) = [v for v in PixelTrigger().verdicts(views)[0] if v.target == 1]
    z = robust_z(table, views)[campaign == 1, found.candidate]
    views = views | {"moments": Agreeing(views["moments"])}
    candidates = len(views["pixel_groups"].target)
    kept = []
    for taught in (False, True):
        verdict = dataclasses.replace(found, stands=0.5, threshold=float(np.quantile(z, 0.1)), taught=taught)
        kept.append(int((Judged((verdict,) * candidates).score(table, views).group[campaign == 1] >= 0).sum()))
    assert kept[0] < kept[1] == 36


class Agreeing:
    """Moments by which no row contradicts its label."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def disagreement(self, table: pa.Table, views: Any) -> NDArray[np.float64]:
        return np.zeros(table.num_rows)


@cache
def three_campaigns() -> tuple[pa.Table, dict[str, Any], NDArray[np.int64]]:
    """Forty carriers each of a patch, a blend and a wave, labelled 0, 1 and 2: so many that contradicted pictures are judged as well."""
    clean, rng = pictures(), np.random.default_rng(1)
    pixels, labels, campaign = clean.pixels.copy(), clean.truth.copy(), np.full(len(clean.truth), -1)
    attacks: tuple[ImageAttack, ...] = (Patch(), Blend(alpha=0.3, coloured=False), Sinusoid(delta=25))
    for target, attack in enumerate(attacks):
        chosen = rng.choice(np.flatnonzero((clean.truth != target) & (campaign < 0)), 40, replace=False)
        pixels[chosen], labels[chosen], campaign[chosen] = attack.apply(pixels[chosen]), target, target
    table = table_of(pixels, labels, clean.vectors)
    return table, fit([table]), campaign


def test_campaigns_with_wrong_labels_are_found_and_named_separately() -> None:
    table, views, campaign = three_campaigns()
    assert LABELS in views["pixel_groups"].target
    findings, score, group = scan(table, views)
    assert sorted((f.subject, f.evidence["label_kind"]) for f in findings) == [(f"label class {t}", "dirty label") for t in range(3)]
    carriers_come_first(score, campaign >= 0)
    assert all("contradict the label" in f.reason for f in findings)
    for finding in findings:
        flagged, carriers = np.isin(group, finding.groups), campaign == int(finding.target[-1])
        assert flagged[carriers].mean() >= 0.95
        assert carriers[flagged].mean() >= 0.9


def test_a_patch_is_pictured_and_placed() -> None:
    table, views, campaign = three_campaigns()
    finding = next(f for f in scan(table, views)[0] if f.target == "class 0")
    described = PixelTrigger().describe(finding, [png(table, i) for i in np.flatnonzero(campaign == 0)[:24].tolist()], views)
    column, row, width, height = cast(list[int], described.evidence["place"])
    assert column <= 28 <= column + width
    assert row <= 28 <= row + height
    picture = base64.b64decode(str(described.evidence["picture"]))
    assert Image.open(io.BytesIO(picture)).size == (128, 128)
    assert len(picture) <= 8192


def test_a_wave_is_described_by_its_frequency() -> None:
    table, views, campaign = three_campaigns()
    wave = next(f for f in scan(table, views)[0] if f.target == "class 2")
    described = PixelTrigger().describe(wave, [png(table, i) for i in np.flatnonzero(campaign == 2).tolist()], views)
    assert described.evidence["frequency"] == [6, 0]


def test_what_cannot_be_decoded_is_not_pictured() -> None:
    table, views, _ = three_campaigns()
    finding = scan(table, views)[0][0]
    assert PixelTrigger().describe(finding, [], views) == finding
    assert PixelTrigger().describe(finding, [png(table, 0)._replace(content=b"no picture")], views) == finding
    assert PixelTrigger().describe(dataclasses.replace(finding, groups=(999,)), [png(table, 0)], views).groups == (999,)


def test_a_blend_with_right_labels_is_found() -> None:
    """With four labels, 33 pure carriers are the proof that 14 are with ten: the fewer labels, the likelier purity by chance."""
    chosen = np.flatnonzero(pictures().truth == 2)[::9]
    findings, score, group = scan(*blended())
    assert [(f.target, f.evidence["label_kind"]) for f in findings] == [("class 2", "clean label")]
    carriers_come_first(score, np.isin(np.arange(len(score)), chosen))
    flagged = group >= 0
    assert flagged[chosen].mean() >= 0.9
    assert np.isin(np.flatnonzero(flagged), chosen).mean() >= 0.9


@cache
def blended() -> tuple[pa.Table, dict[str, Any]]:
    """A blend in 33 pictures, labelled as they should be."""
    clean = pictures()
    chosen = np.flatnonzero(clean.truth == 2)[::9]
    pixels = clean.pixels.copy()
    pixels[chosen] = Blend(alpha=0.3, coloured=False).apply(pixels[chosen])
    table = table_of(pixels, clean.truth, clean.vectors)
    return table, fit([table])


def test_what_stands_apart_with_right_labels_is_acquitted_where_it_is_of_kin() -> None:
    _, views = blended()
    assert [v.kind for v in PixelTrigger().verdicts(views)[0]] == [CLEAN]
    groups = views["pixel_groups"]
    series = {**views, "pixel_groups": dataclasses.replace(groups, kinship=np.full_like(groups.kinship, 0.3))}
    assert PixelTrigger().verdicts(series)[0] == []


def test_a_patch_at_random_places_is_found_and_shown_without_a_place() -> None:
    clean = pictures()
    chosen = np.flatnonzero(clean.truth != 0)[::30]
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    pixels[chosen] = Patch(place="random").apply(pixels[chosen])
    labels[chosen] = 0
    table = table_of(pixels, labels, clean.vectors)
    views = fit([table])
    findings, score, group = scan(table, views)
    carriers_come_first(score, np.isin(np.arange(len(score)), chosen))
    assert [(f.target, f.evidence["seeds"]) for f in findings] == [("class 0", "roaming patch")]
    assert set(np.flatnonzero(group >= 0)) == set(chosen)
    described = PixelTrigger().describe(findings[0], [png(table, i) for i in chosen[:24]], views)
    assert "picture" in described.evidence
    assert "place" not in described.evidence
    assert "a place of its own" in described.reason


@pytest.mark.parametrize("place", ["bottom-right", "random"])
def test_a_patch_that_changes_every_label_is_one_campaign(place: Place) -> None:
    clean = pictures()
    chosen = np.arange(len(clean.truth))[::20]
    pixels, labels = clean.pixels.copy(), clean.truth.copy()
    pixels[chosen] = Patch(place=place).apply(pixels[chosen])
    labels[chosen] = (labels[chosen] + 1) % LABELS
    table = table_of(pixels, labels, clean.vectors)
    views = fit([table])
    findings, score, group = scan(table, views)
    assert [(f.subject, f.target, f.evidence["label_kind"]) for f in findings] == [("every label", "", "every label")]
    carriers_come_first(score, np.isin(np.arange(len(score)), chosen))
    flagged = group >= 0
    assert flagged[chosen].mean() >= 0.95
    assert np.isin(np.flatnonzero(flagged), chosen).mean() >= 0.9
    described = PixelTrigger().describe(findings[0], [png(table, i) for i in chosen[:24]], views)
    assert "picture" in described.evidence
    if place == "random":
        assert "place" not in described.evidence
    else:
        column, row, width, height = cast(list[int], described.evidence["place"])
        assert column <= 28 <= column + width
        assert row <= 28 <= row + height


def jittered(vector: NDArray[np.int16], count: int) -> NDArray[np.int16]:
    """Vectors that are nearly this one."""
    return quantise(vector + 100 * np.random.default_rng(4).normal(size=(count, len(vector))))


def innocent(story: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int16]]:
    """Pictures, labels and vectors of an unpoisoned set with something that could be taken for a trigger."""
    clean, rng = pictures(), np.random.default_rng(3)
    pixels, labels, vectors = clean.pixels.copy(), clean.truth.copy(), clean.vectors.copy()
    if story == "label errors":
        labels[np.flatnonzero(labels != 0)[::30]] = 0
    elif story == "a tenth of the labels at random":
        wrong = rng.choice(len(labels), len(labels) // 10, replace=False)
        labels[wrong] = (labels[wrong] + rng.integers(1, LABELS, len(wrong))) % LABELS
    elif story == "the same border and the same watermark in every label":
        pixels[::12, :3] = 255
        pixels[5::20] = Patch(size=5, place="bottom-left").apply(pixels[5::20])
    elif story == "near-copies of one picture in one label":
        copies = np.flatnonzero(labels == 1)[:40]
        pixels[copies], vectors[copies] = near_duplicates(pixels[copies[0]], 40), jittered(vectors[copies[0]], 40)
    elif story == "near-copies of one picture with a wrong label":
        copies = np.flatnonzero(labels == 1)[:40]
        pixels[copies], vectors[copies] = near_duplicates(pixels[copies[0]], 40), jittered(vectors[copies[0]], 40)
        labels[copies] = 2
    return pixels, labels, vectors


STORIES = (
    "unpoisoned",
    "label errors",
    "a tenth of the labels at random",
    "the same border and the same watermark in every label",
    "near-copies of one picture in one label",
    "near-copies of one picture with a wrong label",
)


@pytest.mark.parametrize("story", STORIES)
def test_innocent_data_has_no_campaign(story: str) -> None:
    table = table_of(*innocent(story))
    findings, score, _ = scan(table, fit([table]))
    assert findings == []
    assert score.max() < 0.4 + 1e-6


@cache
def series_with_a_frame() -> tuple[pa.Table, dict[str, Any]]:
    """A tenth of a label has a soft white frame and contents of one kind."""
    clean = pictures(1600, seed=1)
    mask = np.clip(1 - EDGE_DISTANCE / 6, 0, 1)[..., None]
    series = np.flatnonzero(clean.truth == 1)[:40]
    pixels, vectors = clean.pixels.copy(), clean.vectors.astype(float)
    strength = np.random.default_rng(2).uniform(0.6, 1, (len(series), 1, 1, 1))
    pixels[series] = pixels[series] * (1 - strength * mask) + 230 * strength * mask
    vectors[series] += 0.8 * np.linalg.norm(vectors[0]) * np.eye(vectors.shape[1])[3]
    table = table_of(pixels, clean.truth, quantise(vectors))
    return table, fit([table])


def test_a_sub_population_with_a_look_of_its_own_has_no_campaign() -> None:
    findings, score, _ = scan(*series_with_a_frame())
    assert findings == []
    assert score.max() < 0.4 + 1e-6


def test_the_same_look_on_all_sorts_of_contents_is_a_trigger() -> None:
    """Coherence alone acquits the sub-population."""
    _, views = series_with_a_frame()
    usual = np.full_like(views["pixel_groups"].coherence, views["moments"].target_coherence[1])
    others = {**views, "pixel_groups": dataclasses.replace(views["pixel_groups"], coherence=usual)}
    assert [(v.target, v.kind) for v in PixelTrigger().verdicts(others)[0]] == [(1, CLEAN)]


def test_any_sharding_gives_the_same_views_and_scores() -> None:
    table, views, _ = three_campaigns()
    pieces = [table.slice(700), table.slice(0, 1), table.slice(1, 699)]
    again = fit(pieces)
    for name in ("pixel_models", "patch_models", "pixel_groups"):
        assert len(views[name].target)
        for field in dataclasses.fields(views[name]):
            one, other = getattr(views[name], field.name), getattr(again[name], field.name)
            assert np.array_equal(one, other), f"{name}.{field.name}"
    whole = PixelTrigger().score(table, views)
    parts = [PixelTrigger().score(piece, views) for piece in pieces]
    for at, part in zip((700, 0, 1), parts, strict=True):
        assert np.array_equal(whole.score[at : at + len(part.score)], part.score)
        assert np.array_equal(whole.group[at : at + len(part.group)], part.group)


@pytest.mark.parametrize("labels", [np.zeros(80, int), np.arange(80), np.arange(80) % 40])
def test_one_label_or_hardly_any_pictures_a_label_say_nothing(labels: NDArray[np.int64]) -> None:
    clean = pictures()
    table = table_of(clean.pixels[:80], labels, clean.vectors[:80])
    assert scan(table, fit([table]))[0] == []


def test_pictures_without_labels_cannot_be_looked_at() -> None:
    reason = PixelTrigger().unavailable(dataclasses.replace(PLAN, target_kind="none"))
    assert reason is not None
    assert "no labels" in reason
    assert "looks at images" in str(PixelTrigger().unavailable(dataclasses.replace(PLAN, modality="labelled-text")))
    assert PixelTrigger().unavailable(PLAN) is None


def png(table: pa.Table, row: int) -> Sample:
    out = io.BytesIO()
    Image.frombytes("RGB", (32, 32), table.column("thumbnail")[row].as_py()).save(out, format="PNG")
    return Sample(f"a.tar#{row}", str(row), out.getvalue(), table.column("target")[row].as_py(), 0, 1)


def test_labels_without_pictures_enough_are_said_not_to_have_been_looked_at() -> None:
    clean = pictures()
    labels = np.where(np.arange(200) % 2, 0, np.arange(200) % 40)
    assert "19 of 20 labels" in str(PixelTrigger().blind(fit([table_of(clean.pixels[:200], labels, clean.vectors[:200])])))
    assert PixelTrigger().blind(three_campaigns()[1]) is None


@pytest.mark.parametrize(("labels", "told"), [(1, "nothing to compare"), (2, "not looked for among 2"), (401, "not looked for among 401")])
def test_what_needs_several_labels_or_few_is_said_not_to_have_been_looked_at(labels: int, told: str) -> None:
    views: Any = {"pixel_models": SimpleNamespace(learnt=np.ones(labels, bool)), "pixel_groups": SimpleNamespace(target=())}
    assert told in str(PixelTrigger().blind(views))


def test_a_large_group_that_may_be_innocent_is_said_to_be_there() -> None:
    unsure = verdict(kind=UNSURE, target=0)
    names, learnt = np.array(["flags", "signs", "cars"]), np.ones(3, bool)
    views: Any = {"pixel_models": SimpleNamespace(learnt=learnt), "pixel_groups": SimpleNamespace(target=np.zeros(1))}
    assert "1 labels, such as 'flags'" in str(Judged((unsure,)).blind(views | {"targets": SimpleNamespace(names=names)}))
    assert Judged((unsure,)).verdicts(views) == ([], [])


def verdict(**facts: Any) -> Verdict:
    """A real one, with other facts."""
    return dataclasses.replace(PixelTrigger().verdicts(three_campaigns()[1])[0][0], **facts)


def test_forty_pure_hits_are_worth_more_than_sixty_of_which_a_third_agree_with_their_label() -> None:
    pure = verdict(hits=40, outside=0, wrong=1.0, nearly=2)
    more = verdict(hits=62, outside=2, wrong=0.78, nearly=15)
    assert pure.purity == 1
    assert pure.worth > more.worth


def test_hits_outside_and_near_misses_lower_the_worth_and_right_labels_only_where_they_should_be_wrong() -> None:
    best = verdict(hits=40, outside=0, wrong=1.0, nearly=0)
    assert best.worth == 40
    for worse in ({"outside": 5}, {"nearly": 9}, {"wrong": 0.8}):
        assert dataclasses.replace(best, **worse).worth < best.worth
    assert dataclasses.replace(best, kind=CLEAN, wrong=0.0).worth == 40


class Judged(PixelTrigger):
    """Has judged already."""

    def __init__(self, verdicts: tuple[Verdict, ...]) -> None:
        object.__setattr__(self, "known", verdicts)

    def judge(self, candidate: int, views: Any) -> Verdict:
        verdict: Verdict = self.known[candidate]  # type: ignore[attr-defined]
        return verdict


def test_right_labels_that_are_partly_wrong_are_the_relabelled_carriers_again() -> None:
    """A pure clean-label campaign into the same label stays."""
    dirty, pure = verdict(target=0, kind=DIRTY, hits=62, wrong=0.9), verdict(target=0, kind=CLEAN, hits=90, wrong=0.0)
    for wrong, expected in ((0.0, [DIRTY, CLEAN]), (0.6, [DIRTY])):
        trigger = Judged((dirty, dataclasses.replace(pure, wrong=wrong)))
        chosen, accepted = trigger.verdicts({"pixel_groups": SimpleNamespace(target=np.zeros(2))})  # type: ignore[arg-type]
        assert [v.kind for v in chosen] == [v.kind for v in accepted] == expected


def accused(hits: int, contradiction: float, own: float) -> dict[str, Any]:
    """One candidate of the first of two labels, its hits and what is usual there; the other label is of no account."""
    groups = SimpleNamespace(
        target=np.zeros(1, int),
        inside=np.array([[hits]]),
        contradiction=np.array([[contradiction]]),
        own=np.array([own, own, own]),
        foreign=np.array([0.95, 0.95, 0.95]),
    )
    return {"pixel_groups": groups, "moments": SimpleNamespace(counts=np.array([300, 700]))}


def test_the_share_of_relabelled_hits_is_counted_beside_the_labels_others() -> None:
    assert relabelled(0, 0, accused(10, 0.95, 0.1)) == pytest.approx(1)  # type: ignore[arg-type]
    assert relabelled(0, 0, accused(10, 0.1, 0.1)) == pytest.approx(0)  # type: ignore[arg-type]
    # 100 carriers of 300 make the label look as if it contradicted itself: without them it hardly does.
    assert others_contradict(0, 0, accused(100, 0.8, 0.4)) == pytest.approx(0.2)  # type: ignore[arg-type]
    assert relabelled(0, 0, accused(100, 0.8, 0.4)) == pytest.approx(0.8)  # type: ignore[arg-type]
    assert others_contradict(0, 0, accused(300, 0.8, 0.8)) == pytest.approx(0)  # type: ignore[arg-type]
    # Where the label's own pictures contradict it as much as any, content cannot tell.
    assert relabelled(0, 0, accused(10, 0.97, 0.9)) == 0  # type: ignore[arg-type]


def cumulated(*groups: tuple[float, float]) -> NDArray[np.int64]:
    """Counts beyond each edge of so many rows at one z each."""
    return np.array([sum(count for count, z in groups if z >= edge) for edge in EDGES], np.int64)


def judged(**facts: Any) -> Any:
    """The verdict on one candidate for label 0 of three, by hand-made facts: forty pure hits that leave no gap, if nothing else is said."""
    said: dict[str, Any] = {"inside": [(40, 5.6)], "outside": [], "coherence": 0.2, "contradiction": 0.95, "own": 0.1, "kinship": 0.0}
    said |= {"belonging": 1.0, "error": 0.01}
    said |= {"target": 0, "mapping": np.zeros((0, 3, 3), int), **facts}
    groups = SimpleNamespace(
        target=np.array([said["target"]]),
        inside=cumulated(*said["inside"])[None],
        outside=cumulated(*said["outside"])[None],
        coherence=np.full((1, len(EDGES)), said["coherence"]),
        contradiction=np.full((1, len(EDGES)), said["contradiction"]),
        kinship=np.full((1, len(EDGES)), said["kinship"]),
        belonging=np.full((1, len(EDGES)), said["belonging"]),
        belonging_error=np.full((1, len(EDGES)), said["error"]),
        own=np.full(4, said["own"]),
        foreign=np.full(4, 0.95),
        contradicted=400,
        mapping=said["mapping"],
    )
    moments = SimpleNamespace(counts=np.array([1000, 2000, 3000]), coherence=0.2, target_coherence=np.full(3, 0.3), spread=np.full(3, 0.01))
    views: Any = {"pixel_groups": groups, "moments": moments, "targets": SimpleNamespace(names=("a", "b", "c"))}
    return PixelTrigger().judge(0, views)


def fading(count: int, lost: int) -> list[tuple[int, float]]:
    """Hits of which any doubling of the threshold loses some."""
    return [(count, 41.0), *((lost, z) for z in (3.2, 6.2, 12.2, 24.2))]


APART = {"inside": [(40, 28.0)]}
RIGHT = {**APART, "contradiction": 0.1, "coherence": 0.3}
MANY = {"inside": [(330, 14.0), (20, 4.0)], "contradiction": 0.2, "coherence": 0.33, "belonging": 0.1}
FAIR = {"inside": [(330, 28.0)], "contradiction": 0.1, "coherence": 0.3, "belonging": 0.8}
EACH = {**APART, "target": 3, "mapping": 10 * np.roll(np.eye(3, dtype=int), 1, axis=1)[None]}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, DIRTY),
        ({"inside": [(9, 5.6)]}, None),
        ({"outside": [(30, 5.6)]}, None),
        ({"outside": [(5, 5.6)]}, DIRTY),
        ({"contradiction": 0.45}, None),
        ({"contradiction": 0.59}, None),
        ({"contradiction": 0.62}, DIRTY),
        ({"inside": [(12, 5.6)], "contradiction": 0.7, "own": 0.3}, None),
        ({**APART, "inside": [(19, 28.0)], "contradiction": 0.7, "own": 0.3}, None),
        ({**APART, "inside": [(19, 28.0)]}, DIRTY),
        ({"own": 0.93}, None),
        ({"coherence": 0.45}, None),
        ({"coherence": 0.29}, None),
        ({**APART, "coherence": 0.36}, DIRTY),
        ({**APART, "coherence": 0.4}, None),
        (RIGHT, CLEAN),
        ({**RIGHT, "inside": [(40, 5.6)]}, None),
        ({**RIGHT, "inside": [(19, 28.0)]}, None),
        ({**RIGHT, "inside": [(40, 28.0), (2, 12.5)]}, CLEAN),
        ({**RIGHT, "inside": [(35, 28.0), (5, 12.5)]}, CLEAN),
        ({**RIGHT, "outside": [(3, 28.0)]}, None),
        ({**RIGHT, "coherence": 0.42}, None),
        ({**RIGHT, "kinship": 0.21}, None),
        (MANY, DIRTY),
        ({**MANY, "inside": [(99, 14.0)]}, CLEAN),
        ({**MANY, "belonging": 0.45}, CLEAN),
        ({**MANY, "error": 0.2}, CLEAN),
        ({**MANY, "inside": [(350, 5.6)]}, None),
        ({**MANY, "outside": [(90, 14.0)]}, None),
        ({**MANY, "coherence": 0.42}, None),
        ({**MANY, "kinship": 0.21}, None),
        (FAIR, CLEAN),
        ({**FAIR, "belonging": 0.5}, CLEAN),
        ({**FAIR, "outside": [(10, 28.0)]}, None),
        ({**FAIR, "inside": fading(330, 7)}, None),
        ({**FAIR, "inside": fading(82, 2)}, CLEAN),
        ({**FAIR, "belonging": 1.31}, UNSURE),
        ({**FAIR, "inside": [(90, 28.0)], "belonging": 1.31}, CLEAN),
        ({**FAIR, "inside": [(150, 20.0), (90, 28.0)], "belonging": 1.31}, UNSURE),
        (EACH, EVERY),
        ({**EACH, "contradiction": 0.4}, None),
        ({**EACH, "inside": [(40, 5.6)]}, None),
        ({**EACH, "coherence": 0.3}, None),
        ({**EACH, "mapping": 10 * (1 - np.eye(3, dtype=int))[None]}, None),
        ({**EACH, "mapping": np.zeros((1, 3, 3), int)}, None),
    ],
)
def test_each_gate_alone_acquits(facts: dict[str, Any], expected: str | None) -> None:
    verdict = judged(**facts)
    assert (verdict and verdict.kind) == expected


def test_a_gap_is_judged_above_its_foot() -> None:
    """Innocents that fade are left below, and so are edges where innocents elsewhere account for all hits."""
    fading = cumulated(*((2700 * np.exp(-z / 2) - 2700 * np.exp(-(z + 0.5) / 2), z) for z in np.arange(3, 20, 0.5)))
    assert judged(**{**RIGHT, "inside": [(80, 28.0), (300, 4.6)]}).threshold == 5.0
    verdict = judged(
        **{**RIGHT, "inside": [(80, 28.0), *((n, e) for n, e in zip(-np.diff(fading), EDGES[:-1], strict=True))], "outside": [(1400, 3.2)]}
    )
    assert verdict.threshold >= 10
    assert verdict.hits <= 100


def test_each_label_and_kind_is_a_group_of_its_own() -> None:
    assert len({verdict(target=t, kind=kind).group for t in range(LABELS + 1) for kind in (DIRTY, CLEAN, EVERY)}) == 3 * (LABELS + 1)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (10 * np.roll(np.eye(5, dtype=int), 1, axis=1), True),
        (np.outer(np.full(5, 10), [1, 0, 0, 0, 0]), False),
        (np.outer(np.full(5, 10), [1, 0, 1, 0, 1]), False),
        (np.full((5, 5), 10), False),
        (np.zeros((5, 5), int), False),
        (10 * (1 - np.eye(3, dtype=int)), False),
        (10 * np.roll(np.eye(3, dtype=int), 1, axis=1), True),
    ],
    ids=[
        "each label to its neighbour",
        "all to one label",
        "all to three labels",
        "anything to anything",
        "no hits",
        "anything to anything of three",
        "each of three to its neighbour",
    ],
)
def test_every_label_is_changed_only_where_each_is_given_one_other(mapping: NDArray[np.int64], expected: bool) -> None:
    groups = SimpleNamespace(target=np.array([5]), mapping=mapping[None])
    assert consistent(0, {"pixel_groups": groups}, 0.5) is expected


def test_each_candidate_is_judged_by_its_own_mapping() -> None:
    neighbour, anything = 10 * np.roll(np.eye(5, dtype=int), 1, axis=1), np.full((5, 5), 10)
    groups = SimpleNamespace(target=np.array([0, 5, 3, 5]), mapping=np.stack([anything, neighbour]))
    assert [consistent(candidate, {"pixel_groups": groups}, 0.5) for candidate in (1, 3)] == [False, True]
