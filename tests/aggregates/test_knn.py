"""Nearest neighbours: exact, without the row itself, the same for any sharding."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.knn import Knn, KnnState, KnnView, hamming_neighbours
from dataaudit.aggregates.targets import Targets
from dataaudit.features import embedding
from dataaudit.model import Columns, Plan
from dataaudit.store import records

PLAN = Plan("vectors", Columns(None, "label", None, "vector"), "label", "none", "00" * 16)


def table_of(vectors, labels=None, rank=None):
    n = len(vectors)
    rank = np.random.default_rng(9).permutation(n * 7)[:n] + 1 if rank is None else np.asarray(rank)
    return pa.table(
        {
            "target": pa.array(labels or ["a"] * n, pa.string()),
            "rank": pa.array(rank.astype(np.uint64)),
            "embedding": embedding.to_column(embedding.quantise(np.asarray(vectors, np.float32))),
        }
    )


def views_of(table, **more):
    views = {"plan": PLAN, "moments": SimpleNamespace(projection=np.empty((0, 0), np.float32)), **more}
    return views | {"targets": Targets().finish(Targets().start(table, views), views)}


def view_of(table, knn=None, **more):
    knn = knn or Knn()
    views = views_of(table, **more)
    return knn.finish(knn.start(table, views), views)


def cloud(n=300, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_neighbours_are_those_of_a_slow_search():
    table = table_of(cloud())
    view = view_of(table)
    distance, near = view.neighbours(table, 5)
    fixed = embedding.from_column(table).astype(np.int64)
    rank = np.asarray(table.column("rank"))
    for i in range(0, 300, 37):
        squares = ((fixed - fixed[i]) ** 2).sum(axis=1)
        order = [j for j in np.lexsort((rank, squares)) if j != i][:5]
        assert view.rank[near[i]].tolist() == rank[order].tolist()
        assert distance[i] == pytest.approx(np.sqrt(squares[order]) / 4096, rel=1e-6)


def test_a_row_is_not_its_own_neighbour_but_a_copy_with_another_target_is():
    vectors = cloud(50)
    vectors = np.concatenate([vectors, vectors[:1], vectors[1:2]])
    rank = np.r_[np.arange(1, 51), 60, 2]  # the last is an exact copy of row 1 with the same target
    table = table_of(vectors, rank=rank)
    view = view_of(table)
    distance, near = view.neighbours(table, 3)
    assert len(view.rank) == 51
    assert distance[0, 0] == 0
    assert view.rank[near[0, 0]] == 60
    assert distance[1, 0] > 0
    assert (view.rank[near] != np.asarray(table.column("rank"))[:, None]).all()


def test_samples_beyond_the_references_are_looked_up_among_them():
    table = table_of(cloud(400))
    knn = Knn(references=100)
    view = view_of(table, knn)
    assert len(view.rank) == 100
    distance, near = view.neighbours(table, 4)
    one_by_one = [view.neighbours(table.slice(i, 1), 4) for i in range(0, 400, 23)]
    assert (np.concatenate([d for d, _ in one_by_one]) == distance[::23]).all()
    assert (np.concatenate([i for _, i in one_by_one]) == near[::23]).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 149), max_size=5, unique=True).map(sorted), st.randoms())
def test_any_sharding_any_order_the_same_view(cuts, random):
    vectors = cloud(150, d=80)
    vectors[140:] = vectors[:10]
    table = table_of(vectors, rank=np.r_[np.arange(100, 240), np.arange(100, 110)])
    knn = Knn(references=90, width=32)
    views = views_of(table)
    whole = knn.finish(knn.start(table, views), views)
    parts = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, 150], strict=True)]
    random.shuffle(parts)
    state = knn.start(parts[0], views)
    for part in parts[1:]:
        state = knn.merge(knn.start(part, views), state)
    again = knn.finish(state, views)
    for field in KnnView.__dataclass_fields__:
        assert np.array_equal(getattr(whole, field), getattr(again, field)), field


def test_a_wide_embedding_is_projected_on_the_axes_of_the_moments():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(400, 20)))[0]
    vectors = rng.normal(size=(200, 20)) @ axes.T
    table = table_of(vectors)
    fitted = view_of(table, moments=SimpleNamespace(projection=axes.astype(np.float32)))
    assert fitted.vectors.shape == (200, 20)
    distance, _ = fitted.neighbours(table, 1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    true = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(true, 9)
    assert distance[:, 0] == pytest.approx(true.min(axis=1), abs=0.005)
    assert view_of(table).vectors.shape == (200, 128)  # random signs, where nothing was fitted


def test_an_inverted_file_finds_nearly_the_same_neighbours():
    table = table_of(cloud(3000, d=8))
    exact, cells = view_of(table), view_of(table, Knn(scanned=100))
    assert not len(exact.index)
    assert len(cells.index)
    agree = [len(set(a) & set(b)) / 20 for a, b in zip(exact.near, cells.near, strict=True)]
    assert np.mean(agree) > 0.9


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_samples_have_few_neighbours(n):
    table = table_of(cloud(n))
    distance, near = view_of(table).neighbours(table, 10)
    assert distance.shape == near.shape == (n, n - 1)


def test_state_and_view_survive_the_disk_and_the_state_is_small(tmp_path):
    table = table_of(cloud(300, d=8))
    knn, views = Knn(scanned=100), views_of(table)
    state = knn.start(table, views)
    records.save(state, tmp_path / "state.npz")
    view = knn.finish(records.load(KnnState, tmp_path / "state.npz"), views)
    records.save(view, tmp_path / "view.npz")
    loaded = records.load(KnnView, tmp_path / "view.npz")
    strangers = table_of(cloud(20, d=8, seed=5), rank=np.arange(10**6, 10**6 + 20))
    assert np.array_equal(loaded.neighbours(strangers, 3)[1], view.neighbours(strangers, 3)[1])
    assert Knn().references * (2 * 2 * Knn().width + 12) < 64e6


def test_hamming_neighbours_count_bits():
    distance, near = hamming_neighbours(np.array([0, 1, 2**63, 2**64 - 1], np.uint64), 2)
    assert distance[:, 0].tolist() == [0, 0, 0, 0]
    assert distance[:, 1].tolist() == [1, 1, 1, 63]
    assert near[3, 1] in (1, 2)
