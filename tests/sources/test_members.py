"""Members found many at a time are those that are parsed one by one, whatever the bytes."""

from __future__ import annotations

import io
import tarfile
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.sources import Limits, members
from dataaudit.sources.plain import Run
from dataaudit.sources.streams import Stream

KEPT = {"jpg": 600, "cls": 600}
NAMES = st.one_of(
    st.from_regex(r"[a-c]{1,3}(/[a-c]{1,2})?\.(jpg|cls|JPG|seg\.png)", fullmatch=True), st.text("aé/. ", min_size=1, max_size=120)
)


def tar(named: list[tuple[str, int, float]], kind: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as file:
        for name, size, time in named:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = size, time
            file.addfile(info, io.BytesIO(bytes(size)))
    return out.getvalue()


def told(data: bytes) -> list[members.Member]:
    def keep(extension: str) -> int:
        return KEPT.get(extension, 0)

    found = members.members(Stream(io.BytesIO(data), "", Limits()), keep, Limits())
    return [m for item in found for m in (members.unrolled(item, keep) if isinstance(item, Run) else (item,))]


def one_by_one(data: bytes) -> list[members.Member]:
    with mock.patch.object(members, "_plain_members", return_value=[]):
        return told(data)


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from([0, 1, 511, 512, 513, 700]), st.sampled_from([0, 0.0, 12.5, 1e9 + 0.25])), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3),
    st.integers(0, 12_000),
)
def test_both_ways_tell_the_same(named, kind, edits, cut) -> None:
    try:
        data = bytearray(tar(named, kind))
    except ValueError:  # a name that the format has no room for
        return
    for at, value in edits:
        if at < len(data):
            data[at] = value
    whole = bytes(data[: max(cut, 512)])
    assert told(whole) == one_by_one(whole)


@pytest.mark.parametrize("time", [0, 1700000000.25])
def test_plain_members_and_those_with_times_are_found_many_at_a_time(time: float) -> None:
    data = tar([(f"{i:04}.{e}", 300, time) for i in range(50) for e in ("jpg", "cls")], tarfile.PAX_FORMAT)
    with mock.patch.object(members, "_header", side_effect=AssertionError("parsed one by one")):
        found = told(data)
    assert [m.name for m in found[:2]] == ["0000.jpg", "0000.cls"]
    assert len(found) == 100
    assert found[0].start == 0
    assert found[1].start == found[0].end


def test_a_wrong_checksum_is_not_passed_over() -> None:
    data = bytearray(tar([("a.jpg", 10, 0), ("b.jpg", 10, 0), ("c.jpg", 10, 0)], tarfile.USTAR_FORMAT))
    data[1024 + 5] ^= 1
    found = told(bytes(data))
    assert [m.name for m in found] == ["a.jpg", "", "c.jpg"]
    assert "damaged header" in found[1].problem
