"""Records on disk: whole or not there, and the same whether they are loaded or mapped."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.errors import AuditDirectoryError
from dataaudit.store import records


@dataclass(frozen=True)
class Record:
    count: int
    names: tuple[str, ...]
    numbers: NDArray[np.uint64]
    grid: NDArray[np.uint8]
    turned: NDArray[np.float32]
    empty: NDArray[np.int32]


def record():
    grid = np.arange(35, dtype=np.uint8).reshape(5, 7)
    return Record(
        3, ("a", "b"), np.arange(9, dtype=np.uint64), grid, np.asfortranarray(grid.astype(np.float32)), np.empty((0, 4), np.int32)
    )


def test_mapped_is_what_was_saved(tmp_path):
    records.save(record(), tmp_path / "r.npz")
    found = records.mapped(Record, tmp_path / "r.npz")
    assert isinstance(found.numbers, np.memmap)
    assert (found.count, found.names) == (3, ("a", "b"))
    for name in ("numbers", "grid", "turned", "empty"):
        left, right = getattr(found, name), getattr(record(), name)
        assert left.dtype == right.dtype
        assert np.array_equal(left, right)


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no zip at all"])
def test_a_spoilt_file_is_said_to_be_one(tmp_path, spoil):
    path = tmp_path / "r.npz"
    records.save(record(), path)
    path.write_bytes(spoil(path.read_bytes()))
    for read in (records.load, records.mapped):
        with pytest.raises(AuditDirectoryError, match=r"r\.npz: not a readable Record"):
            read(Record, path)


def test_compressed_arrays_are_not_mapped(tmp_path):
    np.savez_compressed(tmp_path / "r.npz", __plain__=np.frombuffer(b"{}", np.uint8), numbers=np.arange(9))
    with pytest.raises(AuditDirectoryError, match="compressed"):
        records.mapped(Record, tmp_path / "r.npz")


def test_a_directory_is_there_once_it_is_complete(tmp_path):
    with records.atomic_directory(tmp_path / "d") as folder:
        (folder / "one").write_text("1")
        assert not (tmp_path / "d").exists()
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["one"]


def test_a_directory_that_failed_leaves_nothing(tmp_path):
    def fill():
        with records.atomic_directory(tmp_path / "d") as folder:
            (folder / "one").write_text("1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    assert not list(tmp_path.iterdir())


def test_of_two_that_fill_one_directory_the_first_stays(tmp_path):
    with records.atomic_directory(tmp_path / "d") as folder:
        (folder / "mine").write_text("1")
        with records.atomic_directory(tmp_path / "d") as quicker:
            (quicker / "theirs").write_text("2")
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_arrays_of_a_mapped_record_share_one_map(tmp_path):
    records.save(record(), tmp_path / "r.npz")
    found = records.mapped(Record, tmp_path / "r.npz")
    assert found.numbers._mmap is found.grid._mmap is found.turned._mmap


@pytest.mark.parametrize("read", [records.load, records.mapped])
def test_a_file_that_cannot_be_opened_is_not_to_be_deleted(tmp_path, read):
    with pytest.raises(AuditDirectoryError, match="cannot be read") as raised:
        read(Record, tmp_path)
    assert "delete" not in str(raised.value)
