"""Inventories: what a source holds, what it hides, and names that are unique whatever the sources are."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from dataaudit.errors import SourceError
from dataaudit.model import Columns, Sample
from dataaudit.sources import inventory, paths, read

LINE = b'{"text": "a", "label": 1}\n'


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)
    return root


def names(*sources: Path | str) -> list[str]:
    return [shard.name for shard in inventory([str(s) for s in sources]).shards]


def test_a_directory_gives_all_shards_below_it_sorted(tmp_path: Path) -> None:
    plant(tmp_path, "b.jsonl", "a/x.tar", "a/y.TAR.GZ", "a/z.parquet", "c.ndjson", "d.jsonl.zst", "README.md", ".git/x.tar", ".x.tar")
    assert names(tmp_path) == ["a/x.tar", "a/y.TAR.GZ", "a/z.parquet", "b.jsonl", "c.ndjson", "d.jsonl.zst"]
    assert {s.format for s in inventory([str(tmp_path)]).shards} == {"tar", "parquet", "jsonl"}
    assert not inventory([str(tmp_path)]).skipped


def test_files_and_patterns(tmp_path: Path) -> None:
    plant(tmp_path, "a/x.jsonl", "b/x.jsonl", "b/y.jsonl")
    assert names(tmp_path / "a/x.jsonl") == ["x.jsonl"]
    assert names(tmp_path / "*/x.jsonl") == ["a/x.jsonl", "b/x.jsonl"]
    assert names(tmp_path / "**/y.jsonl") == ["b/y.jsonl"]
    assert names(f"file://{tmp_path}/a") == ["x.jsonl"]


def test_names_of_several_sources_never_collide(tmp_path: Path) -> None:
    plant(tmp_path, "one/data/x.jsonl", "two/data/x.jsonl", "three/x.jsonl", "three/only.jsonl", "four/other.jsonl")
    everything = [tmp_path / "one/data", tmp_path / "two/data", tmp_path / "three", tmp_path / "four"]
    assert names(*everything) == ["data/x.jsonl", "data~2/x.jsonl", "other.jsonl", "three/only.jsonl", "three/x.jsonl"]
    assert names(*everything) == names(*reversed(everything))
    assert names(tmp_path / "four", tmp_path / "four/other.jsonl") == ["other.jsonl"]


def test_an_etag_tells_a_changed_file(tmp_path: Path) -> None:
    plant(tmp_path, "x.jsonl")
    before = inventory([str(tmp_path)]).shards[0]
    assert inventory([str(tmp_path)]).shards[0] == before
    (tmp_path / "x.jsonl").write_bytes(LINE * 2)
    after = inventory([str(tmp_path)]).shards[0]
    assert (after.etag, after.size) != (before.etag, before.size)
    assert paths.state(after.uri) == (after.size, after.etag)


@pytest.mark.parametrize(
    ("where", "told"),
    [("nowhere", "no such file"), ("empty", "there is nothing"), ("texts", "there is 'notes.txt'"), ("texts/*.tar", "holds 'notes.txt'")],
)
def test_nothing_to_audit_says_what_was_looked_for_and_what_is_there(tmp_path: Path, where: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    plant(tmp_path / "texts", "notes.txt")
    with pytest.raises(SourceError, match=told):
        inventory([str(tmp_path / where)])
    with pytest.raises(SourceError, match="no source"):
        inventory([])


def test_links_that_leave_the_source_are_skipped_and_told(tmp_path: Path) -> None:
    plant(tmp_path, "out/x.jsonl", "data/y.jsonl")
    (tmp_path / "data/link.jsonl").symlink_to(tmp_path / "out/x.jsonl")
    (tmp_path / "data/dir").symlink_to(tmp_path / "out")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/gone.jsonl").symlink_to("nowhere")
    (tmp_path / "data/inside.jsonl").symlink_to("y.jsonl")
    found = inventory([str(tmp_path / "data")])
    assert [s.name for s in found.shards] == ["inside.jsonl", "y.jsonl"]
    assert sorted(s.subject for s in found.skipped) == ["dir", "gone.jsonl", "link.jsonl"]
    assert names(tmp_path / "data/link.jsonl") == ["link.jsonl"]  # named by the user, who may


def test_data_of_other_formats_and_images_beside_shards_are_told(tmp_path: Path) -> None:
    plant(tmp_path, "x.jsonl", "y.csv", "i/1.jpg", "i/2.jpg")
    skipped = inventory([str(tmp_path)]).skipped
    assert [s.subject for s in skipped] == ["i/1.jpg", "y.csv"] or [s.subject for s in skipped] == ["y.csv", "i/1.jpg"]
    assert any("2 image files" in s.reason for s in skipped)


def test_a_name_with_a_chain_in_it_stays_a_name(tmp_path: Path) -> None:
    plant(tmp_path, "a::memory:x.jsonl", "b#1of1.jsonl", "c?*.jsonl")
    found = inventory([str(tmp_path)]).shards
    assert len(found) == 3
    for shard in found:
        assert sum(isinstance(item, Sample) for item in read(shard, Columns("text", "label"))) == 1
    with pytest.raises(SourceError, match="chained"):
        inventory(["simplecache::memory://x"])


def test_other_storage_through_fsspec() -> None:
    store = fsspec.filesystem("memory")
    store.pipe(
        {"/bucket/set/a.jsonl": LINE, "/bucket/set/b/c.jsonl": LINE * 2, "/bucket/pics/cat/1.jpg": b"i", "/bucket/set/.d.jsonl": LINE}
    )
    assert names("memory://bucket/set") == ["a.jsonl", "b/c.jsonl"]
    assert names("memory://bucket/set/*.jsonl") == ["a.jsonl"]
    assert names("memory://bucket/set/b/c.jsonl") == ["c.jsonl"]
    shard = inventory(["memory://bucket/set"]).shards[1]
    assert sum(isinstance(item, Sample) for item in read(shard, Columns("text", "label"))) == 2
    assert paths.state(shard.uri) == (shard.size, shard.etag)
    cats = inventory(["memory://bucket/pics"]).shards
    assert [(s.id, s.target) for s in read(cats[0], Columns("image", "directory")) if isinstance(s, Sample)] == [("cat#1.jpg", "cat")]
    with pytest.raises(SourceError):
        inventory(["memory://bucket/nowhere"])
    with pytest.raises(SourceError, match="cannot be listed"):
        inventory(["nosuchscheme://x"])
    store.rm("/bucket", recursive=True)
