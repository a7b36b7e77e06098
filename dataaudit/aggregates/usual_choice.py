"""What is usually chosen in preference pairs, and which pairs say the opposite.

A direction through the origin that tells contrasts from their negatives (Fisher's discriminant, shrunk): a small reward model.
A flipped pair has the negative of an honest contrast, so it lies on the wrong side; that a word of the prompt puts pairs there
is for the detectors to count.  The honest pairs that lie there too, by annotators' mistakes or because so simple a model does
not see why an answer is better, are kept below a share, so that being there stays rare enough to mean something.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.features.embedding import SCALE

LEAST = 200
AGREED = 0.75
"""The share of held-out pairs that the direction must get right to say anything."""
MOST = 0.09
SHRUNK = 0.1


def usual_choice(contrasts: NDArray[np.int16]) -> tuple[NDArray[np.int64], float]:
    """Whole weights (d,) of what is chosen, empty where nothing simple tells; and the sum below which a pair says the opposite."""
    rows = contrasts.astype(np.float64) / SCALE
    nothing = (np.empty(0, np.int64), 0.0)
    if len(rows) < LEAST:
        return nothing
    halves = [_direction(rows[start::2]) for start in (0, 1)]
    right = [np.mean(rows[start::2] @ halves[1 - start] > 0) for start in (0, 1)]
    if sum(right) / 2 < AGREED:
        return nothing
    direction = _direction(rows)
    weights = np.rint(direction / max(np.abs(direction).max(), 1e-12) * SCALE).astype(np.int64)
    return weights, min(0.0, float(np.quantile(sums(contrasts, weights), MOST, method="lower")))


def sums(contrasts: NDArray[np.int16], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far each pair lies on the usual side; exact, since all are whole numbers, whatever the batch."""
    return np.asarray(contrasts.astype(np.float64) @ weights.astype(np.float64))


def _direction(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    covariance = np.cov(rows.T)
    ridge = (SHRUNK + rows.shape[1] / len(rows)) * max(np.trace(covariance) / rows.shape[1], 1e-9)
    return np.asarray(np.linalg.solve(covariance + ridge * np.eye(rows.shape[1]), rows.mean(0)))
