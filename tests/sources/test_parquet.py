"""Parquet: row groups that are whole are read, those that are not are named; schemas are taken as they come."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.errors import ConfigurationError, SourceError
from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import Digest, Limits, detect, fetch, parquet, read
from dataaudit.sources.parquet import peek

COLUMNS = Columns("text", "label")


def shard_of(path: Path, table: pa.Table | bytes, **options: object) -> Shard:
    target = path / "x.parquet"
    if isinstance(table, bytes):
        target.write_bytes(table)
    else:
        pq.write_table(table, target, **options)
    status = target.stat()
    return Shard(str(target), "x.parquet", "parquet", status.st_size, f"{status.st_mtime_ns}-{status.st_size}")


def taken(shard: Shard, columns: Columns = COLUMNS, limits: Limits | None = None) -> tuple[list[Sample], list[Skipped], Digest]:
    *items, last = read(shard, columns, limits)
    assert isinstance(last, Digest)
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Skipped)], last


def numbered(count: int) -> pa.Table:
    rng = np.random.default_rng(7)
    return pa.table(
        {
            "text": [f"text {i} {rng.integers(1 << 60)}" for i in range(count)],
            "label": [i % 3 for i in range(count)],
            "other": [0.5] * count,
        }
    )


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"use_dictionary": False}, {"row_group_size": 100}])
def test_what_was_written_is_read_and_found_again(tmp_path: Path, options: dict) -> None:
    shard = shard_of(tmp_path, numbered(2500), **options)
    before = Path(shard.uri).read_bytes()
    samples, skipped, digest = taken(shard)
    assert not skipped
    assert [s.key for s in samples] == [str(i) for i in range(2500)]
    assert [s.content for s in samples] == numbered(2500)["text"].to_pylist()
    assert [s.target for s in samples[:4]] == ["0", "1", "2", "0"]
    assert digest == Digest(hashlib.sha256(before).hexdigest(), len(before))
    some = samples[5::600]
    assert list(fetch(shard, COLUMNS, {s.key: (s.offset, s.length) for s in some})) == some
    assert detect(shard, Columns(None)) == ("labelled-text", COLUMNS, "label")
    assert Path(shard.uri).read_bytes() == before


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=["string", "large", "view", "dictionary"],
)
def test_every_way_to_store_text(tmp_path: Path, kind: pa.DataType) -> None:
    text = pa.array(["a", "b", None, "a"]).cast(kind)
    shard = shard_of(tmp_path, pa.table({"text": text, "label": pa.array(["x", "y", "x", None]).cast(kind)}))
    assert detect(shard, Columns(None)) == ("labelled-text", COLUMNS, "label")
    samples, skipped, _ = taken(shard)
    assert [(s.content, s.target) for s in samples] == [("a", "x"), ("b", "y")]
    assert [s.subject for s in skipped] == ["x.parquet#2", "x.parquet#3"]
    assert "text is null" in skipped[0].reason
    assert "label is null" in skipped[1].reason


def test_images_as_bytes_or_as_struct(tmp_path: Path) -> None:
    plain = pa.array([b"one", b"two", b"x" * 2000], pa.binary())
    struct = pa.array([{"bytes": b"one", "path": "p"}, {"bytes": b"two", "path": None}, {"bytes": None, "path": "/etc/passwd"}])
    for image, why in ((plain, "2000 bytes, limit"), (struct, "not followed")):
        shard = shard_of(tmp_path, pa.table({"image": image, "label": [0, 1, 2]}))
        assert detect(shard, Columns(None)) == ("labelled-images", Columns("image", "label"), "label")
        samples, skipped, _ = taken(shard, Columns("image", "label"), Limits(content_bytes=1000))
        assert [s.content for s in samples] == [b"one", b"two"]
        assert why in skipped[0].reason


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.list_(pa.float16()), pa.large_list(pa.float32())])
def test_embeddings_are_float32_and_of_one_size(tmp_path: Path, kind: pa.DataType) -> None:
    vectors = [[1.0, 2.0, 3.0], [0.5, float("nan"), 1.0], None, [4.0, 5.0, 6.0]]
    shard = shard_of(
        tmp_path,
        pa.table(
            {"embedding": pa.array([None if v is None else np.asarray(v, dtype=kind.value_type.to_pandas_dtype()) for v in vectors], kind)}
        ),
    )
    columns = Columns(None, embedding="embedding")
    assert detect(shard, Columns(None)) == ("vectors", columns, "none")
    samples, skipped, _ = taken(shard, columns)
    assert [s.vector.tolist() for s in samples if s.vector is not None] == [[1, 2, 3], [4, 5, 6]]
    assert samples[0].vector is not None
    assert samples[0].vector.dtype == np.float32
    assert ["finite" in skipped[0].reason, "null" in skipped[1].reason] == [True, True]
    uneven = shard_of(tmp_path, pa.table({"embedding": [[1.0, 2.0], [1.0]]}))
    assert "the shard's others have 2" in taken(uneven, columns)[1][0].reason


def test_text_that_is_not_utf8_is_one_skipped_row(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"\xff\xfe", b"fine too"], pa.binary())
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    samples, skipped, _ = taken(shard_of(tmp_path, pa.table({"text": text, "label": [0, 1, 2]})))
    assert [s.key for s in samples] == ["0", "2"]
    assert "row 1: text is not UTF-8" in skipped[0].reason


def test_a_broken_footer_is_one_skipped_shard(tmp_path: Path) -> None:
    data = Path(shard_of(tmp_path, numbered(100)).uri).read_bytes()
    for broken in (
        data[:-1],
        data[: len(data) // 2],
        b"",
        b"PAR1",
        data[:-300] + bytes(292) + data[-8:],
        data[:-8] + b"\xff\xff\xff\x7fPAR1",
    ):
        shard = shard_of(tmp_path, broken)
        samples, skipped, digest = taken(shard)
        assert not samples
        assert "footer" in skipped[0].reason
        assert digest == Digest(hashlib.sha256(broken).hexdigest(), len(broken))
        with pytest.raises(SourceError, match=r"x\.parquet"):
            detect(shard, Columns(None))


def test_a_broken_row_group_costs_no_other(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, numbered(300), row_group_size=100, compression="zstd")
    column = pq.ParquetFile(shard.uri).metadata.row_group(1).column(0)
    data = bytearray(Path(shard.uri).read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xa5" * column.total_compressed_size
    samples, skipped, _ = taken(shard_of(tmp_path, bytes(data)))
    assert [s.key for s in samples] == [str(i) for i in (*range(100), *range(200, 300))]
    assert [s.subject for s in skipped] == ["x.parquet"]
    assert "row group 1 is damaged, rows 100 to 199 are lost" in skipped[0].reason
    places = {key: (int(key), 1) for key in ("50", "150", "250")}
    again = list(fetch(shard_of(tmp_path, bytes(data)), COLUMNS, places))
    assert [type(item) for item in again] == [Sample, Skipped, Sample]


@pytest.mark.parametrize("at", range(4, 2000, 97))
def test_no_flipped_byte_raises(tmp_path: Path, at: int) -> None:
    data = bytearray(Path(shard_of(tmp_path, numbered(40)).uri).read_bytes())
    data[at % len(data)] ^= 0x55
    samples, skipped, digest = taken(shard_of(tmp_path, bytes(data)))
    assert digest.sha256 == hashlib.sha256(data).hexdigest()
    assert samples or skipped


def test_a_dictionary_of_one_huge_value_stays_one_value(tmp_path: Path) -> None:
    huge = "x" * (512 << 10)
    shard = shard_of(tmp_path, pa.table({"text": [huge] * 300, "label": ["a"] * 300}))
    assert shard.size < 1 << 20
    before, held, count = pa.total_allocated_bytes(), 0, 0
    for item in read(shard, COLUMNS):
        held = max(held, pa.total_allocated_bytes() - before)
        count += isinstance(item, Sample) and item.content == huge
    assert count == 300
    assert held < 16 << 20  # written out, the column has 150 MB


def test_ids_are_used_where_they_are_unique(tmp_path: Path) -> None:
    table = pa.table({"id": ["p", "q", "r"], "text": list("abc"), "label": [1, 2, 1]})
    shard = shard_of(tmp_path, table)
    assert detect(shard, Columns(None))[1].id == "id"
    samples, _, _ = taken(shard, Columns("text", "label", "id"))
    assert [s.key for s in samples] == ["p", "q", "r"]
    assert list(fetch(shard, Columns("text", "label", "id"), {"r": (2, 1)})) == samples[2:]
    assert isinstance(next(iter(fetch(shard, Columns("text", "label", "id"), {"r": (1, 1)}))), Skipped)
    repeated = shard_of(tmp_path, table.set_column(0, "id", pa.array(["p", "p", "r"])))
    assert detect(repeated, Columns(None))[1].id is None


def test_a_column_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, numbered(3))
    with pytest.raises(ConfigurationError, match=r"x\.parquet: no column or extension 'sentiment' \(--target\).*'text', 'label', 'other'"):
        detect(shard, Columns(None, target="sentiment"))
    with pytest.raises(ConfigurationError, match="--content"):
        detect(shard_of(tmp_path, pa.table({"a": [1]})), Columns(None))
    _, skipped, _ = taken(shard_of(tmp_path, numbered(3)), Columns("text", "sentiment"))
    assert "no column sentiment" in skipped[0].reason


def test_what_is_wanted_wins(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, pa.table({"text": ["a"], "label": [1], "summary": ["b"], "vec": [[1.0]]}))
    assert detect(shard, Columns("summary", "text", None, "vec")) == ("labelled-text", Columns("summary", "text", None, "vec"), "label")


EVERY_BIT = """
import sys
from pathlib import Path
from dataaudit.model import Columns, Shard, Skipped
from dataaudit.sources import Digest, read
path = Path(sys.argv[1])
whole = path.read_bytes()
shard = Shard(str(path), "x.parquet", "parquet", 0, "")
for place in range(8 * (len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")), 8 * len(whole)):
    damaged = bytearray(whole)
    damaged[place // 8] ^= 1 << place % 8
    path.write_bytes(damaged)
    *items, last = read(shard, Columns("text", "label"))
    assert isinstance(last, Digest)
    assert len(items) >= 8 or any(isinstance(item, Skipped) for item in items), f"bit {place}"
print("read")
"""


def test_any_bit_of_a_footer_may_be_the_other_way_round(tmp_path: Path) -> None:
    """Arrow ended the whole process at some of them (histograms of the wrong size); it must not take ours along."""
    shard = shard_of(tmp_path, numbered(8).select(["text", "label"]), row_group_size=4, store_schema=False)
    done = subprocess.run([sys.executable, "-c", EVERY_BIT, shard.uri], capture_output=True, text=True, timeout=200)
    assert done.stdout == "read\n", f"ended with {done.returncode}: {done.stderr[-2000:]}"


def test_a_row_group_with_more_columns_than_the_schema(tmp_path: Path) -> None:
    """Found by fuzzing; Arrow ended the process when it was asked for the column that the schema does not have."""
    found = Path(__file__).with_name("found") / "more-columns.parquet"
    samples, skipped, digest = taken(shard_of(tmp_path, found.read_bytes()))
    assert not samples
    assert "row group 0 has 5 columns, the schema 4" in skipped[0].reason
    assert digest.sha256 == hashlib.sha256(found.read_bytes()).hexdigest()


def test_an_entry_that_a_dictionary_does_not_have_is_a_lost_row(tmp_path: Path) -> None:
    texts = [f"text {i % 5}" for i in range(300)]
    shard = shard_of(tmp_path, pa.table({"text": texts, "label": ["a"] * 300}), compression="none")
    whole = bytearray(Path(shard.uri).read_bytes())
    width = whole.index(b"text 4") + len(b"text 4")
    end = whole.index(b"a", width)
    damaged = 0
    for place in range(width, end):
        again = bytearray(whole)
        again[place] ^= 0xFF
        samples, skipped, _ = taken(shard_of(tmp_path, bytes(again)))
        assert len(samples) == 300 or skipped
        damaged += any("is damaged" in s.reason for s in skipped)
    assert damaged


def test_a_footer_that_promises_rows_and_has_no_row_groups(tmp_path: Path) -> None:
    """Thrift, compact: version, schema of a root alone, two rows, an empty list of row groups."""
    footer = b"\x15\x02\x19\x1c\x48\x06schema\x15\x00\x00\x16\x04\x19\x0c\x00"
    shard = shard_of(tmp_path, b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(SourceError, match="no rows"):
        detect(shard, Columns(None))
    samples, skipped, digest = taken(shard, Columns(None))
    assert not samples
    assert skipped
    assert digest.sha256


def test_a_file_of_endless_rows_without_a_column_to_peek_at(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.array([b"a", b"b"], pa.binary())}), path, compression="none")
    footer_size = int.from_bytes(path.read_bytes()[-8:-4], "little")
    body, footer = path.read_bytes()[: -8 - footer_size], path.read_bytes()[-8 - footer_size : -8]
    # The second 0x16 0x04 before the list of row groups' end is the row group's number of rows: a zigzag varint, here made 2**40.
    at = footer.rindex(b"\x16\x04")
    endless = footer[:at] + b"\x16" + bytes([0x80] * 5 + [0x40]) + footer[at + 2 :]
    path.write_bytes(body + endless + len(endless).to_bytes(4, "little") + b"PAR1")
    assert pq.ParquetFile(path).metadata.row_group(0).num_rows > 10**12
    shard = Shard(str(path), "a.parquet", "parquet", path.stat().st_size, "")
    assert peek(shard, Limits())["x"].kind == "bytes"


TEXTS = st.sampled_from(["a", "b", "7", " ", "", "x" * 30, "\N{LATIN SMALL LETTER E WITH ACUTE}", b"\xff"])
KINDS = [
    pa.binary(),
    pa.large_binary(),
    pa.string(),
    pa.large_string(),
    pa.dictionary(pa.int8(), pa.string()),
    "struct",
    "text in a struct",
]


def column_of(values: list[str | bytes | int | None], kind: object) -> pa.Array:
    if any(isinstance(v, int) for v in values):
        return pa.array([v if isinstance(v, int) else None for v in values], kind if isinstance(kind, pa.DataType) else pa.int64())
    raw = pa.array([v.encode() if isinstance(v, str) else v for v in values], pa.binary())
    if isinstance(kind, pa.DictionaryType):
        return pa.DictionaryArray.from_arrays(
            raw.dictionary_encode().indices,
            pa.StringArray.from_buffers(len(d := raw.dictionary_encode().dictionary), *d.buffers()[1:]),
        )
    if isinstance(kind, str):
        return pa.StructArray.from_arrays([raw], ["bytes" if kind == "struct" else "text"])
    if kind in (pa.string(), pa.large_string()):
        text = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:], raw.buffers()[0])
        return text.cast(pa.large_string()) if kind == pa.large_string() else text
    return raw.cast(kind)


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.data(),
    st.sampled_from(KINDS),
    st.sampled_from([*KINDS, pa.int8(), pa.uint64(), pa.bool_()]),
    st.sampled_from([Columns("x", "y"), Columns("x"), Columns(None, "y"), Columns("x", "y", "y"), Columns("x+y"), Columns("x", "x/y")]),
    st.sampled_from([Limits(), Limits(content_bytes=10), Limits(text_chars=10), Limits(row_group_batch=100)]),
    st.booleans(),
    st.integers(1, 5),
)
def test_rows_read_at_once_are_those_read_one_by_one(tmp_path_factory, data, kind, other, columns, limits, dictionary, times) -> None:
    values = st.one_of(TEXTS, st.none()) if data.draw(st.booleans()) else st.sampled_from(["a", "b", "7"])
    numbers = st.integers(0, 1).map(bool) if other == pa.bool_() else st.integers(0, 99)
    size = data.draw(st.integers(0, 8))
    x = data.draw(st.lists(values, min_size=size, max_size=size))
    y = data.draw(st.lists(values if other in KINDS else numbers, min_size=size, max_size=size))
    table = pa.table({"x": column_of(x * times, kind), "y": column_of(y * times, other)})
    shard = shard_of(tmp_path_factory.mktemp("p"), table, use_dictionary=dictionary, row_group_size=5)
    at_once = list(read(shard, columns, limits))
    with mock.patch.object(parquet, "_bulk", return_value=None):
        assert list(read(shard, columns, limits)) == at_once


def test_ordinary_rows_are_read_at_once(tmp_path: Path) -> None:
    table = pa.table({"image": [b"%d" % i for i in range(3000)], "label": [str(i % 10) for i in range(3000)]})
    with mock.patch.object(parquet, "_sample", side_effect=AssertionError("read one by one")):
        assert len(taken(shard_of(tmp_path, table), Columns("image", "label"))[0]) == 3000
        assert len(taken(shard_of(tmp_path, numbered(3000)))[0]) == 3000
