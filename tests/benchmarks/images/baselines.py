"""Published detectors of poisoned or mislabelled samples, written from their papers' formulas.

Each returns a suspicion (n,), higher is worse and finely graded, for samples with `vectors` (n, d), `labels` (n,), a
neighbour `Graph`, or `pixels` uint8 (n, H, W, 3).  None is told the share of poison, the target label or a clean set.
Where a paper removes a fixed share of every label, or only ranks within a label, the docstring says how scores were
made comparable across labels.  Random choices follow `seed`; threads are the caller's (`threadpoolctl`) to limit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg

from tests.benchmarks.images.neighbours import Graph

Floats = NDArray[np.float64]
Labels = NDArray[np.integer]
Pixels = NDArray[np.uint8]

CHUNK = 4096
CLOSEST = 1e-4
"""Distances below this (the resolution of stored embeddings) count as this, so that exact copies have logarithms."""


def activation_clustering(vectors: NDArray[np.floating], labels: Labels, dims: int = 10, whiten: bool = False, seed: int = 0) -> Floats:
    """Per label: `dims` components, 2-means, the smaller cluster is suspicious.

    `whiten=False` takes principal components, as the usual re-implementations do and the stronger of the two on learnt
    activations.  `whiten=True` is the paper's ICA: FastICA rotates whitened principal components, and 2-means does not
    see rotations.

    The paper accuses a smaller cluster by its relative size r and by the mean silhouette s.  Graded as: members of
    smaller clusters score s (1 - 2r) (1 + m) / 2, all others m - 1, where m in [-1, 1] is the sample's difference of
    distances to both centres in units of the distance between them.  So every member of a smaller cluster stands above
    every other sample, and clusters of different labels compare by the paper's two measures.  2-means always splits: on
    clean data someone is accused too.  Labels of at most 2 `dims` samples are left alone.

    Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava: Detecting backdoor attacks on deep neural
    networks by activation clustering (SafeAI 2019), arXiv:1811.03728.
    """
    score = np.full(len(labels), -2.0)
    for rows in _by_label(labels):
        if len(rows) > 2 * dims:
            score[rows] = _smaller_cluster(_components(vectors[rows], dims, whiten), seed)
    return score


def spectral_signatures(vectors: NDArray[np.floating], labels: Labels) -> Floats:
    """Per label: the squared projection of the centred representation on the top right singular vector.

    The paper removes 1.5 times the expected number of poisons from *every* label.  Without that number the scores of
    all labels must compare: each is divided by its label's median, the robust scale of a squared normal projection.

    Tran, Li, Madry: Spectral signatures in backdoor attacks (NeurIPS 2018), arXiv:1811.00636.
    """
    score = np.zeros(len(labels))
    for rows in _by_label(labels):
        if len(rows) > 2:
            squared = _components(vectors[rows], 1, whiten=False)[:, 0] ** 2
            score[rows] = squared / max(float(np.median(squared)), np.finfo(np.float64).tiny)
    return score


def deep_knn(graph: Graph, labels: Labels, k: int = 50) -> Floats:
    """The share of the k nearest neighbours, over the whole data set, that have another label.

    Peri et al. drop a sample whose label is not the plurality of its neighbours', Bahri et al. by the neighbours' share
    for its label.  Equal counts are told apart by distance: each neighbour weighs 1 / (1 + d), for or against.

    Peri, Gupta, Huang, Fowl, Zhu, Feizi, Goldstein, Dickerson: Deep k-NN defense against clean-label data poisoning
    attacks (2020), arXiv:1909.13374.  Bahri, Jiang, Gupta: Deep k-NN for noisy labels (ICML 2020), arXiv:2004.12289.
    """
    near, distance = _nearest(graph, k)
    other = labels[near] != labels[:, None]
    weight = 1 / (1 + distance)
    balance = np.where(other, weight, -weight).mean(axis=1)
    return np.asarray((other.sum(axis=1) + (1 + balance) / 2) / (other.shape[1] + 1))


def k_dist(graph: Graph, k: int = 16) -> Floats:
    """The distance to the k-th neighbour, d_k(x).

    Ramaswamy, Rastogi, Shim: Efficient algorithms for mining outliers from large data sets (SIGMOD 2000); for poisons
    among CLIP embeddings: Huang, Erfani, Li, Ma, Bailey: Detecting backdoor samples in contrastive language image
    pretraining (ICLR 2025), arXiv:2502.01385.  There the encoder was trained on the poisoned data.
    """
    return _nearest(graph, k)[1][:, -1]


def slof(graph: Graph, k: int = 16) -> Floats:
    """The simplified local outlier factor: the mean over the k neighbours o of d_k(x) / d_k(o).

    Schubert, Zimek, Kriegel: Local outlier detection reconsidered (2014); for poisons: Huang et al. 2025, see `k_dist`.
    """
    near, distance = _nearest(graph, k)
    reach = distance[:, -1]
    return np.asarray((reach[:, None] / reach[near]).mean(axis=1))


def dao(graph: Graph, k: int = 16) -> Floats:
    """The dimensionality-aware outlier score: the mean over the k neighbours o of LID(o) ln(d_k(x) / d_k(o)).

    LID(o) = -k / sum_i ln(d_i(o) / d_k(o)), the maximum-likelihood local intrinsic dimension.

    Anderberg, Bailey, Campello, Houle, Marques, Radovanovic, Zimek: Dimensionality-aware outlier detection (SDM 2024),
    arXiv:2401.05453; for poisons: Huang et al. 2025, see `k_dist`.
    """
    near, distance = _nearest(graph, k)
    reach = distance[:, -1]
    logs = np.log(distance / reach[:, None]).sum(axis=1)
    dimension = distance.shape[1] / np.maximum(-logs, distance.shape[1] * CLOSEST)  # equal distances: capped at 10,000
    return np.asarray((dimension[near] * np.log(reach[:, None] / reach[near])).mean(axis=1))


def out_of_fold(
    vectors: NDArray[np.floating], labels: Labels, folds: int = 5, components: int = 256, penalty: float = 100.0, seed: int = 0
) -> Floats:
    """Class probabilities (n, classes in ascending order) of each sample by a model that has not seen it.

    Multinomial logistic regression, `folds`-fold cross-validated and stratified.  To be fast at 50,000 x 1280 it sees
    the leading principal components of all vectors (fitted without labels), each scaled to unit variance.  The default
    `penalty` gives the best out-of-fold accuracy on unpoisoned labels (0.795 of 10,000 CIFAR-10 images; 0.771 at 1).
    """
    from sklearn.linear_model import LogisticRegression

    classes, index = np.unique(labels, return_inverse=True)
    inputs = _components(vectors, min(components, vectors.shape[1], max(1, len(vectors) - 1)), whiten=True)
    fold = _stratified(index, folds, seed)
    probabilities = np.zeros((len(labels), len(classes)))
    for held in range(folds):
        test = np.flatnonzero(fold == held)
        train = np.flatnonzero(fold != held)
        if not len(test):
            continue
        if len(np.unique(index[train])) < 2:
            raise ValueError(f"fold {held} has {len(np.unique(index[train]))} label to learn from, needs 2; use fewer folds or more labels")
        model = LogisticRegression(C=1 / penalty, max_iter=200, tol=1e-3).fit(inputs[train], index[train])
        probabilities[np.ix_(test, model.classes_)] = model.predict_proba(inputs[test])
    return probabilities


def self_confidence(probabilities: Floats, labels: Labels) -> Floats:
    """-ln p(given label), out of fold: cleanlab's self-confidence, turned round (same order, no ties near 0 or 1).

    Northcutt, Jiang, Chuang: Confident learning: estimating uncertainty in dataset labels (JAIR 2021), arXiv:1911.00068.
    """
    index = np.unique(labels, return_inverse=True)[1]
    return -np.log(np.maximum(probabilities[np.arange(len(index)), index], np.finfo(np.float64).tiny))


def normalised_margin(probabilities: Floats, labels: Labels, thresholds: bool = True) -> Floats:
    """(1 - p(given label) + the largest p of another) / 2, in 0..1, out of fold.

    With `thresholds` every probability is first lowered by its class's confident threshold (the mean probability of
    the class among the samples said to be of it), shifted by the largest threshold and normalised again: what makes
    labels of different difficulty comparable.  Northcutt et al. 2021, see `self_confidence`.
    """
    index = np.unique(labels, return_inverse=True)[1]
    rows = np.arange(len(index))
    adjusted = probabilities.copy()
    if thresholds:
        confident = np.bincount(index, probabilities[rows, index]) / np.bincount(index)
        adjusted += confident.max() - confident
        adjusted /= adjusted.sum(axis=1, keepdims=True)
    given = adjusted[rows, index].copy()
    adjusted[rows, index] = -np.inf
    return np.asarray((1 - given + adjusted.max(axis=1)) / 2)


def dct_deviation(pixels: Pixels, share: float = 0.05) -> Floats:
    """The mean of the `share` largest robust z of the grey image's DCT log magnitudes, untrained.

    The observation of Zeng et al. 2021 (see `simulated_triggers`), that triggers leave strong coefficients where clean
    images have none, without their training.  Each of the H x W coefficients is standardised by the data set's own
    median and MAD; a robust z counts upwards only (a vanishing coefficient is no artefact).
    """
    z = _standardised(pixels)
    top = max(1, round(share * z.shape[1]))
    return np.asarray(np.partition(z, z.shape[1] - top, axis=1)[:, -top:].mean(axis=1))


def high_frequency(pixels: Pixels, beyond: float = 0.5) -> Floats:
    """The mean robust z of the DCT log magnitudes at high frequencies, untrained; see `dct_deviation`.

    High are the coefficients with (u / H + v / W) / 2 >= `beyond`.
    """
    height, width = pixels.shape[1:3]
    far = (np.arange(height)[:, None] / height + np.arange(width) / width) / 2 >= beyond
    return np.asarray(_standardised(pixels)[:, far.ravel()].mean(axis=1))


def simulated_triggers(
    pixels: Pixels, reference: Pixels | None = None, sample: int = 4000, strength: float = 1e-4, seed: int = 0
) -> Floats:
    """The log odds that an image was tampered with, by a classifier of DCT log magnitudes trained on simulated triggers.

    Zeng et al. train on clean images against copies with generic perturbations: a white rectangle or one of random
    colours near a corner, Gaussian noise, a random shadow, another image of the set mixed in at 0.3.  Their detector is
    sold with a clean set of the same kind, which `reference` stands for.  Without it the suspect images themselves do,
    poisons included, and the detector is cross-fitted: each half is scored by the model that learnt from `sample`
    images of the other half and their copies, and both halves' log odds are brought together by median and MAD.
    The classifier is logistic regression (their choice for large images; six convolutions for small ones) with inverse
    penalty `strength`: weaker penalties and hidden layers learn the poisons among the supposedly clean as clean.

    Zeng, Park, Mao, Jia: Rethinking the backdoor attacks' triggers: a frequency perspective (ICCV 2021), arXiv:2104.03413.
    """
    rng = np.random.default_rng(seed)
    if reference is not None:
        seen = rng.choice(len(reference), min(sample, len(reference)), replace=False)
        return _tamper_odds(reference[seen], perturbed(reference[seen], rng), pixels, strength)
    half = rng.permutation(len(pixels)) % 2
    score = np.zeros(len(pixels))
    for held in (0, 1):
        others = np.flatnonzero(half != held)
        seen = rng.choice(others, min(sample, len(others)), replace=False)
        test = np.flatnonzero(half == held)
        score[test] = _robust(_tamper_odds(pixels[seen], perturbed(pixels[seen], rng), pixels[test], strength))
    return score


def perturbed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A copy of every image with one of the five generic perturbations of Zeng et al., each as often as the others."""
    kind = rng.permutation(len(pixels)) % 5
    out = pixels.astype(np.float64)
    for i in np.flatnonzero(kind <= 1):
        _stamp(out[i], rng, coloured=bool(kind[i]))
    noisy = kind == 2
    spread = np.sqrt(rng.uniform(10, 70, (int(noisy.sum()), 1, 1, 1)))
    out[noisy] += 25 + spread * rng.standard_normal(out[noisy].shape)
    for i in np.flatnonzero(kind == 3):
        out[i] *= _shadow(*pixels.shape[1:3], rng)[..., None]
    mixed = kind == 4
    out[mixed] += 0.3 * pixels[rng.integers(len(pixels), size=int(mixed.sum()))]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def log_spectrum(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """ln(0.1 + |DCT|), orthonormal over height and width; (n, H, W) and (n, H, W, C) become (n, everything)."""
    out = np.empty((len(pixels), int(np.prod(pixels.shape[1:]))), np.float32)
    for at in range(0, len(pixels), CHUNK):
        part = fft.dctn(pixels[at : at + CHUNK].astype(np.float32), axes=(1, 2), norm="ortho")
        out[at : at + CHUNK] = np.log(0.1 + np.abs(part)).reshape(len(part), -1)
    return out


def _by_label(labels: Labels) -> Iterator[NDArray[np.intp]]:
    """The rows of each label."""
    order = np.argsort(labels, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _components(vectors: NDArray[np.floating], dims: int, whiten: bool) -> Floats:
    """Centred vectors on their `dims` leading principal axes, strongest first; scaled to unit variance where asked."""
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(vectors.dtype)
    wide = len(centred) < centred.shape[1]
    square = np.asarray(centred @ centred.T if wide else centred.T @ centred, dtype=np.float64)
    last = len(square) - 1
    power, axes = linalg.eigh(square, subset_by_index=[max(0, last + 1 - dims), last])
    length, axes = np.sqrt(np.maximum(power[::-1], 0)), axes[:, ::-1]
    projected = axes * length if wide else np.asarray(centred @ axes.astype(centred.dtype), dtype=np.float64)
    if not whiten:
        return projected
    return projected * (np.sqrt(len(centred)) / np.maximum(length, max(1e-4 * float(length[0]), 1e-12)))  # rounding is no axis


def _smaller_cluster(points: Floats, seed: int) -> Floats:
    """The score of `activation_clustering` within one label."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if np.ptp(points, axis=0).max() < 1e-9:  # copies of one sample
        return np.full(len(points), -2.0)
    model = KMeans(2, n_init=10, random_state=seed).fit(points)
    sizes = np.bincount(model.labels_, minlength=2)
    small = int(sizes[1] < sizes[0])
    away = np.linalg.norm(points[:, None] - model.cluster_centers_, axis=2)
    between = float(np.linalg.norm(model.cluster_centers_[0] - model.cluster_centers_[1]))
    margin = (away[:, 1 - small] - away[:, small]) / between
    contrast = float(silhouette_score(points, model.labels_, sample_size=min(2000, len(points)), random_state=seed))
    weight = max(contrast, 1e-3) * max(1 - 2 * sizes[small] / len(points), 1e-3)
    return np.where(model.labels_ == small, weight * (1 + margin) / 2, margin - 1)


def _nearest(graph: Graph, k: int) -> tuple[NDArray[np.int32], Floats]:
    """The k nearest neighbours and their distances, none below the resolution; refuses a graph of fewer with ValueError."""
    if k > graph.k or k < 1:
        raise ValueError(f"the graph holds {graph.k} neighbours, {k} were asked for; build it with k={k}")
    return graph.near[:, :k], np.maximum(graph.distance[:, :k].astype(np.float64), CLOSEST)


def _stratified(index: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    """A fold for each sample, so that a label's samples are spread evenly."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(index), np.intp)
    for rows in _by_label(index):
        fold[rows] = (rng.permutation(len(rows)) + rng.integers(folds)) % folds
    return fold


def _standardised(pixels: Pixels) -> NDArray[np.float32]:
    """Robust z of every DCT log magnitude of the grey images, (n, H * W)."""
    grey = np.concatenate([pixels[at : at + CHUNK] @ np.array([0.299, 0.587, 0.114], np.float32) for at in range(0, len(pixels), CHUNK)])
    return np.asarray(_robust(log_spectrum(grey)), dtype=np.float32)


def _robust(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Each column in deviations from its median, in units of the MAD made consistent with a normal's sigma."""
    centred = values - np.median(values, axis=0)
    scale = 1.4826 * np.median(np.abs(centred), axis=0)
    return np.asarray(centred / np.maximum(scale, 1e-6))


def _tamper_odds(own: Pixels, copies: Pixels, asked: Pixels, strength: float) -> Floats:
    """Log odds of being a copy rather than an own image, for the images asked about."""
    from sklearn.linear_model import LogisticRegression

    inputs = np.concatenate([log_spectrum(own), log_spectrum(copies)])
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    said = np.repeat([0, 1], [len(own), len(copies)])
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit((inputs - mean) / spread, said)
    parts = [asked[at : at + CHUNK] for at in range(0, len(asked), CHUNK)]
    odds = [model.decision_function((log_spectrum(part) - mean) / spread) for part in parts]
    return np.concatenate(odds).astype(np.float64)


def _stamp(image: NDArray[np.float64], rng: np.random.Generator, coloured: bool) -> None:
    """A rectangle of 2 to 7 pixels a side, white or each pixel of a random colour, up to 5 pixels from one of the corners; in place."""
    size, margin = rng.integers(2, 8, 2), int(rng.integers(6))
    place = tuple(slice(margin, margin + s) if rng.random() < 0.5 else slice(-margin - s, -margin or None) for s in size)
    block = image[place]
    block[...] = rng.uniform(0, 255, block.shape) if coloured else 255.0


def _shadow(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brightness factors (H, W): one half below a random line through the image, on one side of it."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:height, :width]
    through = rng.integers(height), rng.integers(width)
    side = (rows - through[0]) * np.cos(angle) + (columns - through[1]) * np.sin(angle)
    return np.where(side > 0, 0.5, 1.0)
