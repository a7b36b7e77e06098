"""Plantings take the samples that they say, relabel the carriers and nothing else."""

from collections.abc import Callable

import numpy as np
import pytest

from dataaudit.attacks.copies import near_duplicates
from dataaudit.attacks.planting import (
    Planting,
    all_to_all,
    clean_label,
    dirty_label,
    flood,
    random_flips,
    source_specific,
    targeted_flips,
    with_cover,
)

LABELS = np.random.default_rng(0).permutation(np.arange(10).repeat(30))
PLANTINGS: dict[str, Callable[[int, int], Planting]] = {
    "dirty label": lambda count, seed: dirty_label(LABELS, 3, count, seed),
    "clean label": lambda count, seed: clean_label(LABELS, 3, count, seed),
    "all to all": lambda count, seed: all_to_all(LABELS, count, seed),
    "source specific": lambda count, seed: source_specific(LABELS, 1, 3, count, count, seed),
    "with cover": lambda count, seed: with_cover(dirty_label(LABELS, 3, count, seed), LABELS, count, seed),
    "random flips": lambda count, seed: random_flips(LABELS, count, seed),
    "targeted flips": lambda count, seed: targeted_flips(LABELS, 1, 3, count, seed),
    "flood": lambda count, seed: flood(LABELS, 3, count, seed),
}


@pytest.mark.parametrize("plant", PLANTINGS.values(), ids=PLANTINGS.keys())
def test_every_planting_is_a_set_of_rows_with_a_label_each(plant: Callable[[int, int], Planting]) -> None:
    planting = plant(20, 5)
    taken = np.concatenate([planting.rows, planting.cover])
    assert len(planting.rows) == len(planting.labels) == 20
    assert len(set(taken)) == len(taken), "no row is taken twice, and no carrier is cover"
    assert planting.labels.dtype == LABELS.dtype
    assert set(planting.labels) <= set(LABELS)


@pytest.mark.parametrize("plant", PLANTINGS.values(), ids=PLANTINGS.keys())
def test_only_the_carriers_are_relabelled(plant: Callable[[int, int], Planting]) -> None:
    planting, before = plant(20, 5), LABELS.copy()
    after = planting.relabelled(LABELS)
    untouched = np.setdiff1d(np.arange(300), planting.rows)
    assert (after[planting.rows] == planting.labels).all()
    assert (after[untouched] == LABELS[untouched]).all(), "the cover keeps its labels, as does everything else"
    assert (before == LABELS).all(), "the original must stay as it is"


@pytest.mark.parametrize("plant", PLANTINGS.values(), ids=PLANTINGS.keys())
def test_the_seed_decides_and_few_carriers_are_the_first_of_many(plant: Callable[[int, int], Planting]) -> None:
    few, many = plant(5, 1), plant(25, 1)
    assert (few.rows == many.rows[:5]).all()
    assert (few.labels == many.labels[:5]).all()
    assert (many.rows == plant(25, 1).rows).all()
    assert (many.cover == plant(25, 1).cover).all()
    assert (many.rows != plant(25, 2).rows).any()
    assert len(plant(0, 1).rows) == 0


def test_dirty_carriers_had_other_labels_and_clean_ones_had_the_target() -> None:
    dirty, clean = dirty_label(LABELS, 3, 50), clean_label(LABELS, 3, 30)
    assert 3 not in LABELS[dirty.rows]
    assert (LABELS[clean.rows] == 3).all()
    assert set(dirty.labels) == set(clean.labels) == {3}
    assert (clean.relabelled(LABELS) == LABELS).all()


def test_all_to_all_moves_every_label_on_by_one_and_the_last_to_the_first() -> None:
    planting = all_to_all(LABELS, 300)
    was = LABELS[planting.rows]
    assert (planting.labels[was < 9] == was[was < 9] + 1).all()
    assert (planting.labels[was == 9] == 0).all()
    assert all_to_all(np.array([0, 1]), 2, classes=5).labels.max() == 2
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.4 for 5 classes, found 9"):
        all_to_all(LABELS, 3, classes=5)


def test_a_source_specific_trigger_works_on_its_source_and_is_shown_on_the_rest() -> None:
    planting = source_specific(LABELS, source=1, target=3, count=20, cover=40)
    assert (LABELS[planting.rows] == 1).all()
    assert (planting.labels == 3).all()
    assert len(planting.cover) == 40
    assert not {1, 3} & set(LABELS[planting.cover])


def test_cover_adds_to_a_planting_and_comes_from_outside_it() -> None:
    planting = source_specific(LABELS, 1, 3, 20, 40)
    covered = with_cover(planting, LABELS, 60)
    assert (covered.rows == planting.rows).all()
    assert (covered.cover[:40] == planting.cover).all()
    assert len(np.unique(np.concatenate([covered.rows, covered.cover]))) == 120


def test_flips_are_always_to_another_label() -> None:
    planting = random_flips(LABELS, 300)
    assert (planting.labels != LABELS[planting.rows]).all()
    assert set(planting.labels) == set(LABELS)
    odd = np.array([3, 70, 70, 500])
    assert set(random_flips(odd, 4).labels) <= {3, 70, 500}, "labels need not be consecutive, and none is invented"
    targeted = targeted_flips(LABELS, 1, 3, 10)
    assert set(LABELS[targeted.rows]) == {1}
    assert set(targeted.labels) == {3}


def test_a_flood_fills_its_rows_with_copies_of_the_first() -> None:
    images = np.random.default_rng(1).integers(0, 256, (300, 4, 4, 3), np.uint8).repeat(7, axis=1).repeat(7, axis=2)
    planting = flood(LABELS, 3, 12)
    source = images[planting.rows[0]].copy()
    images[planting.rows] = near_duplicates(source, 12)
    assert LABELS[planting.rows[0]] != 3, "the copied image is no picture of the target"
    near = abs(images.astype(int) - source).mean(axis=(1, 2, 3)) < 25
    assert sorted(np.flatnonzero(near)) == sorted(planting.rows)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda: dirty_label(LABELS, 3, 271), "cannot take 271 carriers: there are 270 samples with a label other than 3"),
        (lambda: clean_label(LABELS, 3, 31), "cannot take 31 carriers: there are 30 samples with label 3"),
        (lambda: all_to_all(LABELS, 301), "cannot take 301 carriers: there are 300 samples in the data set"),
        (lambda: source_specific(LABELS, 1, 3, 31, 0), "cannot take 31 carriers: there are 30 samples with label 1"),
        (
            lambda: source_specific(LABELS, 1, 3, 0, 241),
            "cannot take 241 cover samples: there are 240 samples with a label other than 1 and 3",
        ),
        (lambda: with_cover(dirty_label(LABELS, 3, 200), LABELS, 101), "cannot take 101 cover samples: there are 100 samples outside"),
        (lambda: random_flips(LABELS, 301), "cannot take 301 carriers: there are 300 samples in the data set"),
        (lambda: targeted_flips(LABELS, 1, 3, -1), "cannot take -1 carriers: there are 30 samples with label 1"),
        (lambda: flood(LABELS, 3, 271), "cannot take 271 carriers: there are 270 samples"),
        (lambda: targeted_flips(LABELS, 3, 3, 5), "source and target are both 3"),
        (lambda: random_flips(np.zeros(9, int), 1), "need at least 2 labels, found 1"),
    ],
)
def test_what_cannot_be_planted_is_refused_with_both_numbers(plant: Callable[[], Planting], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plant()
