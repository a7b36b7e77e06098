"""FAISS's k nearest others of every point: INPUT OUT SETTING...

A setting is FACTORY@VALUE: `Flat@0`, `IVF512,Flat@16` (nprobe), `HNSW16@32` (efSearch).  One factory's index is built once; each
setting has its cost and that of its own search.
"""

from __future__ import annotations

import sys
from itertools import groupby

import faiss
import numpy as np
from graph_points import K, others, points
from measuring import beside, tell, timed


def built(factory: str, vectors: np.ndarray) -> faiss.Index:
    """The index of all points."""
    index = faiss.index_factory(vectors.shape[1], factory)
    index.train(vectors)
    index.add(vectors)
    return index


def searched(index: faiss.Index, vectors: np.ndarray, rows: int = 10_000) -> np.ndarray:
    """Every point's nearest, a slice at a time."""
    parts = [others(index.search(vectors[at : at + rows], K + 1)[1], at) for at in range(0, len(vectors), rows)]
    return np.concatenate(parts)


def main(given: str, out: str, *settings: str) -> None:
    """One thread."""
    faiss.omp_set_num_threads(1)
    vectors = points(given)
    for factory, group in groupby(settings, lambda setting: setting.partition("@")[0]):
        index, building = timed(lambda factory=factory: built(factory, vectors))
        for setting in group:
            value = int(setting.partition("@")[2])
            if value:
                name = "efSearch" if factory.startswith("HNSW") else "nprobe"
                faiss.ParameterSpace().set_index_parameter(index, name, value)
            near, searching = timed(lambda index=index: searched(index, vectors))
            tell(beside(out, setting), building + searching, near=near)


if __name__ == "__main__":
    main(*sys.argv[1:])
