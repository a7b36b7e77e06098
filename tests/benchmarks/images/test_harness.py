"""The image benchmark's own arithmetic, on a few hundred made-up pictures and vectors; no encoder, no data set."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataaudit.features import embedding
from dataaudit.model import Finding
from tests.benchmarks import command, ours, suite, table
from tests.benchmarks.images import cells, datasets, feature_tables, planted, triggers
from tests.benchmarks.images.datasets import Images
from tests.benchmarks.suite import Cell, Missing

COUNT, LABELS = 600, 3


def pictures(count: int = COUNT, seed: int = 0) -> Images:
    """Smooth pictures whose colour tells their label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, LABELS, count)
    coarse = rng.integers(60, 140, (count, 4, 4, 3))
    coarse[np.arange(count), :, :, labels] += 60
    pixels = np.stack([np.asarray(Image.fromarray(c.astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse])
    return Images("made-up", pixels, labels, ("red", "green", "blue"), "1")


@pytest.fixture(autouse=True)
def colour_vectors(monkeypatch):
    """In place of the encoder: the vector of a picture is its coarse colours."""

    def vectors(self, batch):
        small = [np.asarray(Image.fromarray(i).resize((3, 3), Image.Resampling.BOX), np.float32).ravel() for i in batch.images]
        return np.stack(small) - 110

    monkeypatch.setattr(embedding.Embedding, "vectors", vectors)


@pytest.fixture
def made_up(monkeypatch):
    images = pictures()
    monkeypatch.setitem(datasets.READERS, "made-up", lambda cache: images)
    datasets._whole.cache_clear()
    yield images
    datasets._whole.cache_clear()


def finding(groups, target="green", kind="campaign", **evidence):
    return Finding("f", kind, "probe", "high", "", target, 1, (), 0.9, 1e-9, "", evidence, tuple(groups))


def said(group, findings, risk=None):
    group = np.asarray(group, np.int32)
    risk = np.where(group >= 0, 0.9, 0.1) if risk is None else risk
    return ours.Result(risk, tuple(findings), {"probe": risk.astype(np.float32)}, {"probe": group}, {})


# ---- cells


def test_cell_ids_are_unique_stable_and_fit_for_files():
    every = cells.wanted("all")
    assert len({c.id for c in every}) == len(set(every)) == len(every)
    assert all(set(c.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for c in every)
    assert Cell("cifar10", 50_000, "patch", 0.003, 2, clean_label=True).id == "cifar10-50000-patch-0.003-clean-seed2"
    assert Cell("openclipart", 8_103, seed=3, noise=0.1).id == "openclipart-08103-none-noise0.1-seed3"


def test_the_headline_has_three_seeds_of_every_row_and_the_baselines_one():
    seeds = {}
    for cell in cells.headline():
        seeds.setdefault(cell.row, []).append(cell.seed)
    assert set(map(tuple, seeds.values())) == {(1, 2, 3)}
    assert [c for c in cells.headline() if c.seed == 1] == cells.wanted("baselines")
    assert set(cells.VICTIMS) < set(cells.wanted("baselines"))


def test_every_cell_has_an_attack_that_is_known():
    assert {c.attack for c in cells.wanted("all")} <= set(planted.attacks())


# ---- planting


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.001, 10), (0.003, 10), (0.05, 30)])
def test_rates_are_shares_of_the_whole_and_at_least_ten(rate, count):
    assert suite.poisons(rate, COUNT) == count


@pytest.mark.parametrize("clean", [False, True])
def test_a_patch_changes_its_rows_and_only_dirty_ones_change_their_label(clean):
    images = pictures()
    made = planted.plant(images, Cell("made-up", COUNT, "patch", 0.05, 1, clean))
    rows = np.flatnonzero(made.bad)
    assert len(rows) == 30 == len(made.changed)
    assert sorted(made.changed) == rows.tolist()
    (expected,) = made.expected
    assert set(np.array(made.targets)[rows]) == {expected.target}
    assert bool((made.labels == images.labels).all()) == clean
    assert ((made.labels == images.labels) | made.bad).all()
    assert triggers.box(expected.change) == (28, 28, 3, 3)
    assert cells.facts(made)["share"] == 0.05
    assert cells.facts(made)["share_of_label"] == pytest.approx(30 / (made.labels == made.labels[rows[0]]).sum())


def test_the_seed_draws_the_target_and_the_pattern():
    images = pictures()
    made = [planted.plant(images, Cell("made-up", COUNT, "blend", 0.05, seed)) for seed in (1, 2, 3, 4)]
    assert len({m.expected[0].target for m in made}) > 1
    again = planted.plant(images, Cell("made-up", COUNT, "blend", 0.05, 1))
    assert all((again.changed[r] == made[0].changed[r]).all() for r in made[0].changed)
    noise = [m.expected[0].change - m.expected[0].change.mean() for m in made[:2]]
    assert abs((noise[0] * noise[1]).sum() / np.sqrt((noise[0] ** 2).sum() * (noise[1] ** 2).sum())) < 0.5


def test_covers_are_stamped_but_neither_bad_nor_relabelled():
    images = pictures()
    made = planted.plant(images, Cell("made-up", COUNT, "warp-cover", 0.02, 1))
    assert (made.bad.sum(), made.cover.sum(), len(made.changed)) == (12, 24, 36)
    assert not (made.bad & made.cover).any()
    assert (made.labels[made.cover] == images.labels[made.cover]).all()


def test_three_campaigns_are_apart_and_label_noise_is_expected_as_labels():
    images = pictures(1200)
    eight = Images("made-up", images.pixels, np.arange(1200) % 10, tuple("abcdefghij"), "1")
    made = planted.plant(eight, Cell("made-up", 1200, "three", 0.003, 1))
    assert [(e.attack, e.target, len(e.rows)) for e in made.expected] == [("patch", "a", 10), ("blend", "d", 10), ("warp", "h", 10)]
    assert made.bad.sum() == 30
    noisy = planted.plant(images, Cell("made-up", 1200, noise=0.1))
    assert not noisy.bad.any()
    assert (noisy.labels != images.labels).sum() == 120 == len(noisy.expected[0].rows)


def test_what_cannot_be_planted_says_why():
    with pytest.raises(Missing, match="too slow: 500 images"):
        planted.plant(pictures(), Cell("made-up", COUNT, "hidden-trigger", 500 / COUNT))
    with pytest.raises(Missing, match="no label has"):
        planted.plant(pictures(100), Cell("made-up", 100, "patch", 0.4, clean_label=True))
    with pytest.raises(Missing, match="no attack 'x'"):
        planted.plant(pictures(100), Cell("made-up", 100, "x"))


def test_features_of_changed_rows_are_new_and_those_of_others_are_reused(tmp_path):
    images, plan = pictures(), feature_tables.plan_for(1)
    made = planted.plant(images, Cell("made-up", COUNT, "patch", 0.05, 1))
    clean = feature_tables.clean_table(images, tmp_path)
    whole = pa.concat_tables(planted.batches(made, clean, plan))
    direct = feature_tables.tabulated(list(made.pixels), plan)
    for name in ("digest", "thumbnail", "phash", "embedding"):
        assert whole.column(name).combine_chunks().equals(direct.column(name).combine_chunks()), name
    assert whole.column("target").to_pylist() == made.targets
    assert len(set(whole.column("rank").to_pylist())) == COUNT
    assert feature_tables.clean_table(images, tmp_path).equals(clean)


# ---- data sets


def test_a_smaller_part_lies_within_a_larger_one(made_up, tmp_path):
    small, large = datasets.load("made-up", 50, tmp_path), datasets.load("made-up", 100, tmp_path)
    assert (small.pixels == large.pixels[:50]).all()
    assert sorted(datasets.shuffled(20)) == list(range(20))


def test_cifar_is_read_from_tars_whatever_lies_between(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    with tarfile.open(tmp_path / "cifar10" / "train-0.tar", "w") as tar:
        for i in range(5):
            encoded = io.BytesIO()
            Image.new("RGB", (32, 32), (40 * i, 0, 0)).save(encoded, "JPEG", quality=100)
            for name, content in ((f"k{i}.cls", str(i).encode()), (f"k{i}.jpg", encoded.getvalue())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("DATAAUDIT_BENCH_DATA", str(tmp_path))
    images = datasets.cifar10(tmp_path / "cache")
    assert [round(float(p[..., 0].mean()) / 40) for p in images.pixels] == images.labels.tolist()


def test_clipart_of_any_size_is_labelled_by_its_directory_and_recompressed_after_a_trigger(tmp_path, monkeypatch):
    for i in range(140):
        path = tmp_path / "openclipart" / "png" / "ab"[i % 2] / "deeper" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA" if i % 3 else "P", (20 + i, 33), i).save(path)
    (tmp_path / "openclipart" / "png" / "a" / "broken.png").write_bytes(b"no picture")
    monkeypatch.setenv("DATAAUDIT_BENCH_DEBIAN", str(tmp_path))
    images = datasets.openclipart_jpeg(tmp_path / "cache")
    assert (len(images.labels), images.names, images.jpeg) == (140, ("a", "b"), True)
    made = planted.plant(images, Cell("openclipart-jpeg", 140, "patch", 0.0715))
    assert len(made.changed) == 10
    row, shown = next(iter(made.changed.items()))
    assert shown.shape == images.pixels[row].shape
    assert (shown == datasets.recompress(planted.attacks()["patch"].sized.apply(images.pixels[row]))).all()


# ---- what a result says


def test_a_campaign_counts_with_the_right_label_and_half_of_its_carriers():
    made = planted.plant(pictures(), Cell("made-up", COUNT, "patch", 0.05, 1))
    target, rows = made.expected[0].target, np.flatnonzero(made.bad)
    group = np.full(COUNT, -1)
    group[rows[:15]] = 7
    right = finding([7], target, place=[28, 28, 3, 3])
    hit = ours.measured(made, said(group, [right]))
    assert hit["expected"][0] | {"picture_cosine": None} == {
        "attack": "patch",
        "target": target,
        "carriers": 30,
        "found": True,
        "recall": 0.5,
        "precision": 1.0,
        "findings": 1,
        "kind": "campaign",
        "right_trigger": True,
        "picture_cosine": None,
    }
    assert (hit["campaigns"], hit["false_campaigns"], hit["flagged"], hit["flagged_clean"]) == (1, 0, 15, 0)
    assert hit["auroc"] == 0.75
    assert hit["tpr_at_0.001"] == 0.5
    wrong = ours.measured(made, said(group, [replace(right, target="other")]))
    assert (wrong["expected"][0]["found"], wrong["false_campaigns"]) == (False, 0)
    group[rows[14]] = -1
    assert not ours.measured(made, said(group, [right]))["expected"][0]["found"]


def test_a_campaign_of_innocents_is_false_and_covers_count_for_neither_side():
    made = planted.plant(pictures(), Cell("made-up", COUNT, "warp-cover", 0.02, 1))
    innocent = np.flatnonzero(~made.bad & ~made.cover)[:5]
    group = np.where(made.bad | made.cover, 1, -1)
    group[innocent] = 2
    own = ours.measured(made, said(group, [finding([1], made.expected[0].target), finding([2])]))
    assert (own["campaigns"], own["false_campaigns"], own["flagged_clean"]) == (2, 1, 5)
    assert own["expected"][0]["precision"] == 1.0
    assert own["auroc"] == pytest.approx(1 - 5 / 564 / 2)


def test_a_place_elsewhere_is_the_wrong_trigger_and_none_is_neither():
    (expected,) = planted.plant(pictures(), Cell("made-up", COUNT, "patch", 0.05, 1)).expected
    assert triggers.right_trigger(finding([1], place=[0, 0, 3, 3]), expected) is False
    assert triggers.right_trigger(finding([1]), expected) is None
    (everywhere,) = planted.plant(pictures(), Cell("made-up", COUNT, "blend", 0.05, 1)).expected
    assert triggers.right_trigger(finding([1], place=[0, 0, 3, 3]), everywhere) is False


def test_flips_are_found_by_label_findings_and_noise_is_ranked_where_there_is_no_poison():
    made = planted.plant(pictures(), Cell("made-up", COUNT, "flips", 0.05, 1))
    labels = finding([0], "", "label")
    own = ours.measured(made, said(np.where(made.bad, 0, -1), [labels]))
    assert own["expected"][0]["found"]
    assert own["campaigns"] == 0
    noisy = planted.plant(pictures(), Cell("made-up", COUNT, noise=0.1))
    group = np.full(COUNT, -1)
    group[noisy.expected[0].rows] = 0
    assert ours.measured(noisy, said(group, [labels]))["auroc"] == 1.0
    assert ours.measured(planted.plant(pictures(), Cell("made-up", COUNT)), said(group, []))["auroc"] is None


def test_the_real_units_find_a_patch_and_the_time_of_each_is_told(made_up, tmp_path):
    result = cells.run(Cell("made-up", COUNT, "patch", 0.05, 1), "ours", tmp_path)
    json.dumps(result)
    own = result["ours"]
    assert result["poisons"] == 30
    assert own["auroc"] > 0.9
    assert {"moments", "pixel_trigger (score)", "judge"} <= set(own["seconds"]["units"])
    assert set(own["detectors"]) >= {"pixel_trigger", "label_consistency", "near_duplicate"}


# ---- the command and the table


def test_missing_data_is_printed_as_missing_and_not_as_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DATAAUDIT_BENCH_DATA", raising=False)
    cell = Cell("cifar10", 50_000, "patch", 0.01)
    result = cells.run(cell, "ours", tmp_path)
    assert result["missing"].startswith("DATAAUDIT_BENCH_DATA is not set")
    command.keep(cell, "ours", result, tmp_path)
    assert command.figures(result).startswith("missing: DATAAUDIT")
    assert "| cifar10-50000-patch-0.01-seed1 | DATAAUDIT_BENCH_DATA is not set" in table.write([cell], tmp_path, cells)
    assert pq.read_table(tmp_path / "cells.parquet").column("missing").to_pylist() == [result["missing"]]
    assert command.main(["--table", "--only", "warp-0.01-seed2", "--results", str(tmp_path / "none")], cells) == 0
    assert "| cifar10-50000-warp-0.01-seed2 | not run |" in capsys.readouterr().out


def kept(tmp_path, cell, tpr, **more):
    expected = [{"found": tpr > 0.5, "right_trigger": None}]
    own = {"auroc": 0.9, "tpr_at_0.001": tpr, "tpr_at_0.01": tpr, "precision_at_n": tpr, "expected": expected, "campaigns": 1}
    own |= {"false_campaigns": 0, "flagged": 9, "flagged_clean": 2, "flagged_clean_share": 0.0004, "precision": 0.8, "recall": 0.9}
    planting = {"poisons": 500, "share": 0.01, "share_of_label": 0.09}
    result = cells.about(cell) | planting | {"ours": own | {"seconds": {"ours": 60.0}}} | more
    command.keep(cell, "ours", result, tmp_path)
    return result


def test_the_table_shows_medians_ranges_goals_losses_first_and_what_is_missing(tmp_path):
    goal, bad, good = Cell("cifar10", 50_000, "sig", 0.01), Cell("cifar10", 10_000, "smooth", 0.01), Cell("cifar10", 10_000, "filter", 0.01)
    for seed, tpr in ((1, 0.98), (2, 0.9), (3, 1.0)):
        kept(tmp_path, replace(goal, seed=seed), tpr, baselines={"SLOF": {"tpr_at_0.001": tpr / 2}, "DAO": {"failed": "ValueError: no"}})
    kept(tmp_path, bad, 0.25)
    kept(tmp_path, good, 0.75)
    wanted = [*(replace(goal, seed=s) for s in (1, 2, 3)), good, bad, Cell("cifar10", 10_000, "warp", 0.01)]
    shown = table.write(wanted, tmp_path, cells)
    assert "Cells with a stated goal: 1 of 1 met" in shown
    assert "| 500 (1 %, 9 %) | 1, 2, 3 | 0.900 (0.900-0.900) | 0.980 (0.900-1.000) |" in shown
    assert "0.490 (SLOF) | >= 0.95: met |" in shown
    assert shown.index("smooth-0.01") < shown.index("filter-0.01") < shown.index("### Missing: 1 cells")
    assert "| cifar10-10000-warp-0.01-seed1 | not run |" in shown
    flat = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert [r["missing"] for r in flat if r["method"] == "DAO"] == ["ValueError: no"] * 3
    assert sum(r["method"] == "ours" for r in flat) == 6


def test_results_of_other_code_are_run_again_and_shown_when_asked_for(tmp_path):
    cell = Cell("cifar10", 10_000, "warp", 0.01)
    asked = command.arguments(["--results", str(tmp_path), "--baselines"], "images")
    kept(tmp_path, cell, 0.7, baselines={}, baselines_code=cells.baselines_code())
    assert list(command.todo([cell], asked, cells)) == []
    kept(tmp_path, cell, 0.7, code="older")
    assert list(command.todo([cell], asked, cells)) == [(cell, "ours")]
    assert "run with other code only" in table.write([cell], tmp_path, cells)
    assert "0.700" in table.write([cell], tmp_path, cells, stale=True)


def test_seeds_nobody_has_looked_at_make_the_same_cells_anew():
    asked = command.arguments(["--seeds", "7", "8"], "images")
    again = command.chosen(asked, cells)
    assert [replace(c, seed=1) for c in again if c.seed == 7] == [c for c in cells.headline() if c.seed == 1]
    assert {c.seed for c in again} == {7, 8}


def test_baselines_are_added_beside_ours_and_one_that_fails_hides_nothing(made_up, tmp_path, monkeypatch):
    baselines = pytest.importorskip("tests.benchmarks.images.baselines")
    monkeypatch.setattr(baselines, "k_dist", lambda graph: 1 / 0)
    monkeypatch.setattr(baselines, "simulated_triggers", lambda pixels: np.arange(len(pixels)))
    cell = Cell("made-up", COUNT, "patch", 0.05, 1)
    monkeypatch.setattr(cells, "VICTIMS", (cell,))
    victim = pytest.importorskip("tests.benchmarks.images.victim")
    monkeypatch.setattr(victim, "train", lambda pixels, labels: victim.Victim(pixels.reshape(len(pixels), -1)[:, :99], labels, 1.0))
    own = kept(tmp_path, cell, 0.7, code="older")
    command.keep(cell, "baselines", cells.run(cell, "baselines", tmp_path), tmp_path)
    result = table.read(cell, tmp_path)
    assert (result["ours"], result["code"]) == (own["ours"], "older")
    assert result["baselines"]["k-dist"]["failed"].startswith("ZeroDivisionError")
    assert result["baselines"]["SLOF"]["auroc"] is not None
    assert result["baselines"]["spectral signatures, victim"]["auroc"] is not None
    assert (result["baselines"]["victim"]["accuracy"], result["baselines"]["victim"]["learnt"]) == (1.0, 1.0)
    shown = table.write([cell], tmp_path, cells, stale=True)
    assert f"| {cell.row} | 1.000 | 1.000 |" in shown
    assert "victim" not in {r["method"] for r in pq.read_table(tmp_path / "cells.parquet").to_pylist()}
    assert "best baselines" in command.figures({k: v for k, v in result.items() if k != "ours"})


def test_many_baselines_are_lines_and_few_are_columns(tmp_path):
    cell = Cell("cifar10", 10_000, "sig", 0.01)
    kept(tmp_path, cell, 0.5, baselines={f"method {i}": {"tpr_at_0.001": i / 100} for i in range(20)})
    shown = table.write([cell], tmp_path, cells)
    assert "| cell | cifar10-10000-sig-0.01 |" in shown
    assert "| method 7 | 0.070 |" in shown
    kept(tmp_path / "few", cell, 0.5, baselines={"method": {"tpr_at_0.001": 0.07}})
    assert "| cell | ours | method |" in table.write([cell], tmp_path / "few", cells)
