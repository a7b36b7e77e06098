"""cleanlab's Datalab: label, outlier and near-duplicate scores by features alone: INPUT OUT.

Scores are turned round, so that more is worse, as ours are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab import Datalab
from graph_points import points
from measuring import tell, timed

ISSUES = ("label", "outlier", "near_duplicate")


def scored(vectors: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """What Datalab says of every row, with its own graph."""
    lab = Datalab(data={"label": labels}, label_name="label", task="classification", verbosity=0)
    lab.find_issues(features=vectors, issue_types={name: {} for name in ISSUES})
    return lab.get_issues()


def main(given: str, out: str) -> None:
    """A small run first, for what is imported late."""
    vectors, labels = points(given), np.load(Path(given, "labels.npy"))
    scored(vectors[:500], labels[:500])
    table, cost = timed(lambda: scored(vectors, labels))
    tell(out, cost, **{name: 1 - table[f"{name}_score"].to_numpy() for name in ISSUES})


if __name__ == "__main__":
    main(*sys.argv[1:])
