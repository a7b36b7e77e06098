"""What docs/scale.md says of the code is what the code says."""

from __future__ import annotations

import typing
from pathlib import Path

import numpy as np
import pytest

from dataaudit.aggregates import PART_ROWS
from dataaudit.aggregates.knn import Knn
from dataaudit.aggregates.near_duplicates import NearDuplicates, NearDuplicatesState
from dataaudit.aggregates.ngram_pairs import NgramPairs
from dataaudit.aggregates.ngram_sketch import TEXT_CELLS
from dataaudit.aggregates.picture_sample import PictureSample
from dataaudit.aggregates.targets import Targets
from dataaudit.engine import distributed
from dataaudit.engine.distributed import LEAST_MEMORY, OWN_MEMORY
from dataaudit.model import READING, Columns, Modality, Plan, Settings, TargetKind
from dataaudit.stages import detect, extract, look
from dataaudit.stages.aggregate import BATCH_ROWS, schedule
from dataaudit.store import records
from tests.benchmarks.scale.constants import Scheduler

TEXT = (Path(__file__).parents[3] / "docs" / "scale.md").read_text("utf-8")


@pytest.mark.parametrize(
    "bound",
    [
        PART_ROWS,
        Knn().references,
        NearDuplicates().exact,
        NearDuplicates().near,
        NearDuplicates().pictures,
        PictureSample().sample,
        NgramPairs().most,
        TEXT_CELLS,
        Targets().sample,
        detect.MARKED,
        BATCH_ROWS,
        extract.BATCH_SAMPLES,
        extract.SKIPS,
        look.FINDINGS,
    ],
)
def test_bounds_are_those_of_the_code(bound: int) -> None:
    assert f"{bound:,}" in TEXT


def test_memory_time_and_window_are_those_of_the_code() -> None:
    assert (OWN_MEMORY, LEAST_MEMORY, READING) == (1 << 30, 2 << 30, 0.6)
    assert distributed.WINDOW == Scheduler().window == 8


@pytest.mark.parametrize(
    ("modality", "kind", "waves", "aggregates"),
    [
        ("labelled-images", "label", 5, 8),
        ("captioned-images", "text", 7, 16),
        ("labelled-text", "label", 5, 15),
        ("instructions", "text", 5, 22),
        ("text", "none", 5, 20),
        ("vectors", "label", 3, 4),
    ],
)
def test_waves_and_aggregates_are_those_of_the_code(modality: Modality, kind: TargetKind, waves: int, aggregates: int) -> None:
    plan = Plan(modality, Columns("a", "b"), kind, "hashed", "00" * 16)
    found = schedule(detect.wanted_views(detect.choose(plan, Settings())[0]))
    assert (len(found), sum(map(len, found))) == (waves, aggregates)
    assert f" {waves} with {aggregates}" in TEXT or "5 and 7 waves with 8 and 16 aggregates" in TEXT


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_a_mapped_part_keeps_as_many_files_open_as_it_is_said(tmp_path: Path) -> None:
    """If this fails because there are fewer, docs/scale.md and `measured` say too many: change them."""
    n = 8
    arrays = {"content": "u8", "rank": "u8", "target": "i4", "count": "i8"}
    state = NearDuplicatesState(seen=n, **{k: np.zeros(n, t) for k, t in arrays.items()}, sketch=np.zeros((n, 128), np.uint8))
    assert len(typing.get_type_hints(NearDuplicatesState)) == 6
    records.save(state, tmp_path / "part.npz")
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = records.mapped(NearDuplicatesState, tmp_path / "part.npz")
    assert len(list(Path("/proc/self/fd").iterdir())) - before == 1
    assert kept.seen == n
