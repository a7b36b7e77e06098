"""A fact too large to be merged is kept in parts, and says the same as in one piece."""

import numpy as np
import pytest

import dataaudit
from dataaudit.stages import aggregate
from tests.planted import contents, corpus, poison, write_shards

SETTINGS = dataaudit.Settings(serial=True, seed=7, encoder="hashed")


def scan(data, out):
    dataaudit.scan([str(data)], out, SETTINGS)
    return contents(out)


def states(out):
    """Directories of parts, by shard."""
    return sorted(p for p in (out / "features" / "states").glob("*/*") if p.is_dir())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = poison(corpus())
    return write_shards([*rows, *rows[:100]], tmp_path_factory.mktemp("parts") / "data", 3)


def test_many_parts_say_what_one_says(data, tmp_path, monkeypatch):
    whole = scan(data, tmp_path / "whole")
    assert {len(list(folder.iterdir())) for folder in states(tmp_path / "whole")} == {1}
    monkeypatch.setattr(aggregate, "BATCH_ROWS", 64)
    monkeypatch.setattr(aggregate, "PART_ROWS", 128)
    assert scan(data, tmp_path / "parts") == whole
    assert all(len(list(folder.iterdir())) > 1 for folder in states(tmp_path / "parts"))


def test_a_shard_without_its_parts_is_made_again_and_the_others_are_not(data, tmp_path):
    first = scan(data, tmp_path / "audit")
    folders = states(tmp_path / "audit")
    assert len(folders) == 3
    times = [folder.stat().st_mtime_ns for folder in folders]
    # What a kill leaves behind: a directory under its temporary name, and no view.
    folders[0].rename(folders[0].with_name(f".{folders[0].name}.0000.tmp"))
    for view in (tmp_path / "audit" / "features" / "views").iterdir():
        view.unlink()
    assert scan(data, tmp_path / "audit") == first
    assert np.array_equal([folder.stat().st_mtime_ns for folder in folders[1:]], times[1:])
    assert [p.name for p in folders[0].iterdir()] == ["last.npz"]
