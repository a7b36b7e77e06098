"""pynndescent's k nearest others of every point: INPUT OUT warm|cold NEIGHBOURS...

`warm`: everything is compiled before the clock starts, by points of the same kind.
"""

from __future__ import annotations

import sys

import numpy as np
from graph_points import K, others, points
from measuring import beside, tell, timed
from pynndescent import NNDescent


def graph(vectors: np.ndarray, neighbours: int) -> np.ndarray:
    """The lists that the descent ends with, longer than asked for where that finds more."""
    return others(NNDescent(vectors, n_neighbors=neighbours, random_state=1, n_jobs=1).neighbor_graph[0])


def main(given: str, out: str, state: str, *settings: str) -> None:
    """One thread."""
    vectors = points(given)
    if state == "warm":
        graph(vectors[:5000], K + 1)
    for setting in settings:
        near, cost = timed(lambda setting=setting: graph(vectors, int(setting)))
        tell(beside(out, setting), cost, near=near)


if __name__ == "__main__":
    main(*sys.argv[1:])
