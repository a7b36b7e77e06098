"""usearch's k nearest others of every point, connectivity 16: INPUT OUT DTYPE-EXPANSION_ADD@EXPANSION_SEARCH..."""

from __future__ import annotations

import sys
from itertools import groupby

import numpy as np
from graph_points import K, others, points
from measuring import beside, tell, timed
from usearch.index import Index


def built(vectors: np.ndarray, dtype: str, expansion: int) -> Index:
    """The index of all points."""
    index = Index(ndim=vectors.shape[1], metric="l2sq", dtype=dtype, connectivity=16, expansion_add=expansion)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return index


def main(given: str, out: str, *settings: str) -> None:
    """One thread."""
    vectors = points(given)
    for made, group in groupby(settings, lambda setting: setting.partition("@")[0]):
        dtype, _, expansion = made.partition("-")
        index, building = timed(lambda dtype=dtype, expansion=expansion: built(vectors, dtype, int(expansion)))
        for setting in group:
            index.expansion_search = int(setting.partition("@")[2])
            near, searching = timed(lambda index=index: others(index.search(vectors, K + 1, threads=1).keys))
            tell(beside(out, setting), building + searching, near=near)


if __name__ == "__main__":
    main(*sys.argv[1:])
