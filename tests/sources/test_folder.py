"""Image folders: the first directory is the label; large classes are split so that a new file changes one part."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dataaudit.errors import SourceError
from dataaudit.model import Columns, Sample, Skipped
from dataaudit.sources import Digest, Limits, detect, fetch, folder, inventory, read

COLUMNS = Columns("image", "directory")


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_directories_are_labels(tmp_path: Path) -> None:
    plant(tmp_path, "cat/1.jpg", "cat/deep/2.PNG", "dog/1.jpg", "dog/notes.txt", "dog/.hidden.jpg")
    found = inventory([str(tmp_path)])
    assert [s.name for s in found.shards] == ["cat", "dog"]
    assert not found.skipped
    assert detect(found.shards[0], Columns(None)) == ("labelled-images", COLUMNS, "label")
    *cats, digest = read(found.shards[0], COLUMNS)
    assert [(s.id, s.content, s.target) for s in cats if isinstance(s, Sample)] == [
        ("cat#1.jpg", b"cat/1.jpg", "cat"),
        ("cat#deep/2.PNG", b"cat/deep/2.PNG", "cat"),
    ]
    told = "cat\n" + "".join(f"{key}\0{hashlib.sha256(f'cat/{key}'.encode()).hexdigest()}\n" for key in ("1.jpg", "deep/2.PNG"))
    assert digest == Digest(hashlib.sha256(told.encode()).hexdigest(), len("cat/1.jpg") + len("cat/deep/2.PNG"))
    assert list(fetch(found.shards[0], COLUMNS, {"deep/2.PNG": (1, 14)})) == [cats[1]]


def test_a_key_is_looked_up_and_never_a_path(tmp_path: Path) -> None:
    plant(tmp_path, "data/cat/1.jpg", "secret.jpg")
    shard = inventory([str(tmp_path / "data")]).shards[0]
    for key in ("../../secret.jpg", str(tmp_path / "secret.jpg"), "2.jpg"):
        (found,) = fetch(shard, COLUMNS, {key: (0, 1)})
        assert isinstance(found, Skipped)


def test_parts_share_a_class_without_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "FILES_PER_SHARD", 10)
    plant(tmp_path, *(f"cat/{i}.jpg" for i in range(35)), "dog/1.jpg")
    before = inventory([str(tmp_path)]).shards
    assert [s.name for s in before] == ["cat/1of4", "cat/2of4", "cat/3of4", "cat/4of4", "dog"]
    keys = [item.key for shard in before[:4] for item in read(shard, COLUMNS) if isinstance(item, Sample) and item.target == "cat"]
    assert sorted(keys) == sorted(f"{i}.jpg" for i in range(35))
    plant(tmp_path, "cat/new.jpg")
    after = inventory([str(tmp_path)]).shards
    assert sum(a.etag != b.etag for a, b in zip(before, after, strict=True)) == 1


def test_images_without_a_directory_have_no_label(tmp_path: Path) -> None:
    flat = inventory([str(plant(tmp_path / "a", "1.jpg", "2.jpg"))]).shards[0]
    assert flat.name == "flat"
    assert detect(flat, Columns(None)) == ("labelled-images", Columns("image"), "none")
    assert [s.target for s in read(flat, Columns("image")) if isinstance(s, Sample)] == [None, None]
    mixed = inventory([str(plant(tmp_path / "b", "1.jpg", "horse/2.jpg"))]).shards
    assert [detect(shard, Columns(None))[1] for shard in mixed] == [COLUMNS, COLUMNS]
    skipped = next(iter(read(mixed[0], COLUMNS)))
    assert isinstance(skipped, Skipped)
    assert "no label" in skipped.reason


def test_empty_huge_and_vanished_images_are_skipped(tmp_path: Path) -> None:
    plant(tmp_path, "cat/1.jpg", "cat/2.jpg", "cat/3.jpg")
    (tmp_path / "cat/1.jpg").write_bytes(b"")
    (tmp_path / "cat/2.jpg").write_bytes(b"x" * 100)
    shard = inventory([str(tmp_path)]).shards[0]
    *items, _ = read(shard, COLUMNS, Limits(content_bytes=99))
    assert [type(item) for item in items] == [Skipped, Skipped, Sample]
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / "cat" / name).unlink()
    (tmp_path / "cat").rmdir()
    skipped, digest = read(shard, COLUMNS)
    assert isinstance(skipped, Skipped)
    assert isinstance(digest, Digest)
    with pytest.raises(SourceError):
        detect(shard, Columns(None))


def test_links_out_of_the_folder_and_pipes_are_not_followed(tmp_path: Path) -> None:
    plant(tmp_path, "data/cat/1.jpg", "secret.jpg")
    (tmp_path / "data/cat/2.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "data/cat/3.jpg").symlink_to("1.jpg")
    os.mkfifo(tmp_path / "data/cat/4.jpg")
    found = inventory([str(tmp_path / "data")])
    assert [(s.subject, s.reason) for s in found.skipped] == [
        ("cat/2.jpg", "is a link to a file outside the source, not followed"),
        ("cat/4.jpg", "is not a regular file"),
    ]
    *items, _ = read(found.shards[0], COLUMNS)
    assert [item.key for item in items if isinstance(item, Sample)] == ["1.jpg", "3.jpg"]
    assert b"secret.jpg" not in [item.content for item in items if isinstance(item, Sample)]
