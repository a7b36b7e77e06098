"""What a picture leads one to expect of its caption, and a caption of its picture: two cross-fitted ridge regressions.

Pictures are taken along the axes of `knn`.  Sums are of whole numbers in float64, so that they are exact in any order, and
weights are rounded to whole numbers, so that what is expected of a row has the same bits in any batch.
Hoerl and Kennard, "Ridge regression", 1970; cross-fitting as in `moments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.knn import AXES, project
from dataaudit.aggregates.sampling import fold_of
from dataaudit.features import embedding

FOLDS = 2
UNIT = 1 << 16
"""Weights are whole multiples of 1/UNIT."""


@dataclass(frozen=True)
class PairRegressionState:
    """Per fold: `counts` (2,), sums of pictures `x` (2, d) and captions `y` (2, e).

    Of their products `xx` (2, d, d), `yy` (2, e, e) and `xy` (2, d, e).
    """

    counts: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]


@dataclass(frozen=True)
class PairRegressionView:
    """By fold: whole-number means `x` (2, d) and `y` (2, e), and weights `caption` (2, d, e) and `picture` (2, e, d) in 1/UNIT.

    `fitted` tells whether there were pairs enough; `usual` is how far from the mean picture captions lead one to expect theirs (root
    mean square, stored units).  `axes` are those of `knn` and `caption_axes` the captions' own, for `knn.project`.
    """

    fitted: bool
    usual: float
    axes: NDArray[np.int32]
    caption_axes: NDArray[np.int32]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    caption: NDArray[np.int64]
    picture: NDArray[np.int64]

    def compared(self, table: pa.Table) -> Compared:
        """The pairs of a batch and what was to be expected of them, by the model of the other fold."""
        picture, caption = pairs(table, self.axes)
        fold = fold_of(np.asarray(table.column("rank"), dtype=np.uint64), FOLDS)
        x, y = (picture - self.x[fold]).astype(np.float64), (caption - self.y[fold]).astype(np.float64)
        return Compared(np.asarray(caption.any(axis=1)), x, y, _expected(y, fold, self.picture), _expected(x, fold, self.caption))

    def as_pictures(self, table: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """What is seen and what is said in each row, as pictures (n, d) about the mean one.

        Of the picture only what captions speak of: the picture that the caption which it leads one to expect leads one to expect.
        """
        compared = self.compared(table)
        fold = fold_of(np.asarray(table.column("rank"), dtype=np.uint64), FOLDS)
        seen = _expected(np.rint(compared.expected_y), fold, self.picture)
        return np.rint(seen).astype(np.int32), np.rint(compared.expected_x).astype(np.int32)


def _expected(given: NDArray[np.float64], fold: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Whole numbers (n, a) times each row's fold's weights (2, a, b); below 2**53 they add up exactly in any order."""
    found = np.zeros((len(given), weights.shape[2]))
    for f in range(FOLDS):
        found[fold == f] = given[fold == f] @ weights[f].astype(np.float64) / UNIT
    return found


@dataclass(frozen=True)
class Compared:
    """Pictures `x` (n, d) and captions `y` (n, e) about their means, and what each leads one to expect of the other.

    `there` (n,) tells which have a caption.
    """

    there: NDArray[np.bool_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    expected_x: NDArray[np.float64]
    expected_y: NDArray[np.float64]

    @property
    def agreement(self) -> NDArray[np.float64]:
        """The mean cosine of what is there and what was expected, either way, shape (n,), -1 to 1; 0 without a caption."""
        both = (cosines(self.x, self.expected_x) + cosines(self.y, self.expected_y)) / 2
        return np.where(self.there, both, 0.0)


@dataclass(frozen=True)
class PairRegression:
    """Exact moments of pairs; a state of 128 and 384 dimensions takes 4 MB."""

    needs: ClassVar[tuple[str, ...]] = ("knn",)
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")
    State: ClassVar[type] = PairRegressionState
    View: ClassVar[type] = PairRegressionView

    shrinkage: float = 0.1
    least: int = 60
    width: int = 128

    def start(self, table: pa.Table, views: Views) -> PairRegressionState:
        """The sums of a batch; rows without a caption are left out."""
        picture, caption = pairs(table, views["knn"].axes)
        there = caption.any(axis=1)
        x, y = picture[there].astype(np.float64), caption[there].astype(np.float64)
        fold = fold_of(np.asarray(table.column("rank"), dtype=np.uint64)[there], FOLDS)
        parts = [(x[fold == f], y[fold == f]) for f in range(FOLDS)]
        return PairRegressionState(
            np.array([len(a) for a, _ in parts]),
            np.stack([a.sum(axis=0) for a, _ in parts]),
            np.stack([b.sum(axis=0) for _, b in parts]),
            np.stack([a.T @ a for a, _ in parts]),
            np.stack([b.T @ b for _, b in parts]),
            np.stack([a.T @ b for a, b in parts]),
        )

    def merge(self, a: PairRegressionState, b: PairRegressionState) -> PairRegressionState:
        """Sums add up."""
        return PairRegressionState(a.counts + b.counts, a.x + b.x, a.y + b.y, a.xx + b.xx, a.yy + b.yy, a.xy + b.xy)

    def finish(self, state: PairRegressionState, views: Views) -> PairRegressionView:
        """Fit both ways, each fold for the other."""
        fits = [self._fit(state, 1 - f) for f in range(FOLDS)]
        x, y, caption, picture, spread = (np.stack(part) for part in zip(*fits, strict=True))
        fitted = int(state.counts.min()) >= self.least
        axes = principal_axes(state.counts.sum(), state.y.sum(axis=0), state.yy.sum(axis=0), self.width)
        return PairRegressionView(fitted, float(spread.mean()), views["knn"].axes, axes, x, y, caption, picture)

    def _fit(self, state: PairRegressionState, fold: int) -> tuple[NDArray[Any], ...]:
        """Means and weights that the pairs of one fold teach, and how far expected pictures lie from the mean one."""
        number = max(1, int(state.counts[fold]))
        x, y = state.x[fold] / number, state.y[fold] / number
        xx = state.xx[fold] / number - np.outer(x, x)
        yy = state.yy[fold] / number - np.outer(y, y)
        xy = state.xy[fold] / number - np.outer(x, y)
        caption, picture = ridge(xx, xy, self.shrinkage), ridge(yy, xy.T, self.shrinkage)
        spread = np.sqrt(np.einsum("ed,ef,fd->", picture, yy, picture, optimize=True))
        whole = (np.rint(values).astype(np.int64) for values in (x, y, caption * UNIT, picture * UNIT))
        return *whole, spread


def principal_axes(number: int, total: NDArray[np.float64], outer: NDArray[np.float64], width: int) -> NDArray[np.int32]:
    """Whole-number principal axes (e, width) of rows of this number, sum (e,) and sum of products (e, e); (0, 0) where e is small."""
    if len(total) <= 2 * width:
        return np.empty((0, 0), np.int32)
    mean = total / max(1, number)
    _, axes = np.linalg.eigh(outer / max(1, number) - np.outer(mean, mean))
    return np.asarray(np.rint(axes[:, ::-1][:, :width] * AXES), dtype=np.int32)


def pairs(table: pa.Table, axes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pictures (n, d) along the axes and captions (n, e), in stored units."""
    picture = project(embedding.from_column(table), axes)
    return picture.astype(np.int64), embedding.from_column(table, "target_embedding").astype(np.int64)


def ridge(outer: NDArray[np.float64], cross: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Weights (d, e) that predict from covariances (d, d) and (d, e), shrunk by a share of the mean variance."""
    level = max(float(np.trace(outer)) / len(outer), 1e-9)
    return np.asarray(np.linalg.solve(outer + shrinkage * level * np.eye(len(outer)), cross))


def cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row, 0 for a row of zeros."""
    lengths = np.sqrt(np.einsum("nd,nd->n", a, a) * np.einsum("nd,nd->n", b, b))
    return np.asarray(np.divide(np.einsum("nd,nd->n", a, b), lengths, out=np.zeros(len(a)), where=lengths > 0))
