"""JSON Lines: good lines are read whatever their neighbours are, bad ones are named by line and byte."""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import Digest, Limits, detect, fetch, read

COLUMNS = Columns("text", "label")


def shard_of(path: Path, data: bytes, name: str = "x.jsonl") -> Shard:
    target = path / name
    target.write_bytes(data)
    status = target.stat()
    return Shard(str(target), name, "jsonl", status.st_size, f"{status.st_mtime_ns}-{status.st_size}")


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def taken(shard: Shard, columns: Columns = COLUMNS, limits: Limits | None = None) -> tuple[list[Sample], list[Skipped], Digest]:
    *items, last = read(shard, columns, limits)
    assert isinstance(last, Digest)
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Skipped)], last


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.jsonl.gz", "x.jsonl.zst"])
def test_what_was_written_is_read_and_found_again(tmp_path: Path, name: str) -> None:
    plain = b"\xef\xbb\xbf" + lines(*({"text": f"größer {i}", "label": i % 2} for i in range(50)))
    data = {"gz": gzip.compress, "zs": zstandard.compress}.get(name[8:10], bytes)(plain)
    shard = shard_of(tmp_path, data, name)
    samples, skipped, digest = taken(shard)
    assert not skipped
    assert [(s.key, s.content, s.target) for s in samples] == [(str(i), f"größer {i}", str(i % 2)) for i in range(50)]
    assert digest == Digest(hashlib.sha256(data).hexdigest(), len(data))
    assert list(fetch(shard, COLUMNS, {s.key: (s.offset, s.length) for s in samples[::9]})) == samples[::9]
    assert detect(shard, Columns(None)) == ("labelled-text", COLUMNS, "label")
    assert (tmp_path / name).read_bytes() == data


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not JSON"),
        (b"[1, 2]", "JSON list"),
        (b'{"text": "\xff", "label": 1}', "not UTF-8"),
        (b'{"text": "\\ud800", "label": 1}', "surrogate"),
        (b'{"text": "a", "label": null}', "label is null"),
        (b'{"text": "a", "label": " "}', "label is empty"),
        (b'{"text": "a"}', "no field label"),
        (b'{"text": 5, "label": 1}', "expected text"),
        (b'{"text": "a", "label": [1]}', "expected text"),
        (b'{"text": "a", "label": NaN}', "null"),
        (b"[" * 100_000, "beyond sense"),
        (b'{"text": "a", "label": ' + b"9" * 5000 + b"}", "beyond sense"),
        (b'{"text": "' + b"x" * 300_000 + b'", "label": 1}', "limit"),
    ],
)
def test_a_bad_line_is_named_and_passed_over(tmp_path: Path, line: bytes, reason: str) -> None:
    good = lines({"text": "a", "label": 1})
    samples, skipped, _ = taken(shard_of(tmp_path, good + b"\n" + line + b"\n" + good), limits=Limits(line_bytes=200_000))
    assert [s.key for s in samples] == ["0", "2"]
    assert [s.subject for s in skipped] == ["x.jsonl#1"]
    assert reason in skipped[0].reason
    assert f"line 3, byte {len(good) + 1}" in skipped[0].reason


def test_a_file_cut_in_a_line_or_in_its_compression(tmp_path: Path) -> None:
    data = lines(*({"text": f"a{i}", "label": 1} for i in range(1000)))
    samples, skipped, _ = taken(shard_of(tmp_path, data[:-10]))
    assert (len(samples), len(skipped)) == (999, 1)
    for name, pack in (("x.jsonl.gz", gzip.compress), ("x.jsonl.zst", zstandard.compress)):
        packed = pack(data)
        samples, skipped, digest = taken(shard_of(tmp_path, packed[:-20], name))
        assert "cut off" in skipped[-1].reason
        assert skipped[-1].subject == name
        assert digest.size == len(packed) - 20


def test_keys_come_from_the_id_column_and_stay_apart(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, lines(*({"uid": u, "text": "a", "label": 1} for u in ("p", "q", "p", "p~2", 7, None))))
    columns = Columns("text", "label", "uid")
    samples, skipped, _ = taken(shard, columns)
    assert [s.key for s in samples] == ["p", "q", "p~2", "p~2~2", "7"]
    assert len(skipped) == 1
    assert samples[2].metadata == {"repeated_key": "p"}
    assert list(fetch(shard, columns, {"p~2": (samples[2].offset, samples[2].length)})) == [samples[2]]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"instruction": "add", "input": "1 2", "output": "3"}, ("instructions", Columns("instruction+input", "output"), "text")),
        ({"prompt": "add", "completion": "3", "category": "x"}, ("instructions", Columns("prompt", "completion"), "text")),
        (
            {"instruction": "a", "context": "b", "response": "c", "category": "d"},
            ("instructions", Columns("instruction+context", "response"), "text"),
        ),
        ({"sentence": "add", "label": 0}, ("labelled-text", Columns("sentence", "label"), "label")),
        ({"question": "why", "answer": "so"}, ("instructions", Columns("question", "answer"), "text")),
        ({"content": "add"}, ("text", Columns("content"), "none")),
        ({"embedding": [0.5, 1], "label": 3}, ("vectors", Columns(None, "label", None, "embedding"), "label")),
    ],
)
def test_usual_fields_are_recognised_and_readable(tmp_path: Path, record: dict, expected: tuple) -> None:
    shard = shard_of(tmp_path, lines(record, record))
    assert detect(shard, Columns(None)) == expected
    assert not taken(shard, expected[1])[1]


def test_instruction_and_input_are_joined_where_both_are_there(tmp_path: Path) -> None:
    records = [{"instruction": "add", "input": i, "output": "3"} for i in ("1 2", "", None)] + [{"instruction": "add", "output": "3"}]
    samples, _, _ = taken(shard_of(tmp_path, lines(*records)), Columns("instruction+input", "output"))
    assert [s.content for s in samples] == ["add\n1 2", "add", "add", "add"]


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    line = lines({"text": "the same words again and again " * 60, "label": 1})
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(20):
            out.write(line * 1000)  # 37 MB of lines in all
    tracemalloc.start()
    count = sum(isinstance(item, Sample) for item in read(Shard(str(path), "big.jsonl.gz", "jsonl", 0, ""), COLUMNS))
    assert count == 20_000
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_an_endless_line_is_not_kept(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, b"x" * (40 << 20))
    tracemalloc.start()
    samples, skipped, digest = taken(shard, limits=Limits(line_bytes=1 << 20))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert (len(samples), digest.size) == (0, 40 << 20)
    assert "limit" in skipped[0].reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=4
)


@given(
    st.lists(
        st.binary(max_size=40) | st.fixed_dictionaries({"text": JSON, "label": JSON}).map(lambda r: json.dumps(r).encode()), max_size=12
    )
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_no_line_raises_and_every_line_is_accounted_for(tmp_path_factory, found: list[bytes]) -> None:
    data = b"\n".join(found)
    samples, skipped, digest = taken(shard_of(tmp_path_factory.mktemp("j"), data))
    assert digest.sha256 == hashlib.sha256(data).hexdigest()
    there = sum(bool(line.removeprefix(b"\xef\xbb\xbf" if i == 0 else b"").strip()) for i, line in enumerate(data.split(b"\n")))
    assert len(samples) + sum("#" in s.subject for s in skipped) == there
    assert all(s.content.encode() is not None and s.target for s in samples if isinstance(s.content, str))
