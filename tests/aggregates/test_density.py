"""k-distance, SLOF and DAO: as in the textbook, and at several k."""

import numpy as np
import pytest

from dataaudit.aggregates.density import dao, intrinsic_dimension, measures, scales, slof, strength, surroundings, usual
from tests.aggregates.test_knn import cloud, table_of, view_of


def test_the_measures_against_a_slow_textbook():
    vectors = cloud(60, d=6)
    table = table_of(vectors)
    view = view_of(table)
    fixed = view.vectors / 4096
    k = 5
    apart = [[float(np.linalg.norm(a - b)) for b in fixed] for a in fixed]
    nearest = [sorted((d, j) for j, d in enumerate(row) if j != i)[:k] for i, row in enumerate(apart)]
    k_distance = [hood[-1][0] for hood in nearest]
    lid = [-k / sum(np.log(d / hood[-1][0]) for d, _ in hood) for hood in nearest]
    for i, hood in enumerate(nearest):
        slow_slof = sum(k_distance[i] / k_distance[j] for _, j in hood) / k
        slow_dao = sum(lid[j] * np.log(k_distance[i] / k_distance[j]) for _, j in hood) / k
        got = measures(view.distance[i : i + 1, :k], view.near[i : i + 1, :k], *surroundings(view.distance, (k,)), (k,))[0]
        assert got == pytest.approx([np.log(k_distance[i]), np.log(slow_slof), slow_dao], rel=1e-4, abs=1e-5)


def test_slof_and_dao_of_a_worked_example():
    own, theirs = np.array([2.0]), np.array([[1.0, 2.0]])
    assert slof(own, theirs)[0] == pytest.approx(1.5)
    assert dao(own, theirs, np.array([[3.0, 7.0]]))[0] == pytest.approx(1.5 * np.log(2))


def test_intrinsic_dimension_against_the_formula_and_on_uniform_balls():
    distance = np.sort(np.random.default_rng(0).uniform(0.1, 1, (5, 8)), axis=1).astype(np.float32)
    slow = [-8 / sum(np.log(d / row[-1]) for d in row) for row in distance]
    assert intrinsic_dimension(distance) == pytest.approx(slow, rel=1e-5)
    ball = np.sort(np.random.default_rng(1).uniform(size=(500, 50)) ** (1 / 6), axis=1).astype(np.float32)
    assert np.median(intrinsic_dimension(ball)) == pytest.approx(6, rel=0.1)
    assert intrinsic_dimension(np.full((1, 5), 0.5, np.float32))[0] == 1000


def test_more_neighbours_are_asked_where_there_are_enough():
    assert scales(0) == scales(1) == ()
    assert scales(10) == (9,)
    assert scales(60) == (16,)
    assert scales(600) == (16, 64)
    assert scales(50_000) == (16, 64, 256)


def test_of_a_sample_fewer_neighbours_are_as_many():
    assert scales(50_000, 0.25) == (16, 64)
    assert scales(50_000, 0.01) == (16,)


def test_a_row_is_as_odd_as_it_is_at_its_oddest_k():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(1000, 7))
    middle, spread = usual(known)
    plain, at_one, further = np.zeros((3, 1, 7))
    at_one[0, 3:6] = 8
    further[0, 6] = 8
    assert strength(plain, middle, spread)[0] < 0.5
    assert strength(at_one, middle, spread)[0] == pytest.approx((8 + 8 * 3 / 4) / 2, rel=0.1)
    assert strength(further, middle, spread)[0] == pytest.approx((8 + 8 / 4) / 2, rel=0.1)


def test_where_all_are_alike_nobody_stands_out():
    known = np.ones((50, 3))
    assert not strength(np.full((2, 3), 5.0), *usual(known)).any()
    assert not strength(np.empty((2, 0)), np.empty(0), np.empty(0)).any()
