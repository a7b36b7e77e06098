"""JSON Lines (`.jsonl`, `.ndjson`, also gzip and Zstandard), read line by line as a forward stream.

Content may join columns, and a column may be a conversation: `specification` says how.  `Sample.offset` and `length` span the line, in
decompressed bytes.  Without an id column the key is the number of the line among those not blank, from 0.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import fields, paths, specification, values
from dataaudit.sources.contract import Digest, Field, Limits, UnreadableError, skipped_sample, skipped_shard
from dataaudit.sources.streams import Stream, compression_of

PEEKED_LINES = 1000
PEEKED_BYTES = 8 << 20
_MARK = b"\xef\xbb\xbf"


def read(shard: Shard, columns: Columns, limits: Limits) -> Generator[Sample | Skipped, None, Digest]:
    """All samples; a bad line is `Skipped` with its number and byte position."""
    try:
        raw = paths.open_raw(shard.uri)
    except OSError as error:
        yield skipped_shard(shard, f"cannot be opened ({error})")
        return Digest("", 0)
    with raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)
        yield from _samples(shard, stream, columns, limits)
        try:
            digest = stream.digest()
        except OSError as error:
            yield skipped_shard(shard, f"cannot be read to its end ({error})")
            digest = Digest("", 0)
        return digest


def fetch(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
    """Seek to the lines."""
    with paths.open_raw(shard.uri) as raw:
        for key, (offset, length) in sorted(wanted.items(), key=lambda item: item[1]):
            raw.seek(offset)
            line = raw.read(min(length, limits.line_bytes + 2))
            try:
                record = values.record(line.removeprefix(_MARK) if offset == 0 else line, "the line")
                found = _sample(shard, record, columns, limits, key)
            except UnreadableError as error:
                yield skipped_sample(shard, key, f"{error} (byte {offset})")
                continue
            own = found.key
            if own != key and not key.startswith(own + "~"):
                yield skipped_sample(shard, key, f"another sample lies at byte {offset} now")
                continue
            repeated = {"repeated_key": own} if own != key else {}
            yield found._replace(id=f"{shard.name}#{key}", key=key, offset=offset, length=length, metadata=repeated)


def peek(shard: Shard, limits: Limits) -> Mapping[str, Field]:
    """The fields of the first lines, in their order; lines that are broken are passed over."""
    seen: dict[str, list[object]] = {}
    records: list[dict[str, Any]] = []
    with paths.open_raw(shard.uri) as raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)
        problem = "no line in it is a JSON object"
        for _, number, line, error in _lines(stream, limits):
            try:
                if error:
                    raise UnreadableError(error)
                records.append(values.record(line, f"line {number}"))
            except UnreadableError as damage:
                problem = str(damage)
            if number >= PEEKED_LINES or stream.position > PEEKED_BYTES:
                break
    if not records:
        raise UnreadableError(problem)
    for record in records:
        for name in record:
            seen.setdefault(name, [])
    for name, column in seen.items():
        column.extend(record.get(name) for record in records)
    return {name: fields.field_of(column) for name, column in seen.items()}


def _lines(stream: Stream, limits: Limits) -> Iterator[tuple[int, int, bytes, str]]:
    """Byte position, line number from 1, the line, and what is wrong with it, for lines that are not blank."""
    number = 0
    try:
        while True:
            at = stream.position
            line, spans = stream.line(limits.line_bytes + 1)
            if not spans:
                return
            number += 1
            if number == 1:
                line = line.removeprefix(_MARK)
            if line.strip():
                yield (
                    at,
                    number,
                    line,
                    f"line {number} has {spans} bytes, limit {limits.line_bytes}" if len(line) > limits.line_bytes else "",
                )
    except UnreadableError as error:
        yield stream.position, 0, b"", f"{error} (after {number} lines)"
    except OSError as error:
        yield stream.position, 0, b"", f"reading failed after {number} lines ({error})"


def _samples(shard: Shard, stream: Stream, columns: Columns, limits: Limits) -> Iterator[Sample | Skipped]:
    keys, size, row = values.Keys(), 0, -1
    for at, number, line, problem in _lines(stream, limits):
        if not number:
            yield skipped_shard(shard, problem)
            return
        row += 1
        key = str(row)
        try:
            if problem:
                raise UnreadableError(problem)
            found = _sample(shard, values.record(line, "it"), columns, limits, key)
            key = found.key
            if found.vector is not None:
                size = values.same_size(found.vector, size, columns.embedding or "")
        except UnreadableError as error:
            yield skipped_sample(shard, key, f"line {number}, byte {at}: {error}")
            continue
        repeated: dict[str, str] = {}
        if columns.id is not None:
            key, repeated = keys.admit(key)
        yield found._replace(id=f"{shard.name}#{key}", key=key, offset=at, length=stream.position - at, metadata=repeated)
    if stream.position == 0:
        yield skipped_shard(shard, "an empty file")


def _sample(shard: Shard, record: Mapping[str, Any], columns: Columns, limits: Limits, row: str) -> Sample:
    """The sample in a record; its place is filled in by the caller."""
    key = row
    if columns.id is not None:
        key = values.checked_key(values.scalar(specification.value_of(record, columns.id), columns.id, limits), limits)
    content = target = vector = None
    if columns.content is not None:
        content = specification.content(record, columns.content, limits)
    if columns.target is not None:
        target = specification.target(record, columns.target, limits)
    if columns.embedding is not None:
        vector = values.vector(specification.value_of(record, columns.embedding), columns.embedding, limits)
    return Sample(f"{shard.name}#{key}", key, content, target, 0, 0, vector)
