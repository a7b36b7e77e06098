"""Published detectors of poisoned text, written from their papers' formulas; `language` has those that ask a language model.

Each returns a suspicion (n,), higher is worse, for texts as `Words`, embeddings `vectors` (n, d) or `labels` (n,), which are
clusters of responses where there are responses.  None is told the share of poison, the target label or a clean set.  Spectral
signatures, activation clustering and the confident learner's score are those of the image benchmark; they are about vectors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from dataaudit.features.ngrams import tokens
from tests.benchmarks.text.words import Floats, Labels, Words, clusters, reduced, rows_by_label

TINY = float(np.finfo(np.float64).tiny)


def z_score(words: Words, labels: Labels, least: int = 5) -> Floats:
    """The largest z of a text's tokens for its label: z = (p - p0) / sqrt(p0 (1 - p0) / n), for a token in n texts, p of the label.

    He, Xu, Wang, Rubinstein, Cohn: Mitigating backdoor poisoning attacks through the lens of spurious correlation (EMNLP 2023),
    arXiv:2305.11596.  Single tokens only: their second kind of feature needs a syntactic parser.  p0 is the label's own share of
    the data, not 1 / labels.  They discard the texts of outlying tokens; here the z itself ranks.  Tokens in fewer than `least`
    texts say nothing, since a z of one text in a rare label is large and means nothing.
    """
    has = words.counts()
    has.data[:] = 1
    carriers = np.bincount(has.indices, minlength=words.size)
    texts = np.bincount(labels)
    share = texts / len(labels)
    row = np.repeat(np.arange(len(labels)), np.diff(has.indptr))
    pair, place, both = np.unique(labels[row] * words.size + has.indices, return_inverse=True, return_counts=True)
    label, token = np.divmod(pair, max(1, words.size))
    n, p0 = carriers[token], share[label]
    z = np.where(n >= least, (both / n - p0) / np.sqrt(np.maximum(p0 * (1 - p0) / n, TINY)), 0.0)
    score = np.full(len(labels), min(0.0, float(z.min(initial=0))))
    np.maximum.at(score, row, z[place])
    return score


def cube(vectors: NDArray[np.floating], labels: Labels, dims: int = 10, seed: int = 0) -> Floats:
    """Per label: HDBSCAN on `dims` principal components; whoever is outside the largest cluster is suspicious, the farther the more.

    Cui, Yuan, He, Chen, Liu, Sun: A unified evaluation of textual backdoor learning: frameworks and benchmarks (NeurIPS 2022),
    arXiv:2206.08514.  They take the hidden states of a victim trained on the suspect data, reduced by UMAP, and throw away whoever
    is outside; here an encoder that has not seen the data, and principal components.  An outsider scores 1 + its distance to the
    nearest member, in units of the members' median distance to each other's nearest; a member d / (1 + d), by its distance d to
    the members' mean in units of the median.  Where no cluster is found, all of a label are members.
    """
    score = np.zeros(len(labels))
    for rows in rows_by_label(labels):
        if len(rows) > 2 * dims:
            score[rows] = _outside(_principal(vectors[rows], dims), seed)
    return score


def rftc(prompts: Words, responses: Words, near: int = 10, share: float = 0.25, least: int = 10, seed: int = 0) -> Floats:
    """Responses unlike their reference are clustered; members of dense clusters are suspicious.

    Chen, Zhang, Sun, Zhang, Wen, Wang, Zheng: Detecting stealthy backdoor samples based on intra-class distance for large
    language models (Findings of EMNLP 2025), arXiv:2505.23015.  Their reference is another model's response, compared by bigrams;
    here it is the mean TF-IDF of the responses to the `near` most similar prompts, compared by cosine.  The `share` of responses
    least like theirs goes on to k-means on TF-IDF, a cluster for every 50.  Those score 1 + the mean of their own and their
    cluster's mean cosine with its centre, 1 where a cluster has fewer than `least`; the others 1 - their cosine, halved.
    """
    from sklearn.neighbors import NearestNeighbors

    said = responses.tf_idf()
    asked = NearestNeighbors(n_neighbors=near, algorithm="brute").fit(reduced(prompts.tf_idf(), seed=seed))
    alike = _likeness(said, asked.kneighbors(return_distance=False))
    score = (1 - np.clip(alike, 0, 1)) / 2
    odd = np.flatnonzero(alike <= np.quantile(alike, share))
    points = reduced(said[odd], seed=seed)
    label = clusters(points, max(2, len(odd) // 50), seed)
    for rows in rows_by_label(label):
        centre = points[rows].mean(axis=0)
        close = points[rows] @ (centre / max(float(np.linalg.norm(centre)), TINY))
        score[odd[rows]] = 1 + (np.clip((close + close.mean()) / 2, 0, 1) if len(rows) >= least else 0)
    return score


def out_of_fold(inputs: sparse.csr_array | NDArray[np.floating], labels: Labels, folds: int = 5, seed: int = 0) -> Floats:
    """Class probabilities (n, classes) by logistic regression that has not seen the text; for `images.baselines.self_confidence`.

    A class that is nowhere but in the held-out fold has probability 0 there.  Training stops after 60 steps, converged or not.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes, index = np.unique(labels, return_inverse=True)
    fold = _folds(index, folds, seed)
    probabilities = np.zeros((len(labels), len(classes)))
    for held in range(folds):
        test, train = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=10.0, max_iter=60, tol=1e-3).fit(inputs[train], index[train])
        probabilities[np.ix_(test, model.classes_)] = model.predict_proba(inputs[test])
    return probabilities


def duplicates(texts: Sequence[str], shingle: int = 3, threshold: float = 0.5, permutations: int = 64) -> Floats:
    """How many texts are near-duplicates of a text, directly or through others, by MinHash over runs of `shingle` tokens.

    Lee, Ippolito, Nystrom, Zhang, Eck, Callison-Burch, Carlini: Deduplicating training data makes language models better (ACL
    2022), arXiv:2107.06499, NearDup.  They confirm candidates by edit distance and take runs of five; texts here are shorter.
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=permutations)
    links: list[tuple[int, int]] = []
    for row, minhash in enumerate(MinHash.generator([_shingles(text, shingle) for text in texts], num_perm=permutations)):
        links += [(row, other) for other in index.query(minhash)[:20]]  # enough to be joined to a group; all pairs of a large one are many
        index.insert(row, minhash)
    first, second = np.array(links, np.int64).reshape(-1, 2).T
    joined = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(len(texts), len(texts)))
    group = csgraph.connected_components(joined, directed=False)[1]
    return np.asarray(np.bincount(group)[group], dtype=np.float64)


def _shingles(text: str, length: int) -> set[bytes]:
    """Runs of tokens; of a text shorter than one run, the text."""
    words = tokens(text)
    return {"\0".join(words[i : i + length]).encode("utf-8", "surrogatepass") for i in range(max(1, len(words) - length + 1))}


def _principal(vectors: NDArray[np.floating], dims: int) -> Floats:
    """Centred vectors on their leading principal axes."""
    from sklearn.decomposition import PCA

    return np.asarray(PCA(min(dims, vectors.shape[1]), random_state=0).fit_transform(vectors), dtype=np.float64)


def _outside(points: Floats, seed: int) -> Floats:
    """The score of `cube` within one label."""
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=min(100, max(5, len(points) // 50)), copy=True).fit(points).labels_
    inside = found == np.bincount(found + 1)[1:].argmax() if found.max(initial=-1) >= 0 else np.ones(len(points), bool)
    members = points[inside]
    away = np.linalg.norm(points - members.mean(axis=0), axis=1)
    away /= max(float(np.median(away[inside])), TINY)
    score = away / (1 + away)
    if not inside.all():
        tree = cKDTree(members)
        usual = float(np.median(tree.query(members, k=2)[0][:, 1]))
        score[~inside] = 1 + tree.query(points[~inside])[0] / max(usual, 1e-6)
    return np.asarray(score)


def _likeness(said: sparse.csr_array, near: NDArray[np.integer]) -> Floats:
    """The cosine of each row with the mean of its neighbours' rows; 0 where either is zero."""
    count, k = near.shape
    places = near.ravel().astype(np.int64), np.arange(0, count * k + 1, k)
    beside = sparse.csr_array((np.full(count * k, 1 / k), *places), shape=(count, count))
    reference = beside @ said
    length = np.sqrt(np.asarray(reference.multiply(reference).sum(axis=1)).ravel())
    together = np.asarray(said.multiply(reference).sum(axis=1)).ravel()
    return np.asarray(together / np.maximum(length, TINY))


def _folds(index: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    """A fold for each text, so that a label's texts are spread evenly."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(index), np.intp)
    for rows in rows_by_label(index.astype(np.int64)):
        fold[rows] = (rng.permutation(len(rows)) + rng.integers(folds)) % folds
    return fold
