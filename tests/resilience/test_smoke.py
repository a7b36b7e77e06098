"""Two minutes of the suite in `tests/resilience`: a little of every part, so that what is promised under fire is tried on each change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.resilience import fuzz, kills, read_errors
from tests.resilience.disk_full import full
from tests.resilience.scans import Data, undisturbed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resilience")


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    return Data.made(folder / "data", 300, 12)


@pytest.fixture(scope="module")
def straight(data: Data, folder: Path) -> dict[str, object]:
    return undisturbed(data, folder / "straight")


def test_three_killed_workers_take_nothing_with_them(data: Data, straight: dict[str, object], tmp_path: Path) -> None:
    record = kills.killed_workers(data, straight, tmp_path, 3, seed=1, mean=2.0)
    assert record["kills"]
    assert not record["failure"]


def test_a_killed_scheduler_ends_the_scan_with_a_message_and_the_next_run_concludes_it(
    data: Data, straight: dict[str, object], tmp_path: Path
) -> None:
    record = kills.killed_scheduler(data, straight, tmp_path, 1, seed=1)
    assert record["kills"] == 1
    assert not record["failure"]


def test_a_full_disk_is_said_and_the_next_run_concludes_the_audit(
    data: Data, straight: dict[str, object], folder: Path, tmp_path: Path
) -> None:
    assert not full(data, straight, folder / "straight", tmp_path / "full", seed=2, mounted=False)["failure"]


@pytest.mark.parametrize("name", read_errors.FORMATS)
def test_damage_to_a_file_is_told_and_never_raised(name: str, tmp_path: Path) -> None:
    assert not read_errors.read_damaged(name, 40, tmp_path / "damaged", seed=3)["failure"]


@pytest.mark.parametrize("name", fuzz.MODULES)
def test_a_few_thousand_inputs_that_nobody_thought_of(name: str, tmp_path: Path) -> None:
    record = fuzz.run(name, tmp_path / name, 2000, 30, seed=4)
    assert record["executions"]
    assert not record["failure"]
