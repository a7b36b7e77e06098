"""Parquet, by record batches of the columns that are needed, one row group after the other.

Content may join columns, and a column may be a conversation: `specification` says how.  `Sample.offset` is the
row number in the file, `length` 1; without an id column the row number is the key.  Extension types are read as
what they store.  Strings are kept dictionary-encoded while reading, inside lists too, or read a few rows at a time:
a dictionary of one huge value that a million rows refer to is never written out.  Memory is bounded by the batch
and by the file's pages.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice, repeat
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import conversations, fields, paths, specification, values
from dataaudit.sources.contract import Digest, Field, Limits, UnreadableError, samples, shown, skipped_sample, skipped_shard
from dataaudit.sources.streams import Stream

PEEKED_ROWS = 1000
BATCH_ROWS = 1024
BATCH_ROWS_OF_LARGE = 64
"""Rows at a time where a column is too large to be kept as a dictionary: a repeated value is then written out so often at the most."""
DICTIONARY_BYTES = 32 << 20
"""Up to this size in every row group a string column is read as a dictionary, which grows to the whole of a row group's values."""
SHARED = 1024
"""Values of a dictionary that are kept as Python objects, so that a thousand turns of one huge text are one text."""
THRIFT_STRING = 64 << 20
THRIFT_CONTAINER = 1_000_000

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Selection:
    """The columns to decode, `names` once each; the content is the encoded bytes of a single column if `binary`."""

    columns: Columns
    names: tuple[str, ...]
    binary: bool
    batch_rows: int


def read(shard: Shard, columns: Columns, limits: Limits) -> Generator[Sample | Skipped, None, Digest]:
    """All samples; a row group that cannot be decoded is `Skipped` from the row where it broke, the next one is tried."""
    try:
        with paths.open_raw(shard.uri) as raw:
            yield from _read(shard, raw, columns, limits)
        with paths.open_raw(shard.uri) as raw:
            digest = Stream(raw, "", limits).digest()
    except OSError as error:
        yield skipped_shard(shard, f"cannot be read ({error})")
        digest = Digest("", 0)
    return digest


def fetch(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
    """Decode the row groups that hold the rows, up to the last row wanted of each."""
    rows: dict[int, list[str]] = {}
    for key, (row, _) in wanted.items():
        rows.setdefault(row, []).append(key)
    with paths.open_raw(shard.uri) as raw:
        file = _open(raw)
        selection = _selection(file, columns)
        start = 0
        for number in range(file.metadata.num_row_groups):
            stop = start + file.metadata.row_group(number).num_rows
            here = {row for row in rows if start <= row < stop}
            for row, found in _rows(file, number, start, selection.names, limits, selection.batch_rows) if here else ():
                if isinstance(found, str):
                    yield from [skipped_sample(shard, key, found) for lost in sorted(here) for key in rows.pop(lost)]
                    break
                if row in here and isinstance(found, tuple):
                    yield from [_again(shard, selection, found, limits, row, key) for key in rows.pop(row)]
                    here.discard(row)
                if not here:
                    break
            start = stop
    yield from (skipped_sample(shard, key, f"there is no row {row}") for row in sorted(rows) for key in rows[row])


def peek(shard: Shard, limits: Limits) -> Mapping[str, Field]:
    """The columns of the schema, with what the first rows tell of keys and texts."""
    with paths.open_raw(shard.uri) as raw:
        file = _open(raw)
        schema = file.schema_arrow
        if not file.metadata.num_rows or not file.metadata.num_row_groups:
            raise UnreadableError("it has no rows")
        known = {name: _field(schema.field(name).type) for name in schema.names if schema.names.count(name) == 1}
        scalars = [name for name, field in known.items() if field.kind in {"text", "integer", "turns"}]
        found = [row for _, row in islice(_rows(file, 0, 0, scalars, limits, BATCH_ROWS_OF_LARGE), PEEKED_ROWS) if isinstance(row, tuple)]
    for i, name in enumerate(scalars):
        seen = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in (row[i] for row in found)]
        told = fields.field_of(seen)
        known[name] = replace(told, kind=known[name].kind)
    return known


def _open(raw: IO[bytes]) -> pq.ParquetFile:
    def attempt(dictionaries: Sequence[str]) -> pq.ParquetFile:
        raw.seek(0)
        return pq.ParquetFile(
            pa.PythonFile(raw, mode="r"),
            read_dictionary=list(dictionaries),
            pre_buffer=False,
            buffer_size=1 << 20,
            thrift_string_size_limit=THRIFT_STRING,
            thrift_container_size_limit=THRIFT_CONTAINER,
            arrow_extensions_enabled=False,
        )

    if not raw.seekable():
        raise UnreadableError("the server does not serve parts of a file, which Parquet needs; download it first")
    try:
        file = attempt(())
        _check_chunks(file)
        leaves, sizes = [file.schema.column(i) for i in range(len(file.schema))], _sizes(file)
        return attempt([leaf.path for leaf in leaves if _is_plain_string(leaf) and sizes[leaf.path] <= DICTIONARY_BYTES])
    except (pa.ArrowException, ValueError, OSError) as error:
        raise UnreadableError(f"its Parquet footer is damaged or of an unknown kind ({_told(error)})") from None


def _check_chunks(file: pq.ParquetFile) -> None:
    """Look at what the footer says of every column chunk by reading none of its rows: there damage is an exception.

    Where `RowGroupMetaData.column` meets it first, a histogram of the wrong size for one, it ends the process; so does reading
    a column of a row group that the schema does not have.
    """
    columns = list(range(len(file.schema)))
    for number in range(file.metadata.num_row_groups):
        if (held := file.metadata.row_group(number).num_columns) != len(columns):
            raise UnreadableError(f"its Parquet footer is damaged: row group {number} has {held} columns, the schema {len(columns)}")
        for _ in file.reader.iter_batches(0, [number], column_indices=columns, use_threads=False):
            pass


def _sizes(file: pq.ParquetFile) -> dict[str, int]:
    """The most decompressed bytes that each leaf column has in a row group, as the footer claims."""
    sizes: dict[str, int] = {file.schema.column(i).path: 0 for i in range(len(file.schema))}
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            sizes[chunk.path_in_schema] = max(sizes.get(chunk.path_in_schema, 0), chunk.total_uncompressed_size)
    return sizes


def _is_plain_string(leaf: Any) -> bool:
    return leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type in {"NONE", "STRING", "JSON", "ENUM"}


def _read(shard: Shard, raw: IO[bytes], columns: Columns, limits: Limits) -> Iterator[Sample | Skipped]:
    try:
        file = _open(raw)
        selection = _selection(file, columns)
    except UnreadableError as error:
        yield skipped_shard(shard, str(error))
        return
    keys, size, start = values.Keys(), 0, 0
    for number in range(file.metadata.num_row_groups):
        bulk = partial(_bulk, shard, selection, limits)
        for row, found in _rows(file, number, start, selection.names, limits, selection.batch_rows, bulk):
            if isinstance(found, str):
                yield skipped_shard(shard, found)
                break
            if not isinstance(found, tuple):
                yield from found
                continue
            key = str(row)
            try:
                sample = _sample(shard, selection, found, limits, row)
                key = sample.key
                if sample.vector is not None:
                    size = values.same_size(sample.vector, size, columns.embedding or "")
            except UnreadableError as error:
                yield skipped_sample(shard, key, f"row {row}: {error}")
                continue
            if columns.id is not None:
                key, repeated = keys.admit(key)
                sample = sample._replace(id=f"{shard.name}#{key}", key=key, metadata=repeated)
            yield sample
        start += file.metadata.row_group(number).num_rows
    if not start:
        yield skipped_shard(shard, "it has no rows")
    if start != file.metadata.num_rows:
        yield skipped_shard(shard, f"its footer promises {file.metadata.num_rows} rows, and its row groups {start}")


def _selection(file: pq.ParquetFile, columns: Columns) -> _Selection:
    schema = file.schema_arrow
    there: list[str] = schema.names
    parts = specification.content_parts(columns.content, there)
    required = [p.name for p in (*parts, *specification.target_parts(columns.target, there)) if not p.optional or p.name in there]
    wanted = [*required, *(c for c in (columns.id, columns.embedding) if c is not None)]
    for name in wanted:
        if there.count(name) != 1:
            problem = "no" if name not in there else "more than one"
            raise UnreadableError(f"{problem} column {name}, only {', '.join(shown(n, 20) for n in there[:12])}")
    binary = len(parts) == 1 and not parts[0].view and _field(schema.field(parts[0].name).type).kind == "bytes"
    large = any(size > DICTIONARY_BYTES for path, size in _sizes(file).items() if path.partition(".")[0] in wanted)
    return _Selection(columns, tuple(dict.fromkeys(wanted)), binary, BATCH_ROWS_OF_LARGE if large else BATCH_ROWS)


def _rows(
    file: pq.ParquetFile,
    number: int,
    start: int,
    names: Sequence[str],
    limits: Limits,
    most: int,
    bulk: Callable[[int, pa.RecordBatch], Iterator[Sample] | None] = lambda *_: None,
) -> Iterator[tuple[int, Row | str | Iterator[Sample]]]:
    """Row numbers with the values of `names`; a text instead of values says why the rest of the row group is lost.

    Where `bulk` makes samples of a whole batch, they come instead of its rows, with the number of the first.
    """
    if not names:
        return  # pyarrow would make the batches of no columns all at once, as many as the footer promises
    row, group = start, file.metadata.row_group(number)
    try:
        used = [group.column(i) for i in range(group.num_columns)]
        held = sum(c.total_uncompressed_size for c in used if c.path_in_schema.partition(".")[0] in names)
        batch_rows = max(1, min(most, limits.row_group_batch * max(1, group.num_rows) // max(1, held)))
        for batch in file.iter_batches(batch_size=batch_rows, row_groups=[number], columns=list(names), use_threads=False):
            if (found := bulk(row, batch)) is not None:
                yield row, found
                row += batch.num_rows
                continue
            getters = [_getter(batch.column(batch.schema.get_field_index(name)), limits.turns + 1) for name in names]
            for i in range(batch.num_rows):
                yield row, tuple(get(i) for get in getters)
                row += 1
        if row < start + group.num_rows:
            yield row, f"row group {number} promises {group.num_rows} rows and holds {row - start}"
    except (pa.ArrowException, OSError, ValueError, OverflowError, IndexError) as error:
        # An IndexError is an entry that a dictionary does not have: Arrow passes on such a number as it finds it.
        rows = f"rows {row} to {start + group.num_rows - 1}"
        yield row, f"row group {number} is damaged, {rows} are lost ({_told(error)})"


def _getter(column: pa.Array, most: int) -> Callable[[int], object]:
    """Reads one value of a column; strings come as bytes, unchecked, and are shared where a dictionary holds them.

    Of a list, other than a vector, no more than `most` elements are read, which is for the caller to find too many.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        inner, indices = lru_cache(SHARED)(_getter(column.dictionary, most)), column.indices
        return lambda i: None if (place := indices[i].as_py()) is None else inner(place)
    if pa.types.is_string(kind):
        return _getter(column.cast(pa.binary()), most)
    if pa.types.is_large_string(kind):
        return _getter(column.cast(pa.large_binary()), most)
    if pa.types.is_string_view(kind):
        return _getter(column.cast(pa.binary_view()), most)
    if pa.types.is_struct(kind):
        inside = [(kind.field(i).name, _getter(column.field(i), most)) for i in range(kind.num_fields)]
        return lambda i: {name: get(i) for name, get in inside} if column[i].is_valid else None
    if _field(kind).kind == "vector":
        return lambda i: column[i].values.to_numpy(zero_copy_only=False) if column[i].is_valid else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element, ends = _getter(column.values, most), column.offsets.to_numpy()
        return lambda i: [element(j) for j in range(ends[i], min(ends[i + 1], ends[i] + most))] if column[i].is_valid else None
    return lambda i: column[i].as_py()


def _bulk(shard: Shard, selection: _Selection, limits: Limits, row: int, batch: pa.RecordBatch) -> Iterator[Sample] | None:
    """The samples of a batch, all at once; None where any of them needs a closer look: `_sample` then says what is wrong."""
    columns = selection.columns
    if columns.id is not None or columns.embedding is not None or batch.nbytes > 2 * limits.row_group_batch:
        return None
    contents = specification.content_parts(columns.content, selection.names)
    targets = specification.target_parts(columns.target, selection.names)
    try:
        bodies = (
            _contents(_listed(batch, contents, selection.binary), str(contents[0]), selection.binary, limits) if contents else repeat(None)
        )
        told = _each(_listed(batch, targets), partial(values.target, what=str(targets[0]), limits=limits)) if targets else repeat(None)
    except (UnreadableError, pa.ArrowException, ValueError, OverflowError, IndexError):
        return None
    rows = range(row, row + batch.num_rows)
    return samples(shard, map(str, rows), bodies, told, rows, repeat(1))


def _contents(found: list[Any], what: str, binary: bool, limits: Limits) -> Sequence[bytes | str]:
    if not binary:
        return _each(found, partial(values.text, what=what, limits=limits))
    if not all(found) or max(map(len, found), default=0) > limits.content_bytes:
        raise UnreadableError(f"{what} is not always there and within its limit")
    return found


def _each(found: list[Any], made: Callable[[Any], str]) -> list[str]:
    """What is made of each value, once of those that are equal."""
    known = {value: made(value) for value in set(found)}
    return list(map(known.__getitem__, found))


def _listed(batch: pa.RecordBatch, parts: Sequence[specification.Part], binary: bool = False) -> list[Any]:
    """All values of the column that the parts are, of a `binary` struct its bytes; raises `UnreadableError` if it is another."""
    if len(parts) > 1 or parts[0].view:
        raise UnreadableError("more than a column")
    column = batch.column(batch.schema.get_field_index(parts[0].name))
    if binary and pa.types.is_struct(column.type) and not column.null_count:
        column = column.field(column.type.get_field_index("bytes"))
    return _values(column)


def _values(column: pa.Array) -> list[Any]:
    """Bytes and whole numbers; a dictionary's are written out once each, and only those that are used."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not column.indices.null_count:
        used, places = np.unique(column.indices.to_numpy(), return_inverse=True)
        return list(map(_values(column.dictionary.take(pa.array(used))).__getitem__, places.tolist()))
    if pa.types.is_string(kind):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    elif not (pa.types.is_integer(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UnreadableError(f"a column of {kind}")
    found: list[Any] = column.to_pylist()
    return found


def _again(shard: Shard, selection: _Selection, found: Row, limits: Limits, row: int, key: str) -> Sample | Skipped:
    try:
        sample = _sample(shard, selection, found, limits, row)
    except UnreadableError as error:
        return skipped_sample(shard, key, f"row {row}: {error}")
    if sample.key != key and not key.startswith(sample.key + "~"):
        return skipped_sample(shard, key, f"another sample is row {row} now")
    repeated = {"repeated_key": sample.key} if sample.key != key else {}
    return sample._replace(id=f"{shard.name}#{key}", key=key, metadata=repeated)


def _sample(shard: Shard, selection: _Selection, found: Row, limits: Limits, row: int) -> Sample:
    record: dict[str, Any] = dict(zip(selection.names, found, strict=True))
    columns = selection.columns
    key = str(row) if columns.id is None else values.checked_key(values.scalar(record[columns.id], columns.id, limits), limits)
    content: bytes | str | None = None
    if columns.content is not None:
        content = (
            values.image(record[columns.content], columns.content, limits)
            if selection.binary
            else specification.content(record, columns.content, limits)
        )
    target = None if columns.target is None else specification.target(record, columns.target, limits)
    vector = None if columns.embedding is None else values.vector(record[columns.embedding], columns.embedding, limits)
    return Sample(f"{shard.name}#{key}", key, content, target, row, 1, vector)


def _told(error: BaseException) -> str:
    return shown(" ".join(str(error).split()), 160)


def _field(kind: Any) -> Field:
    if pa.types.is_dictionary(kind):
        return _field(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Field("text")
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return Field("integer")
    if pa.types.is_floating(kind):
        return Field("number")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return Field("bytes")
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return Field("bytes")
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) and (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        return Field("vector")
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_struct(kind.value_type):
        names = [kind.value_type.field(i).name for i in range(kind.value_type.num_fields)]
        return Field("turns" if conversations.is_turn(dict.fromkeys(names)) else "other")
    return Field("other")
