"""Every baseline finds what it was invented for, and is quiet about what it cannot see; neighbours and victim serve them.

The made-up data are `LABELS` blobs on the unit sphere; the pictures are smooth clouds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from dataaudit.attacks.images import Blend, Patch
from tests.benchmarks.images import baselines, neighbours, victim
from tests.benchmarks.images.neighbours import Graph
from tests.benchmarks.measures import auroc, precision_at_n

LABELS, DIMS = 4, 48
Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
Detector = Callable[[Vectors, Labels], NDArray[np.float64]]


def unit(vectors: NDArray[np.floating]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def blobs(n: int = 1200, seed: int = 0, apart: float = 2.0) -> tuple[Vectors, Labels]:
    """Each label a Gaussian blob, `apart` standard deviations of one dimension from the middle in every dimension."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(LABELS, size=n)
    centres = rng.normal(size=(LABELS, DIMS)) * apart / 2
    return unit(centres[labels] + rng.normal(size=(n, DIMS))), labels


def flipped(n: int = 1200, poisons: int = 24, seed: int = 0) -> tuple[Vectors, Labels, Mask]:
    """Some samples of other labels said to be of label 0."""
    vectors, labels = blobs(n, seed)
    bad = np.zeros(n, bool)
    bad[np.random.default_rng(seed + 1).choice(np.flatnonzero(labels != 0), poisons, replace=False)] = True
    return vectors, np.where(bad, 0, labels), bad


def shifted(n: int = 1200, share: float = 0.1, length: float = 9.0, seed: int = 0) -> tuple[Vectors, Labels, Mask]:
    """A share of label 0 moved along one direction of its own, as a learnt trigger moves activations."""
    vectors, labels = blobs(n, seed)
    rng = np.random.default_rng(seed + 1)
    bad = (labels == 0) & (rng.random(n) < share)
    direction = rng.normal(size=DIMS)
    moved = vectors + bad[:, None] * (length / np.sqrt(DIMS)) * direction / np.linalg.norm(direction)
    return moved.astype(np.float32), labels, bad


def sparse(n: int = 1200, poisons: int = 24, seed: int = 0) -> tuple[Vectors, Labels, Mask]:
    """Some samples in the void between the blobs."""
    vectors, labels = blobs(n, seed)
    rng = np.random.default_rng(seed + 1)
    bad = np.zeros(n, bool)
    bad[rng.choice(n, poisons, replace=False)] = True
    vectors[bad] = unit(rng.normal(size=(poisons, DIMS)))
    return vectors, labels, bad


def over_graph(score: Callable[..., NDArray[np.float64]], k: int) -> Detector:
    return lambda vectors, labels: score(Graph.build(vectors, k), *([labels] if score is baselines.deep_knn else []), k=k)


def confident(score: Callable[..., NDArray[np.float64]]) -> Detector:
    return lambda vectors, labels: score(baselines.out_of_fold(vectors, labels, components=16), labels)


MISLABELLED = {
    "deep_knn": over_graph(baselines.deep_knn, 50),
    "self_confidence": confident(baselines.self_confidence),
    "normalised_margin": confident(baselines.normalised_margin),
}
SEPARABLE = {
    "activation_clustering": baselines.activation_clustering,
    "activation_clustering, ICA": lambda v, y: baselines.activation_clustering(v, y, dims=2, whiten=True),
    "spectral_signatures": baselines.spectral_signatures,
}
OUTLYING = {
    "k_dist": over_graph(baselines.k_dist, 16),
    "slof": over_graph(baselines.slof, 16),
    "dao": over_graph(baselines.dao, 16),
}
EVERY = MISLABELLED | SEPARABLE | OUTLYING


@pytest.mark.parametrize("name", MISLABELLED)
def test_wrong_labels_are_found_by_those_who_compare_content_and_label(name: str) -> None:
    vectors, labels, bad = flipped()
    score = MISLABELLED[name](vectors, labels)
    assert auroc(score, bad) > 0.99
    assert precision_at_n(score, bad) > 0.8


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_group_moved_apart_within_its_label_is_found_by_those_who_split_labels(name: str) -> None:
    vectors, labels, bad = shifted()
    score = SEPARABLE[name](vectors, labels)
    assert auroc(score, bad) > 0.97
    assert precision_at_n(score, bad) > 0.9, "over all labels, not only within the poisoned one"


@pytest.mark.parametrize("name", OUTLYING)
def test_samples_in_the_void_are_found_by_those_who_measure_density(name: str) -> None:
    vectors, labels, bad = sparse()
    assert auroc(OUTLYING[name](vectors, labels), bad) > 0.99


@pytest.mark.parametrize("name", OUTLYING)
def test_density_does_not_know_labels(name: str) -> None:
    vectors, labels, bad = flipped()
    assert 0.3 < auroc(OUTLYING[name](vectors, labels), bad) < 0.7


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_found_where_nothing_is_planted(name: str) -> None:
    vectors, labels = blobs(seed=5)
    innocent = np.random.default_rng(6).random(len(labels)) < 0.05
    assert 0.35 < auroc(EVERY[name](vectors, labels), innocent) < 0.65


@pytest.mark.parametrize("name", EVERY)
def test_scores_rank_every_sample_by_itself_and_come_out_the_same_again(name: str) -> None:
    vectors, labels, _ = flipped(400, 8)
    score = EVERY[name](vectors, labels)
    assert score.shape == labels.shape
    assert np.isfinite(score).all()
    assert len(np.unique(score)) > 0.97 * len(score), "only two samples that are each other's k-th neighbour may tie"
    np.testing.assert_array_equal(score, EVERY[name](vectors, labels))


@pytest.mark.parametrize("name", EVERY)
def test_names_of_labels_do_not_matter(name: str) -> None:
    vectors, labels, _ = flipped(400, 8)
    renamed = np.array([-2, 3, 70, 500])[labels]
    np.testing.assert_array_equal(EVERY[name](vectors, labels), EVERY[name](vectors, renamed))


@pytest.mark.parametrize("name", [*SEPARABLE])
def test_a_label_of_few_samples_or_of_copies_is_not_accused(name: str) -> None:
    vectors, labels, _ = shifted()
    labels[:2], labels[2:40] = 99, 100
    vectors[2:40] = vectors[2]
    score = SEPARABLE[name](vectors, labels)
    assert (score[:40] <= np.median(score)).all()


def test_the_smaller_cluster_of_a_label_stands_above_all_that_is_in_larger_ones() -> None:
    vectors, labels, bad = shifted()
    score = baselines.activation_clustering(vectors, labels)
    accused = score > 0
    for label in range(LABELS):
        assert 0 < accused[labels == label].mean() <= 0.5, "2-means always accuses someone"
    assert score[accused & (labels == 0)].mean() > 2 * score[accused & (labels != 0)].mean()
    assert (accused & (labels == 0))[bad].mean() > 0.95


def test_whitened_components_are_what_ica_gives_to_2_means() -> None:
    from sklearn.decomposition import FastICA

    vectors, _ = blobs(600)
    whitened = baselines._components(vectors, 5, whiten=True)
    ica = FastICA(5, whiten="unit-variance", random_state=0, max_iter=2000, tol=1e-3).fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(cdist(whitened[:50], whitened), cdist(ica[:50], ica), rtol=1e-3, atol=1e-3)


def test_components_of_many_dimensions_and_few_samples_are_those_of_singular_value_decomposition() -> None:
    rng = np.random.default_rng(0)
    for shape in ((30, 200), (200, 30)):
        x = rng.normal(size=shape)
        left, length, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(np.abs(baselines._components(x, 3, whiten=False)), np.abs(left * length)[:, :3], atol=1e-8)
        np.testing.assert_allclose(np.abs(baselines._components(x, 3, whiten=True)), np.abs(left)[:, :3] * np.sqrt(len(x)), atol=1e-8)


def test_density_scores_follow_their_formulas() -> None:
    vectors, _ = blobs(200)
    k = 5
    apart = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1)[:, :k]
    d = np.sort(apart, axis=1)[:, :k]
    reach = d[:, -1]
    lid = np.array([-k / sum(np.log(d[x, i] / reach[x]) for i in range(k)) for x in range(len(d))])
    slof = [np.mean([reach[x] / reach[o] for o in near[x]]) for x in range(len(d))]
    dao = [np.mean([lid[o] * np.log(reach[x] / reach[o]) for o in near[x]]) for x in range(len(d))]
    graph = Graph.build(vectors, 8)
    np.testing.assert_allclose(baselines.k_dist(graph, k), reach, rtol=1e-6)
    np.testing.assert_allclose(baselines.slof(graph, k), slof, rtol=1e-5)
    np.testing.assert_allclose(baselines.dao(graph, k), dao, rtol=1e-4, atol=1e-4)


def test_copies_have_finite_scores() -> None:
    vectors = np.repeat(blobs(40)[0], 10, axis=0)
    graph = Graph.build(vectors, 5)
    assert (graph.distance[:, :5] == 0).all()
    assert all(np.isfinite(score(graph, 5)).all() for score in (baselines.k_dist, baselines.slof, baselines.dao))


def test_more_neighbours_than_the_graph_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="holds 8 neighbours, 16 were asked for"):
        baselines.k_dist(Graph.build(blobs(100)[0], 8), 16)


def test_neighbours_count_first_and_their_distance_breaks_ties() -> None:
    near = np.array([[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]], np.int32)
    distance = np.array([[0.1, 0.2], [0.1, 0.3], [0.2, 0.3], [0.9, 0.9], [0.1, 0.1]], np.float32)
    graph = Graph(np.zeros((5, 1), np.float32), near, distance, 2)
    score = baselines.deep_knn(graph, np.array([0, 0, 1, 1, 1]), 2)
    assert score[4] > score[2] > score[3], "all neighbours of another label: the nearer they are, the worse"
    assert score[:2].max() < 0.5 < score[2:].min()


def test_probabilities_are_of_models_that_have_not_seen_the_sample() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = unit(rng.normal(size=(300, 60))), rng.integers(3, size=300)
    probabilities = baselines.out_of_fold(vectors, labels, components=60)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.45, "labels by chance cannot be told out of fold"


def test_a_label_that_is_everywhere_doubtful_is_excused_by_its_threshold() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    given = np.where(labels == 0, rng.uniform(0.85, 0.95, 1000), rng.uniform(0.45, 0.55, 1000))
    given[:10] = 0.4
    probabilities = np.where(labels[:, None] == [0, 1], given[:, None], 1 - given[:, None])
    bad = np.arange(1000) < 10
    plain = baselines.normalised_margin(probabilities, labels, thresholds=False)
    adjusted = baselines.normalised_margin(probabilities, labels)
    assert precision_at_n(adjusted, bad) == 1.0
    assert (adjusted[labels == 1].mean() - adjusted[~bad & (labels == 0)].mean()) < (
        plain[labels == 1].mean() - plain[labels == 0].mean()
    ) / 2
    assert plain.min() >= 0
    assert plain.max() <= 1


def clouds(n: int = 600, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth coloured pictures with a little noise of the sensor's."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(n, 32, 32, 3)), (0, 3, 3, 0.7))
    pictures = 128 + 50 * smooth / smooth.std() + rng.normal(scale=2, size=smooth.shape)
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)


def stamped(attack: Patch | Blend, poisons: int = 12) -> tuple[NDArray[np.uint8], Mask]:
    pixels = clouds()
    bad = np.zeros(len(pixels), bool)
    bad[np.random.default_rng(1).choice(len(pixels), poisons, replace=False)] = True
    pixels[bad] = attack.apply(pixels[bad])
    return pixels, bad


FREQUENCY = (baselines.dct_deviation, baselines.high_frequency, baselines.simulated_triggers)


@pytest.mark.parametrize("attack", [Patch(), Blend()], ids=["patch", "blend"])
@pytest.mark.parametrize("detector", FREQUENCY, ids=lambda f: f.__name__)
def test_triggers_in_smooth_pictures_are_loud_in_the_frequencies(
    detector: Callable[..., NDArray[np.float64]], attack: Patch | Blend
) -> None:
    pixels, bad = stamped(attack)
    assert auroc(detector(pixels), bad) > 0.95


@pytest.mark.parametrize("detector", FREQUENCY, ids=lambda f: f.__name__)
def test_no_picture_is_loud_for_its_place_in_the_file(detector: Callable[..., NDArray[np.float64]]) -> None:
    score = detector(clouds())
    assert np.isfinite(score).all()
    assert len(np.unique(score)) > 0.99 * len(score)
    assert 0.4 < auroc(score, np.arange(600) < 300) < 0.6


def test_with_the_clean_set_it_is_sold_with_the_trained_detector_does_not_learn_that_poison_is_clean() -> None:
    pixels, bad = stamped(Patch(), poisons=150)
    sold, found = baselines.simulated_triggers(pixels, reference=clouds(seed=9)), baselines.simulated_triggers(pixels)
    assert auroc(sold, bad) > 0.99
    assert auroc(sold, bad) >= auroc(found, bad)


def test_a_perturbed_copy_differs_from_its_image_by_more_than_a_pixel_or_two() -> None:
    pixels = clouds(200)
    copies = baselines.perturbed(pixels, np.random.default_rng(0))
    assert copies.shape == pixels.shape
    assert copies.dtype == np.uint8
    assert ((copies != pixels).any(axis=3).reshape(200, -1).sum(axis=1) >= 4).mean() > 0.97


def same(graph: Graph, other: Graph) -> None:
    np.testing.assert_array_equal(graph.near[:, : graph.k], other.near[:, : other.k])
    np.testing.assert_array_equal(graph.distance[:, : graph.k], other.distance[:, : other.k])


def test_neighbours_are_the_nearest_others() -> None:
    vectors, _ = blobs(500)
    graph = Graph.build(vectors, 10)
    apart = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(graph.near[:, :10], np.argsort(apart, axis=1)[:, :10])
    np.testing.assert_allclose(graph.distance[:, :10], np.sort(apart, axis=1)[:, :10], rtol=1e-6)


@pytest.mark.parametrize("changed", [0, 1, 30, 300, 1000])
def test_a_graph_with_rows_replaced_is_the_graph_built_from_scratch(changed: int) -> None:
    vectors, _ = blobs(1000)
    rng = np.random.default_rng(changed)
    rows = rng.choice(1000, changed, replace=False)
    new = unit(rng.normal(size=(changed, DIMS)) + 3 * vectors[rows])
    clean = Graph.build(vectors, 10, spare=4)
    cell = vectors.copy()
    cell[rows] = new
    same(clean.replace(rows, new), Graph.build(cell, 10))
    same(clean, Graph.build(vectors, 10))


def test_lists_that_lose_more_than_the_spare_are_searched_for_anew_and_replacing_can_go_on() -> None:
    vectors, _ = blobs(600)
    graph, rng = Graph.build(vectors, 10, spare=2), np.random.default_rng(0)
    for step in range(4):
        rows = graph.near[step, :8]  # eight neighbours of one sample leave it, some of them come back nearer
        new = unit(graph.vectors[step] + rng.normal(size=(8, DIMS)) * [[0.01], [0.02], [5], [5], [5], [5], [5], [5]])
        graph = graph.replace(rows, new)
        same(graph, Graph.build(graph.vectors, 10))


def test_a_replaced_row_that_goes_back_gives_the_clean_graph_again() -> None:
    vectors, _ = blobs(600)
    clean, rows = Graph.build(vectors, 10), np.arange(0, 600, 7)
    same(clean.replace(rows, vectors[rows[::-1]]).replace(rows, vectors[rows]), clean)


def test_neighbours_do_not_depend_on_how_the_search_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = blobs(600)
    whole = Graph.build(vectors, 10)
    monkeypatch.setattr(neighbours, "BLOCK", 37)
    same(Graph.build(vectors, 10), whole)
    same(whole.replace(np.arange(50), vectors[:50]), whole)


def test_copies_and_tiny_sets_have_neighbours_too() -> None:
    copies = np.repeat(blobs(3)[0], 40, axis=0)
    graph = Graph.build(copies, 10)
    assert (graph.near != np.arange(120)[:, None]).all()
    assert (graph.near // 40 == np.arange(120)[:, None] // 40).all()
    few = Graph.build(blobs(3)[0], 10)
    assert few.k == 2
    same(few.replace(np.array([1]), few.vectors[[1]]), few)


def test_a_graph_kept_on_disk_is_the_same_and_is_not_taken_for_other_data(tmp_path: Path) -> None:
    vectors, _ = blobs(300)
    graph = Graph.build(vectors, 10)
    graph.save(tmp_path / "clean.npz")
    loaded = Graph.load(tmp_path / "clean.npz", vectors)
    same(loaded, graph)
    same(loaded.replace(np.array([3]), vectors[[5]]), graph.replace(np.array([3]), vectors[[5]]))
    with pytest.raises(ValueError, match="300 vectors, not of 299"):
        Graph.load(tmp_path / "clean.npz", vectors[1:])


def test_rows_replaced_twice_at_once_are_refused() -> None:
    vectors, _ = blobs(100)
    with pytest.raises(ValueError, match="distinct"):
        Graph.build(vectors, 5).replace(np.array([1, 1]), vectors[:2])


def test_a_victim_learns_the_trigger_and_its_activations_give_the_carriers_away() -> None:
    rng = np.random.default_rng(0)
    pixels, labels = clouds(480), rng.integers(2, size=480)
    pixels[labels == 1] = pixels[labels == 1] // 2  # label 1 is dark
    bad = (labels == 1) & (rng.random(480) < 0.2)
    pixels[bad] = Patch(6, margin=4).apply(pixels[bad])
    labels[bad] = 0
    trained = victim.train(pixels, labels, epochs=4, batch=32)
    assert trained.activations.shape == (480, 64)
    assert trained.activations.dtype == np.float32
    assert trained.accuracy == (trained.said == labels).mean() > 0.95
    assert (trained.said == labels)[bad].mean() > 0.8
    own = labels == 0
    assert auroc(baselines.activation_clustering(trained.activations, labels)[own], bad[own]) > 0.9


def test_augmented_images_are_moved_and_mirrored_only() -> None:
    images = victim.torch.arange(2 * 3 * 8 * 8, dtype=victim.torch.float32).reshape(2, 3, 8, 8) + 1
    moved = victim.augmented(images)
    assert moved.shape == images.shape
    for was, became in zip(images, moved, strict=True):
        kept = became[became > 0]
        assert len(kept) >= 3 * (8 - victim.SHIFT) ** 2
        assert set(kept.tolist()) <= set(was.flatten().tolist())
        assert len(set(kept.tolist())) == len(kept)


def test_a_victim_is_the_same_again() -> None:
    pixels, labels = clouds(64), np.arange(64) % 3
    first, again, other = (victim.train(pixels, labels, epochs=1, seed=seed, augment=True) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.activations, again.activations)
    assert not np.array_equal(first.activations, other.activations)
