"""What a detector says of a feature table, as the stages would have it: scores by part, then findings with their second look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataaudit.detectors import Detector, Scores
from dataaudit.model import Finding, Sample


def scanned(
    detector: Detector, parts: Sequence[pa.Table], views: Mapping[str, Any], pairs: Sequence[tuple[str, str | None]]
) -> tuple[list[Finding], Scores]:
    """The described findings, and the scores of all rows; row i was made of `pairs[i]`."""
    said = [detector.score(part, views) for part in parts]
    scores = Scores(np.concatenate([s.score for s in said]), np.concatenate([s.group for s in said]))
    whole, rows = pa.concat_tables(parts), np.flatnonzero(scores.group >= 0)
    marked = pa.table(
        {
            "sample_id": pa.array([str(i) for i in rows], pa.string()),
            "target": whole.column("target").take(pa.array(rows)),
            "digest": whole.column("digest").take(pa.array(rows)),
            "score": pa.array(scores.score[rows]),
            "group": pa.array(scores.group[rows]),
        }
    )
    samples = [Sample(str(i), str(i), *pair, i, 1) for i, pair in enumerate(pairs)]
    findings = list(detector.findings(marked, views))
    return [detector.describe(f, [samples[int(i)] for i in f.samples[:24]], views) for f in findings], scores


def members(finding: Finding, scores: Scores) -> set[int]:
    """The rows that a finding is about."""
    return set(np.flatnonzero(np.isin(scores.group, finding.groups)).tolist())
