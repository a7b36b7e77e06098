"""Published detectors of poisoned or mismatched pairs, written from their papers' formulas.

Each returns a suspicion (n,), higher is worse.  None is told the share of poison, the concept or a clean set.  Neighbour methods
are those of the image benchmark (`images.baselines`): k-dist, SLOF and DAO, on the picture's vector, the caption's, or both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
FOLDS = 5


def cosine_filter(pictures: Vectors, captions: Vectors) -> Floats:
    """How little a picture and its caption agree, by an encoder that has both in one space.

    Schuhmann et al.: LAION-400M (2021), arXiv:2111.02114, keep pairs above 0.3.
    """
    return np.asarray(1 - np.einsum("nd,nd->n", _unit(pictures), _unit(captions)), np.float64)


def regression(pictures: Vectors, captions: Vectors, seed: int = 0) -> Floats:
    """How little a caption is like what pictures tell of it: 1 - cosine of the vector foretold and the vector given.

    Ridge regression from pictures' vectors (n, p) to captions' (n, c), cross-fitted: each pair is foretold by a model that has
    not seen it.  The penalty is the one of `PENALTIES` with the largest mean cosine out of fold.  Both vectors are taken relative to the
    mean caption, or all would be alike.  A twin of the cosine filter for encoders that share no space.
    """
    fold = np.random.default_rng(seed).permutation(len(pictures)) % FOLDS
    cosines = np.empty((len(PENALTIES), len(pictures)))
    for held in range(FOLDS):
        train, test = fold != held, fold == held
        x, y = pictures[train].astype(np.float64), captions[train].astype(np.float64)
        middle, mean = x.mean(axis=0), y.mean(axis=0)
        power, axes = linalg.eigh((x - middle).T @ (x - middle))
        turned = axes.T @ ((x - middle).T @ (y - mean))
        asked, given = (pictures[test] - middle) @ axes, _unit(captions[test] - mean)
        for i, penalty in enumerate(PENALTIES):
            foretold = asked @ (turned / (np.maximum(power, 0) + penalty)[:, None])
            cosines[i, test] = np.einsum("nd,nd->n", _unit(foretold), given)
    return np.asarray(1 - cosines[cosines.mean(axis=1).argmax()])


def isolation_forest(vectors: Vectors, seed: int = 0) -> Floats:
    """How few random cuts set a pair apart from all others, by scikit-learn's forest of 100 trees with its defaults.

    Liu, Ting, Zhou: Isolation forest (ICDM 2008).
    """
    from sklearn.ensemble import IsolationForest

    return -np.asarray(IsolationForest(n_estimators=100, random_state=seed).fit(vectors).score_samples(vectors), np.float64)


def both(pictures: Vectors, captions: Vectors) -> Vectors:
    """One vector for a pair: picture and caption beside each other, with equal weight."""
    return np.hstack([_unit(pictures), _unit(captions)]).astype(np.float32) / np.float32(np.sqrt(2))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12))
