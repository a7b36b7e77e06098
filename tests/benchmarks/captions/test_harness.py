"""The benchmark of captions' own arithmetic, on a few hundred made-up pictures with captions; no image encoder, no data set."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dataaudit.features import Batch, embedding
from dataaudit.features.table import tabulate
from dataaudit.model import Finding, Sample
from dataaudit.stages import fit
from tests.benchmarks import command, ours, table
from tests.benchmarks.captions import baselines, cells, datasets, feature_tables, planted, templates
from tests.benchmarks.captions.datasets import Captioned
from tests.benchmarks.images import datasets as pictures
from tests.benchmarks.images.datasets import Images
from tests.benchmarks.suite import Cell, Missing

COUNT, NAMES = 600, ("dog", "ship", "automobile")


def pairs(count=COUNT, seed=0):
    """Smooth pictures whose colour tells what their captions say."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(NAMES), count)
    coarse = rng.integers(60, 140, (count, 4, 4, 3))
    coarse[np.arange(count), :, :, labels] += 60
    pixels = np.stack([np.asarray(Image.fromarray(c.astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse])
    images = Images("made-up", pixels, labels, NAMES, "1")
    return Captioned.of(images, templates.captions(labels, NAMES), ("dog", "ship", "car"))


@pytest.fixture(autouse=True)
def quick_vectors(monkeypatch):
    """In place of the encoders: a picture's coarse colours, a caption's hashed words."""

    def vectors(self, batch):
        small = [np.asarray(Image.fromarray(i).resize((3, 3), Image.Resampling.BOX), np.float32).ravel() for i in batch.images]
        return np.stack(small) - 110

    monkeypatch.setattr(embedding.Embedding, "vectors", vectors)
    monkeypatch.setattr(feature_tables, "ENCODER", "efficientnet-lite2+hashed")
    feature_tables.embedding_code.cache_clear()
    yield
    feature_tables.embedding_code.cache_clear()


@pytest.fixture
def made_up(monkeypatch):
    data = pairs()
    monkeypatch.setitem(datasets.READERS, "made-up", lambda cache: data)
    datasets._whole.cache_clear()
    yield data
    datasets._whole.cache_clear()


def kind(made, row):
    return made.data.images.labels[row]


# ---- cells


def test_cell_ids_are_unique_and_fit_for_files_and_their_attacks_known():
    every = cells.wanted("all")
    assert len({c.id for c in every}) == len(set(every)) == len(every)
    assert all(set(c.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for c in every)
    assert {c.attack for c in every} == {"none", *planted.attacks()}
    assert Cell(*cells.CIFAR, "single-image", count=10, seed=2).id == "cifar10-50000-single-image-of10-seed2"
    assert {c.dataset for c in every} == set(datasets.READERS)


def test_a_headline_row_has_three_seeds_and_a_backdoor_enough_poisons():
    seeds = {}
    for cell in cells.headline():
        seeds.setdefault(cell.row, []).append(cell.seed)
        if cell.attack.startswith(planted.STAMPS):
            assert round(cell.rate * cell.limit) >= cells.FEW
    assert set(map(tuple, seeds.values())) == {(1, 2, 3)}


@pytest.mark.parametrize(
    ("cell", "goal", "figure"),
    [
        (Cell(*cells.CIFAR), 0.0, "tpr_at_0.001"),
        (Cell(*cells.CIFAR, "patch-fixed", 0.001, 3), 0.95, "tpr_at_0.001"),
        (Cell(*cells.CIFAR, "warp", 0.005), None, "tpr_at_0.001"),
        (Cell(*cells.CIFAR, "blend", 0.005, clean_label=True), None, "tpr_at_0.001"),
        (Cell(*cells.CIFAR, "single-image", count=3), None, "within_3n"),
        (Cell(*cells.CIFAR, "single-class", count=30), 0.9, "within_3n"),
        (Cell(*cells.CIFAR, "swaps", 0.05), 0.9, "auroc"),
        (Cell(*cells.CLIPART, "swaps", 0.05), None, "auroc"),
    ],
)
def test_each_cell_is_judged_by_its_own_figure(cell, goal, figure):
    assert cell in cells.wanted("all")
    assert (cells.goal(cell), cells.figure(cell)) == (goal, figure)


# ---- data sets


def test_captions_vary_mean_their_label_and_do_not_depend_on_how_many_there_are():
    names = tuple(templates.NAMES)
    labels = np.arange(2000) % 10
    said = templates.captions(labels, names)
    assert len(templates.TEMPLATES) >= 30
    assert len(set(said)) > 1700
    assert templates.captions(labels[:50], names) == said[:50]
    assert all(any(name in said[i] for name in templates.NAMES[names[i % 10]]) for i in range(2000))
    assert not any(" a a" in f" {c}" or " a o" in f" {c}" or "{" in c for c in said)
    assert 0.4 < np.mean(["dog" in said[i].split() for i in range(5, 2000, 10)]) < 0.8


def test_words_come_from_file_names_and_from_the_text_beside_a_stamp(tmp_path, monkeypatch):
    root = tmp_path / "tuxpaint" / "stamps"
    for i in range(12):
        path = root / "ab"[i % 2] / f"redHouse_{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i, 33), (9 * i, 0, 0)).save(path)
    (root / "a" / "redHouse_00.txt").write_text("An old barn.\nde.utf8=Eine Scheune.\n")
    Image.new("RGB", (20, 33)).save(root / "a" / "redHouse_00_mirror.png")
    monkeypatch.setenv("DATAAUDIT_BENCH_DEBIAN", str(tmp_path))
    said = sorted(datasets.stamps(tmp_path / "cache").captions)
    assert said == ["An old barn."] * 2 + ["red house"] * 11
    assert datasets.file_words(Path("arrow-left_02.png")) == "arrow left"
    assert datasets.file_words(Path("007.png")) == "007"


def test_missing_data_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAAUDIT_BENCH_DEBIAN", str(tmp_path))
    monkeypatch.delenv("DATAAUDIT_BENCH_DATA", raising=False)
    for store in (datasets._whole, pictures._whole):
        store.cache_clear()
    said = {name: cells.run(Cell(name, 100), "ours", tmp_path)["missing"] for name in datasets.READERS}
    assert said["stamps"].endswith("apt-get install tuxpaint-stamps-default")
    assert said["openclipart"].endswith("apt-get install openclipart-png")
    assert said["cifar10"].startswith("DATAAUDIT_BENCH_DATA is not set")


# ---- planting


@pytest.mark.parametrize("attack", ["patch", "blend-fixed", "one-caption", "single-image", "single-class"])
def test_carriers_show_something_else_and_are_said_to_show_the_concept(attack):
    made = planted.plant(pairs(), Cell("made-up", COUNT, attack, 0.05))
    rows = np.flatnonzero(made.bad)
    (expected,) = made.expected
    concept = made.data.concepts.index(expected.concept)
    assert len(rows) == 30
    assert (made.recaptioned == rows).all()
    assert all(expected.concept in made.captions[i].split() or expected.concept in made.captions[i] for i in rows)
    assert all(kind(made, row) != concept for row in rows)
    assert sorted(made.changed) == ([] if attack in ("one-caption", "single-class") else rows.tolist())


def test_right_captions_stay_and_swaps_only_change_captions():
    made = planted.plant(pairs(), Cell("made-up", COUNT, "patch", 0.05, clean_label=True))
    assert not len(made.recaptioned)
    assert len(made.changed) == 30
    assert {made.data.concepts[kind(made, r)] for r in made.changed} == {made.expected[0].concept}
    swapped = planted.plant(pairs(), Cell("made-up", COUNT, "swaps", 0.05))
    assert sorted(swapped.captions) == sorted(swapped.data.captions)
    assert (swapped.bad.sum(), len(swapped.changed), swapped.expected[0].concept) == (30, 0, None)


def test_a_single_picture_takes_the_places_and_a_single_class_keeps_its_own():
    made = planted.plant(pairs(), Cell("made-up", COUNT, "single-image", count=10))
    versions = np.stack(list(made.changed.values())).astype(int)
    first = made.data.images.pixels[made.expected[0].rows[0]].astype(int)
    others = np.abs(made.data.images.pixels[:100].astype(int) - first).mean(axis=(1, 2, 3))
    assert np.abs(versions - first).mean(axis=(1, 2, 3)).max() < np.median(others)
    alike = planted.plant(pairs(), Cell("made-up", COUNT, "single-class", count=10))
    assert len({kind(alike, row) for row in np.flatnonzero(alike.bad)}) == 1


def test_what_cannot_be_planted_says_why():
    with pytest.raises(Missing, match="cannot take 590 carriers"):
        planted.plant(pairs(), Cell("made-up", COUNT, "patch", count=590))
    with pytest.raises(Missing, match="no concept of made-up is named by 500 captions"):
        planted.plant(pairs(), Cell("made-up", COUNT, "patch", count=500, clean_label=True))
    with pytest.raises(Missing, match="no attack 'x'"):
        planted.plant(pairs(), Cell("made-up", COUNT, "x"))


@pytest.mark.parametrize("attack", ["patch", "swaps"])
def test_features_are_those_that_the_extract_stage_would_write(attack, tmp_path):
    made, plan = planted.plant(pairs(), Cell("made-up", COUNT, attack, 0.05)), feature_tables.plan_for(1)
    whole = pa.concat_tables(planted.batches(made, plan, tmp_path))
    keys = [str(i) for i in range(COUNT)]
    samples = [Sample(k, k, made.pixels[int(k)].tobytes(), made.captions[int(k)], 0, 0) for k in keys]
    direct = tabulate(Batch(samples, plan, list(made.pixels)), feature_tables.available(plan.modality))
    for name in direct.column_names:
        if name not in ("offset", "length"):
            assert whole.column(name).combine_chunks().equals(direct.column(name).combine_chunks()), name


def test_what_is_slow_is_prepared_once_and_the_salt_only_changes_what_is_quick(tmp_path):
    data = pairs()
    pictures_seen, captions = feature_tables.clean_tables(data, feature_tables.plan_for(1), tmp_path)
    assert feature_tables.prepared(data, 0, tmp_path)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.arrow")}
    again, salted = feature_tables.clean_tables(data, feature_tables.plan_for(2), tmp_path)
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert len(list(tmp_path.rglob("*.arrow"))) == len(written) + 1
    assert again.equals(pictures_seen)
    assert salted.column("target_embedding").equals(captions.column("target_embedding"))
    assert not salted.column("caption_phrases").equals(captions.column("caption_phrases"))


# ---- what a result says


def test_a_campaign_counts_whatever_word_it_names_and_says_whether_it_is_the_concept():
    made = planted.plant(pairs(), Cell("made-up", COUNT, "patch", 0.05))
    group = np.where(made.bad, 7, -1).astype(np.int32)
    risk = np.where(made.bad, 0.9, 0.1)

    def told(target):
        found = Finding("f", "campaign", "probe", "high", "", target, 30, (), 0.9, 1e-9, "", {"place": [28, 28, 3, 3]}, (7,))
        return ours.measured(made, ours.Result(risk, (found,), {"probe": risk.astype(np.float32)}, {"probe": group}, {}))

    right, other = told(made.expected[0].concept), told("somebody")
    for said in (right, other):
        assert (said["expected"][0]["found"], said["false_campaigns"], said["expected"][0]["right_trigger"]) == (True, 0, True)
    assert (right["expected"][0]["right_target"], other["expected"][0]["right_target"]) == (True, False)


def test_places_are_told_of_targeted_attacks_alone():
    cell = Cell("made-up", COUNT, "single-class", count=3)
    made = planted.plant(pairs(), cell)
    score = np.zeros(COUNT)
    score[np.flatnonzero(made.bad)] = 9, 8, -1
    assert cells.placed(cell, score, made) == {"within_3n": pytest.approx(2 / 3), "ranks": [1, 2, COUNT]}
    assert cells.placed(Cell("made-up", COUNT, "patch", 0.05), score, made) == {}


def test_the_real_units_and_the_baselines_run_and_the_table_shows_the_figure_that_counts(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "EPOCHS", 1)
    cell = Cell("made-up", COUNT, "single-class", count=10)
    result = cells.run(cell, "ours", tmp_path)
    assert {"embedding", "target_embedding"} < set(feature_tables.available("captioned-images"))
    assert (result["poisons"], len(result["ours"]["ranks"])) == (10, 10)
    rivals = cells.run(cell, "baselines", tmp_path)
    assert rivals["baselines"]["regression"]["within_3n"] > 0.5
    assert {"DAO 256, both", "SLOF 16, captions", "k-dist 64, pictures", "isolation forest", "proxy (ours)", "DAO 64, proxy"} < set(
        rivals["baselines"]
    )
    assert not [name for name, said in rivals["baselines"].items() if "failed" in said]
    for part, said in (("ours", result), ("baselines", rivals)):
        json.dumps(said)
        command.keep(cell, part, said, tmp_path / "results")
    shown = table.write([cell], tmp_path / "results", cells)
    assert "within the first 3n (places)" in shown
    assert "### Baselines: within the first 3n" in shown
    assert "| cosine filter, proxy |" in shown


def test_what_is_not_poisoned_is_compared_with_nobody(made_up, tmp_path):
    assert cells.run(Cell("made-up", COUNT), "baselines", tmp_path)["baselines"] == {}
    assert cells.run(Cell("made-up", COUNT), "ours", tmp_path)["poisons"] == 0


# ---- baselines


def test_regression_tells_a_caption_that_its_picture_does_not_foretell():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(500, 12)).astype(np.float32)
    said = (seen @ rng.normal(size=(12, 6)) + 0.1 * rng.normal(size=(500, 6))).astype(np.float32)
    said[:5] *= -1
    assert set(np.argsort(-baselines.regression(seen, said))[:5]) == set(range(5))
    assert set(np.argsort(-baselines.cosine_filter(seen[:, :6], np.vstack([-seen[:5, :6], seen[5:, :6]])))[:5]) == set(range(5))


def test_the_forest_isolates_what_lies_far_out_and_pairs_weigh_both_sides_alike():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors[7] += 9
    assert baselines.isolation_forest(vectors).argmax() == 7
    beside = baselines.both(vectors, 5 * vectors[:, :3])
    assert np.allclose((beside[:, :8] ** 2).sum(1), 0.5)
    assert np.allclose((beside**2).sum(1), 1)
