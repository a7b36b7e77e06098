"""The arithmetic of the scale rows, on runs and points made up; one row as a whole, with peers where there are any."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataaudit.features import embedding
from tests.benchmarks.scale import __main__ as command
from tests.benchmarks.scale import inputs, judging, rows, running, table, vectors
from tests.benchmarks.scale.rows import Contender, Row
from tests.benchmarks.scale.running import Run
from tests.benchmarks.suite import Missing

OURS = Contender("ours", (), ours=True)
QUICK, CAREFUL = Contender("quick", (), ("a", "b")), Contender("careful", ())
ASIDE = Contender("aside", (), beside=True)
ROW = Row("made-up", "points", 1000, inputs.nothing, judging.unjudged, (OURS, QUICK, CAREFUL, ASIDE), goal=2, least=0.9)


def run(name: str, setting: str, repeat: int, cpu: float, accuracy: float) -> Run:
    return Run(name, setting, repeat, cpu, cpu, 1e9, accuracy)


RUNS = [
    run("ours", "", 0, 2.0, 0.95),
    run("quick", "a", 0, 1.0, 0.5),
    run("quick", "b", 0, 5.0, 0.91),
    run("careful", "", 0, 9.0, 1.0),
    run("aside", "", 0, 0.1, 1.0),
    run("ours", "", 1, 2.0, 0.95),
    run("quick", "b", 1, 7.0, 0.91),
    run("careful", "", 1, 9.0, 1.0),
]


def test_the_ratio_is_to_the_cheapest_peer_that_is_good_enough():
    found = table.ratio(ROW, RUNS)
    assert found.peer.contender is QUICK
    assert (found.middle, found.low, found.high) == (3.0, 2.5, 3.5)
    assert "**3.00 times** (2.50-3.50) quick (b); goal 2: met" in table.told(ROW, 1000, RUNS)
    assert "| made-up | 2.00 (2.00-2.00) | quick b | 6.00 (5.00-7.00) |" in table.overview([(ROW, RUNS)])


def test_without_a_fixed_accuracy_a_peer_must_reach_ours():
    row = replace(ROW, least=None, tolerance=0.01)
    assert table.ratio(row, RUNS).peer.contender is CAREFUL
    assert table.ratio(replace(row, tolerance=0.04), RUNS).peer.contender is QUICK
    none = [replace(r, accuracy=0.1) if r.contender != "ours" else r for r in RUNS]
    assert table.ratio(row, none).peer is None
    assert "no peer is as good" in table.told(row, 1000, none)


def test_there_is_no_ratio_where_ours_falls_short():
    assert "0.9500, below the 0.97 that is asked for: no ratio" in table.verdict(replace(ROW, least=0.97), RUNS)


def test_a_goal_may_be_beside_one_peer():
    assert "goal 4 beside careful: met" in table.verdict(replace(ROW, goal=4, goal_beside=("careful",)), RUNS)
    assert "MISSED with 3.00" in table.verdict(replace(ROW, goal=4), RUNS)


def test_after_the_first_round_the_cheapest_good_setting_is_kept():
    assert table.kept(ROW, QUICK, RUNS) == ("b",)
    assert table.kept(replace(ROW, least=0.4), QUICK, RUNS) == ("a",)
    assert table.kept(replace(ROW, least=0.99), QUICK, RUNS) == ("b",), "the most accurate, so that its cost is seen"
    assert table.kept(ROW, CAREFUL, RUNS) == ()


def test_a_failed_peer_is_told_and_has_no_part():
    failed = [*RUNS[:3], Run("careful", "", 0, failed="exit 1: no memory")]
    assert table.ratio(ROW, failed).peer.contender is QUICK
    assert "careful  failed: exit 1: no memory" in table.told(ROW, 1000, failed)


def test_recall_counts_distinct_others_that_are_near_enough(tmp_path):
    made = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    folder = vectors.folder(made, tmp_path, "made")
    points = np.load(folder / "points.npy").astype(np.int64)
    assert (points == embedding.quantise(made)).all()
    apart = ((points[:, None] - points) ** 2).sum(2)
    np.fill_diagonal(apart, apart.max() + 1)
    near = np.argsort(apart, axis=1)[:, : vectors.K]
    assert judging.recall(folder, {"near": near}) == {"accuracy": 1.0}
    near[:, 10:] = near[:, :1]
    assert judging.recall(folder, {"near": near}) == {"accuracy": 0.5}
    near[:] = np.arange(300)[:, None]
    assert judging.recall(folder, {"near": near}) == {"accuracy": 0.0}


def test_every_contender_and_row_can_be_told_apart():
    assert len({row.name for row in rows.ROWS}) == len(rows.ROWS)
    for row in rows.ROWS:
        assert len({c.name for c in row.contenders}) == len(row.contenders)
        assert sum(c.ours and not c.beside for c in row.contenders) == 1
        scripts = [Path(c.command[0]) for c in row.contenders if not c.ours]
        assert all(script.exists() and "dataaudit" not in script.read_text() for script in scripts)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Two small tars of pictures that are none: this row does not decode."""
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as out:
            for at in range(30):
                for extension, content in (("jpg", f"{number} {at}".encode() * 50), ("cls", str(at % 3).encode())):
                    member = tarfile.TarInfo(f"{at:03d}.{extension}")
                    member.size = len(content)
                    out.addfile(member, io.BytesIO(content))
    monkeypatch.setenv("DATAAUDIT_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATAAUDIT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_ours_reads_what_the_row_expects(data):
    row = next(r for r in rows.ROWS if r.name == "tar")
    folder = row.prepare(inputs.Wanted(data / "cache", 10_000))
    (only,) = running.rounds(row, folder, None, 1)
    assert only.accuracy == 1.0
    assert only.cpu > 0
    assert only.memory > 1e6


def test_the_command_with_peers(data, capsys):
    """$DATAAUDIT_BENCH_PEERS is the interpreter of an environment with tests/benchmarks/peers/requirements.txt."""
    python = os.environ.get("DATAAUDIT_BENCH_PEERS")
    if not python:
        pytest.skip("DATAAUDIT_BENCH_PEERS is not set")
    command.main(["--only", "tar", "--size", "10000", "--repeat", "2", "--peers", python, "--results", str(data / "results")])
    shown = capsys.readouterr().out
    assert "times**" in shown
    assert "| webdataset |" in shown
    assert "failed" not in shown
    command.main(["--only", "tar", "--size", "10000", "--table", "--results", str(data / "results")])
    assert "times**" in capsys.readouterr().out


def test_an_interpreter_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(Missing, match="there is no"):
        running.peers(tmp_path / "python", tmp_path)
