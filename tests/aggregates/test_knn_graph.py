"""The graph that is built block by block is nearly that of an exact search, and its distances are exact."""

import numpy as np
import pytest

from dataaudit.aggregates.knn_graph import Effort, graph, recall


def clusters(n, d, seed=0):
    """Points around many centres, as embeddings lie."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 50 + 1, d))
    points = centres[rng.integers(0, len(centres), n)] + 0.5 * rng.normal(size=(n, d))
    return np.rint(points / np.linalg.norm(points, axis=1, keepdims=True) * 20_000).astype(np.int16)


def exactly(points, k):
    """Squared distances and positions by brute force; equals by position."""
    wide = points.astype(np.int64)
    squares = np.einsum("nd,nd->n", wide, wide)
    every = squares[:, None] + squares - 2 * wide @ wide.T
    np.fill_diagonal(every, np.iinfo(np.int64).max)
    near = np.argsort(every, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(every, near, axis=1), near


@pytest.mark.parametrize("d", [8, 64, 300])
def test_nearly_all_neighbours_are_found_and_the_recall_says_how_many(d):
    points = clusters(4000, d)
    distance, near = graph(points, 20, Effort(probes=10))
    exact, _ = exactly(points, 20)
    found = (distance <= exact[:, -1:]).mean()
    assert found > 0.9
    assert abs(recall(points, distance, 20) - found) < 0.05
    assert recall(points, exact, 20) == 1
    gap = points[:, None].astype(np.int64) - points[near]
    assert (distance == np.einsum("nkd,nkd->nk", gap, gap)).all()
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (near != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == 20 for row in near.tolist())


def test_with_every_cell_compared_it_is_exact_equals_in_order_of_position():
    points = np.repeat(clusters(400, 16), 3, axis=0)
    distance, near = graph(points, 6, Effort(probes=10**6))
    exact, positions = exactly(points, 6)
    assert (distance == exact).all()
    assert (near == positions).mean() > 0.99


def test_more_effort_finds_more():
    points = clusters(3000, 64, seed=1)
    told = [recall(points, graph(points, 10, Effort(cell=40, probes=p, walks=w))[0], 10) for p, w in ((2, 0), (2, 2), (8, 2))]
    assert told == sorted(told)
    assert told[1] > told[0]


@pytest.mark.parametrize("n", [2, 5, 30])
def test_few_points(n):
    points = clusters(n, 4)
    distance, near = graph(points, n - 1)
    assert (np.sort(near, axis=1) == [[j for j in range(n) if j != i] for i in range(n)]).all()
    assert (distance == exactly(points, n - 1)[0]).all()


def test_a_thousand_equal_points_have_neighbours():
    points = np.ones((1000, 8), np.int16)
    distance, near = graph(points, 5)
    assert (distance == 0).all()
    assert (near >= 0).all()


def test_the_view_tells_its_recall():
    from dataaudit.aggregates.knn import Knn
    from tests.aggregates.test_knn import cloud, table_of, view_of

    table = table_of(cloud(3000, d=8))
    exact, found = view_of(table), view_of(table, Knn(exact=100))
    assert exact.recall == 1
    assert found.recall > 0.95
    assert (exact.near == found.near).mean() > 0.95


def test_distances_are_exact_however_far_apart_points_are():
    points = np.random.default_rng(4).choice(np.array([-32_768, 32_767], np.int16), (300, 40))
    distance, near = graph(points, 20, Effort(probes=4))
    gap = points[:, None].astype(np.int64) - points[near]
    assert np.abs(gap).max() == 65_535
    assert (distance == np.einsum("nkd,nkd->nk", gap, gap)).all()
