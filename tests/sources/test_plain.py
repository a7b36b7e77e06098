"""Samples found many at a time are those that are made one by one, whatever the members, the limits and the bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.model import Columns, Sample, Shard
from dataaudit.sources import Limits, members, plain, read, tar

NUMBERS = ((100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (148, 156), (329, 337), (337, 345))
DATA = st.sampled_from([b"", b"0", b"1\n", b" ", b"\xff", b"caption", b"x" * 70, b"y" * 513, b"z" * 700])
SAMPLE = st.dictionaries(st.sampled_from(["jpg", "cls", "JPG", "txt", "json", "seg.png", "\N{LATIN SMALL LETTER E WITH ACUTE}"]), DATA)
SAMPLES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "d/a", ".c", "b.d/a", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"]), SAMPLE), max_size=5
)
COLUMNS = [
    Columns("jpg", "cls"),
    Columns("jpg;seg.png", "txt"),
    Columns("txt", "cls"),
    Columns("txt"),
    Columns(None, "cls"),
    Columns("jpg", "json:label"),
    Columns("jpg", "txt/cls"),
    Columns("jpg", "cls", "txt"),
]
LIMITS = [Limits(), Limits(content_bytes=600), Limits(members_per_sample=1), Limits(key_chars=2), Limits(text_chars=5)]


def written(named: list[tuple[str, bytes]], kind: int, time: float = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as file:
        for name, data in named:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), time
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def everything(path: Path, data: bytes, columns: Columns, limits: Limits, *, fast: bool = True) -> list[object]:
    path.write_bytes(data)
    shard = Shard(str(path), "x.tar", "tar", len(data), "")
    if fast:
        return list(read(shard, columns, limits))
    with mock.patch.object(members, "_plain_members", return_value=[]):
        return list(read(shard, columns, limits))


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(SAMPLES, st.integers(1, 5)), max_size=4),
    st.booleans(),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
    st.sampled_from([0, 12.5]),
    st.sampled_from(COLUMNS),
    st.sampled_from(LIMITS),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=2),
    st.integers(0, 20_000),
)
def test_both_ways_make_the_same_samples(tmp_path_factory, parts, numbered, kind, time, columns, limits, edits, cut) -> None:
    named = [
        (f"{key}{i if numbered else ''}.{extension}", body)
        for samples, times in parts
        for i in range(times)
        for key, sample in samples
        for extension, body in sample.items()
    ]
    data = bytearray(written(named, kind, time))
    for at, value in edits:
        if at < len(data):
            data[at] = value
    whole = bytes(data[: max(cut, 512)])
    path = tmp_path_factory.mktemp("t") / "x.tar"
    assert everything(path, whole, columns, limits) == everything(path, whole, columns, limits, fast=False)


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 11),
    st.sampled_from(NUMBERS[:5] + NUMBERS[6:]),
    st.text("07 \0\x80", max_size=12),
    st.sampled_from([b"%06o\0 ", b"%06o \0", b"%07o\0", b" %05o\0 ", b"%06o 7", b"%06o\0007", b"%o"]),
    st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=2),
)
def test_a_header_with_a_right_checksum_and_strange_fields(tmp_path_factory, number, field, text, checksum, edits) -> None:
    data = bytearray(written([(f"{i}.{e}", b"1") for i in range(6) for e in ("jpg", "cls")], tarfile.USTAR_FORMAT))
    header = memoryview(data)[1024 * number : 1024 * number + 512]
    told = text.encode("latin-1")[: field[1] - field[0]]
    header[field[0] : field[0] + len(told)] = told
    for at, value in edits:
        header[at] = value
    header[148:156] = b" " * 8
    header[148:156] = (checksum % sum(header)).ljust(8, b"\0")[:8]
    path = tmp_path_factory.mktemp("t") / "x.tar"
    assert everything(path, bytes(data), COLUMNS[0], Limits()) == everything(path, bytes(data), COLUMNS[0], Limits(), fast=False)


@pytest.mark.parametrize("time", [0, 1700000000.25])
@pytest.mark.parametrize("columns", [*COLUMNS[:2], Columns(None, "txt")])
def test_ordinary_samples_are_made_many_at_a_time(tmp_path: Path, columns: Columns, time: float) -> None:
    named = [(f"d/{i:04}.{e}", b"%d" % (i % 7)) for i in range(2000) for e in ("jpg", "txt", "cls")]
    with mock.patch.object(tar, "_sample", side_effect=tar._sample) as one_by_one:
        found = everything(tmp_path / "x.tar", written(named, tarfile.PAX_FORMAT, time), columns, Limits())
    assert sum(isinstance(item, Sample) for item in found) == 2000
    assert one_by_one.call_count < 60


def test_a_run_leaves_out_its_last_sample_and_ends_where_the_members_differ() -> None:
    named = [(f"{i}.{e}", b"1") for i in range(6) for e in ("jpg", "cls")]
    data = written([*named, ("6.jpg", b"1"), ("6.txt", b"1"), ("7.jpg", b"1")], tarfile.USTAR_FORMAT)
    table = plain.plain_members(data, 0)
    assert len(table) == 15
    run = plain.run_from(data, table, 2, ("jpg", "cls"), 0)
    assert run is not None
    assert run.keys == ("1", "2", "3", "4")
    assert run.data(run.column("cls")) == [b"1"] * 4
