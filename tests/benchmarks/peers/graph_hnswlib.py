"""hnswlib's k nearest others of every point, M = 16: INPUT OUT EF_CONSTRUCTION@EF..."""

from __future__ import annotations

import sys
from itertools import groupby

import hnswlib
import numpy as np
from graph_points import K, others, points
from measuring import beside, tell, timed


def built(vectors: np.ndarray, construction: int) -> hnswlib.Index:
    """The index of all points."""
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=16, ef_construction=construction, random_seed=1)
    index.set_num_threads(1)
    index.add_items(vectors)
    return index


def main(given: str, out: str, *settings: str) -> None:
    """One thread."""
    vectors = points(given)
    for construction, group in groupby(settings, lambda setting: setting.partition("@")[0]):
        index, building = timed(lambda construction=construction: built(vectors, int(construction)))
        for setting in group:
            index.set_ef(int(setting.partition("@")[2]))
            near, searching = timed(lambda index=index: others(index.knn_query(vectors, K + 1)[0]))
            tell(beside(out, setting), building + searching, near=near)


if __name__ == "__main__":
    main(*sys.argv[1:])
