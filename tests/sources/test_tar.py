"""Webdataset tars: whole ones are read as written, damaged ones up to the damage and beyond it, hostile ones within limits."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import Digest, Limits, detect, fetch, read

IMAGES = Columns("jpg", "cls")


def tar_bytes(members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def images(count: int, size: int = 700) -> list[tuple[str, bytes]]:
    rng = random.Random(7)
    return [m for i in range(count) for m in ((f"a/{i:04}.jpg", rng.randbytes(size)), (f"a/{i:04}.cls", str(i % 3).encode()))]


def shard_of(path: Path, data: bytes, name: str = "x.tar") -> Shard:
    target = path / name
    target.write_bytes(data)
    status = target.stat()
    return Shard(str(target), name, "tar", status.st_size, f"{status.st_mtime_ns}-{status.st_size}")


def taken(shard: Shard, columns: Columns = IMAGES, limits: Limits | None = None) -> tuple[list[Sample], list[Skipped], Digest]:
    *items, last = read(shard, columns, limits)
    assert isinstance(last, Digest)
    assert not any(isinstance(item, Digest) for item in items)
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Skipped)], last


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "x.tar.zst"])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_was_written_is_read_and_found_again(tmp_path: Path, name: str, kind: int) -> None:
    plain = tar_bytes(images(40), kind)
    data = {"x.tar": plain, "x.tar.zst": zstandard.compress(plain)}.get(name) or gzip.compress(plain)
    shard = shard_of(tmp_path, data, name)
    samples, skipped, digest = taken(shard)
    assert not skipped
    assert [s.key for s in samples] == [f"a/{i:04}" for i in range(40)]
    assert [s.content for s in samples] == [data for key, data in images(40) if key.endswith("jpg")]
    assert [s.target for s in samples] == [str(i % 3) for i in range(40)]
    assert samples[3].id == f"{name}#a/0003"
    assert digest == Digest(hashlib.sha256(data).hexdigest(), len(data))
    wanted = {s.key: (s.offset, s.length) for s in samples[::7]}
    assert list(fetch(shard, IMAGES, wanted)) == samples[::7]
    assert detect(shard, Columns(None)) == ("labelled-images", IMAGES, "label")
    assert (tmp_path / name).read_bytes() == data


def test_long_and_foreign_names_are_whole(tmp_path: Path) -> None:
    name = "ü" * 70 + "/" + "b" * 120
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        samples, skipped, _ = taken(shard_of(tmp_path, tar_bytes([(name + ".jpg", b"1"), (name + ".cls", b"2")], kind)))
        assert not skipped
        assert [(s.key, s.content, s.target) for s in samples] == [(name, b"1", "2")]


def test_a_tar_cut_anywhere_gives_all_samples_before_the_cut_and_says_so(tmp_path: Path) -> None:
    members = images(6)
    data = tar_bytes(members)
    whole = taken(shard_of(tmp_path, data))[0]
    end = whole[-1].offset + whole[-1].length
    for cut in sorted({*range(0, end + 1, 512), *range(1, end, 777), 100, end - 1}):
        samples, skipped, digest = taken(shard_of(tmp_path, data[:cut]))
        complete = [s for s in whole if s.offset + s.length <= cut]
        assert samples[: len(complete)] == complete
        assert len(samples) <= len(complete) + 1  # the data may be whole where only padding is missing
        assert any(s.subject == "x.tar" and ("cut off" in s.reason or "empty" in s.reason) for s in skipped), cut
        assert digest.size == cut


def test_a_cut_inside_an_image_names_the_sample(tmp_path: Path) -> None:
    _, skipped, _ = taken(shard_of(tmp_path, tar_bytes(images(3))[: 512 + 300]))
    assert skipped[0].subject == "x.tar#a/0000"
    assert "cut off" in skipped[1].reason


@pytest.mark.parametrize(
    ("name", "pack"), [("x.tar.gz", gzip.compress), ("x.tar.zst", zstandard.ZstdCompressor(write_checksum=True).compress)]
)
def test_broken_compression_keeps_what_came_before(tmp_path: Path, name: str, pack) -> None:
    packed = pack(tar_bytes(images(400)))
    samples, skipped, digest = taken(shard_of(tmp_path, packed[: len(packed) // 2], name))
    assert 100 < len(samples) < 300
    assert any("cut off" in s.reason for s in skipped)
    assert digest.size == len(packed) // 2
    broken = bytearray(packed)
    broken[len(broken) // 2] ^= 0xFF
    samples, skipped, digest = taken(shard_of(tmp_path, bytes(broken), name))
    assert skipped
    assert digest.sha256 == hashlib.sha256(broken).hexdigest()
    _, skipped, _ = taken(shard_of(tmp_path, b"this is no archive", name))
    assert "damaged" in skipped[0].reason


def test_after_a_damaged_header_reading_goes_on(tmp_path: Path) -> None:
    data = bytearray(tar_bytes(images(5)))
    whole = taken(shard_of(tmp_path, bytes(data)))[0]
    data[whole[2].offset + 10] ^= 0xFF
    samples, skipped, _ = taken(shard_of(tmp_path, bytes(data)))
    assert [s.key for s in samples] == ["a/0000", "a/0001", "a/0003", "a/0004"]
    assert any(f"bytes {whole[2].offset} to" in s.reason for s in skipped)


def test_links_devices_and_members_without_extension_are_skipped_by_name(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name in ("0.cls", "README", "1.jpg", "1.cls"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"1"))
        folder = tarfile.TarInfo("some/folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    samples, skipped, _ = taken(shard_of(tmp_path, out.getvalue()))
    assert [s.key for s in samples] == ["1"]
    assert len(skipped) == 2
    assert "link or device" in skipped[0].reason
    assert "README" in skipped[1].subject


def test_missing_empty_and_undecodable_targets_are_skipped(tmp_path: Path) -> None:
    members = [
        ("0.jpg", b"i"),
        ("1.jpg", b"i"),
        ("1.cls", b" \n"),
        ("2.jpg", b"i"),
        ("2.cls", b"\xff\xfe"),
        ("3.jpg", b"i"),
        ("3.cls", b"5\n"),
    ]
    samples, skipped, _ = taken(shard_of(tmp_path, tar_bytes(members)))
    assert [(s.key, s.target) for s in samples] == [("3", "5")]
    assert [s.subject for s in skipped] == ["x.tar#0", "x.tar#1", "x.tar#2"]
    assert ["no member .cls" in skipped[0].reason, "empty" in skipped[1].reason, "UTF-8" in skipped[2].reason] == [True] * 3


def test_a_repeated_key_keeps_both_samples_apart(tmp_path: Path) -> None:
    members = [
        ("k.jpg", b"1"),
        ("k.cls", b"1"),
        ("k.jpg", b"2"),
        ("k.cls", b"2"),
        ("j.jpg", b"3"),
        ("j.cls", b"3"),
        ("k.jpg", b"4"),
        ("k.cls", b"4"),
    ]
    shard = shard_of(tmp_path, tar_bytes(members))
    samples, _, _ = taken(shard)
    assert [(s.key, s.content) for s in samples] == [("k", b"1"), ("k~2", b"2"), ("j", b"3"), ("k~3", b"4")]
    assert samples[1].metadata == {"repeated_key": "k"}
    assert list(fetch(shard, IMAGES, {"k~2": (samples[1].offset, samples[1].length)})) == [samples[1]]


def test_json_members_give_text_and_label(tmp_path: Path) -> None:
    members = [(f"{i}.json", b'{"text": "so much to say %d", "label": %d}' % (i, i % 2)) for i in range(5)]
    shard = shard_of(tmp_path, tar_bytes(members))
    modality, columns, kind = detect(shard, Columns(None))
    assert (modality, columns.content, columns.target, kind) == ("labelled-text", "json:text", "json:label", "label")
    samples, skipped, _ = taken(shard, columns)
    assert not skipped
    assert [s.target for s in samples] == ["0", "1", "0", "1", "0"]
    assert samples[0].content == "so much to say 0"


@pytest.mark.parametrize(
    ("members", "modality", "columns", "kind"),
    [
        ([("0.png", b"i"), ("0.txt", b"a cat")], "captioned-images", Columns("png", "txt"), "text"),
        ([("0.txt", b"a cat"), ("0.cls", b"1")], "labelled-text", Columns("txt", "cls"), "label"),
        ([("0.txt", b"a cat")], "text", Columns("txt"), "none"),
        ([("0.jpg", b"i"), ("0.cls", b"1"), ("1.png", b"i"), ("1.cls", b"1")], "labelled-images", Columns("jpg;png", "cls"), "label"),
        ([("0.jpg", b"i"), ("0.json", b'{"label": 3}')], "labelled-images", Columns("jpg", "json:label"), "label"),
    ],
)
def test_usual_extensions_are_recognised_and_readable(tmp_path: Path, members, modality, columns, kind) -> None:
    shard = shard_of(tmp_path, tar_bytes(members))
    assert detect(shard, Columns(None)) == (modality, columns, kind)
    assert not taken(shard, columns)[1]


def test_an_npy_member_is_a_vector_and_a_pickled_one_is_not_touched(tmp_path: Path) -> None:
    good, evil = io.BytesIO(), io.BytesIO()
    np.save(good, np.arange(4, dtype=np.float16))
    np.save(evil, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    shard = shard_of(tmp_path, tar_bytes([("0.npy", good.getvalue()), ("0.cls", b"1"), ("1.npy", evil.getvalue()), ("1.cls", b"1")]))
    assert detect(shard, Columns(None)) == ("vectors", Columns(None, "cls", None, "npy"), "label")
    samples, skipped, _ = taken(shard, Columns(None, "cls", None, "npy"))
    assert samples[0].vector is not None
    assert samples[0].vector.tolist() == [0, 1, 2, 3]
    assert [s.subject for s in skipped] == ["x.tar#1"]


def test_limits_hold_against_bombs(tmp_path: Path) -> None:
    big = tarfile.TarInfo("9.jpg")
    big.size = 1 << 40  # promised, never there
    pax = tarfile.TarInfo("x")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 36
    small = Limits(content_bytes=1000, members_per_sample=4)
    start = tar_bytes([("0.jpg", b"x" * 1001), ("0.cls", b"1"), *((f"1.e{i}", b"") for i in range(9)), ("1.jpg", b"i"), ("1.cls", b"1")])[
        :-1024
    ]
    for bomb in (big, pax):
        tracemalloc.start()
        samples, skipped, _ = taken(shard_of(tmp_path, start.rstrip(b"\0") + b"\0" * 511 + bomb.tobuf()), limits=small)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()
        assert not samples
        assert "1001 bytes, limit 1000" in skipped[0].reason
        assert "more than 4 members" in skipped[1].reason


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.zst"])
def test_a_decompression_bomb_is_given_up(tmp_path: Path, name: str) -> None:
    zeros = bytes(64 << 20)
    data = gzip.compress(zeros, 6) if name.endswith("gz") else zstandard.compress(zeros)
    _, skipped, digest = taken(shard_of(tmp_path, data, name), limits=Limits(expansion_grace=1 << 20))
    assert "bomb" in skipped[0].reason
    assert digest.sha256 == hashlib.sha256(data).hexdigest()


def test_data_behind_the_end_marker_is_told(tmp_path: Path) -> None:
    data = tar_bytes(images(2))
    samples, skipped, _ = taken(shard_of(tmp_path, data + data))
    assert len(samples) == 2
    assert "end marker" in skipped[0].reason


def test_a_changed_shard_is_not_looked_at_again(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, tar_bytes(images(3)))
    samples, _, _ = taken(shard)
    shard_of(tmp_path, tar_bytes(images(4)))
    again = list(fetch(shard, IMAGES, {samples[0].key: (samples[0].offset, samples[0].length)}))
    assert [(type(item), item.subject) for item in again] == [(Skipped, "x.tar#a/0000")]
    Path(shard.uri).unlink()
    assert isinstance(next(iter(fetch(shard, IMAGES, {"k": (0, 1)}))), Skipped)
    samples, skipped, digest = taken(shard)
    assert (samples, len(skipped), digest.sha256) == ([], 1, "")


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "big.tar"
    payload = b"x" * 4000
    with tarfile.open(path, "w") as tar:
        for i in range(3000):
            for name, data in ((f"{i}.jpg", payload), (f"{i}.cls", b"1")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                tar.members = []
    peaks = []
    for count in (1000, 3000):
        tracemalloc.start()
        got = 0
        for item in read(Shard(str(path), "big.tar", "tar", 0, ""), IMAGES):
            got += isinstance(item, Sample)
            if got == count:
                break
        assert got == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3000 * 200
    assert peaks[1] < 4 << 20


BASE = tar_bytes(images(4, 300))


@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(BASE)))
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_damage_raises(tmp_path_factory, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(BASE)
    for at, value in edits:
        data[at] = value
    data = data[:cut]
    samples, _, digest = taken(shard_of(tmp_path_factory.mktemp("t"), bytes(data)))
    assert digest.sha256 == hashlib.sha256(data).hexdigest()
    assert len({s.id for s in samples}) == len(samples)


@given(st.binary(max_size=3000), st.sampled_from(["x.tar", "x.tar.gz", "x.tar.zst"]))
@hypothesis_settings(max_examples=100, deadline=None)
def test_no_bytes_raise(tmp_path_factory, data: bytes, name: str) -> None:
    samples, skipped, digest = taken(shard_of(tmp_path_factory.mktemp("t"), data, name))
    assert not samples
    assert skipped
    assert digest == Digest(hashlib.sha256(data).hexdigest(), len(data))
