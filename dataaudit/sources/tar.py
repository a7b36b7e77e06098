"""Webdataset tar files (`.tar`, `.tar.gz`, `.tar.zst`), read as a forward stream with a bounded header parser.

The name of a member up to the first dot of its last part is the sample's key, the rest its extension;
members of one key lie side by side.  Names are never used as paths.  Links, devices and sparse members
are not followed.

A column is an extension (`jpg`, `cls`), several alternatives (`jpg;png`), or a field of a JSON member
(`json:label`), which may be a conversation (`json:messages:before`).  `Sample.offset` and `length` span
the sample's members with their headers, in decompressed bytes.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, repeat

from dataaudit.model import OVER, Columns, Sample, Shard, Skipped
from dataaudit.sources import fields, paths, specification, values
from dataaudit.sources.contract import Digest, Field, FieldKind, Limits, UnreadableError, samples, shown, skipped_sample, skipped_shard
from dataaudit.sources.members import Member, members, unrolled
from dataaudit.sources.plain import DOT, SIZE, START, Run, ends_of
from dataaudit.sources.specification import Part
from dataaudit.sources.streams import Stream, compression_of

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "image", "img"})
PEEKED_SAMPLES = 100
PEEKED_BYTES = 64 << 20
LABELS, LABEL_BYTES = 4096, 64
"""How many targets of a shard are remembered, and how long they may be."""


@dataclass(frozen=True, slots=True)
class _Column:
    """The alternatives `extensions`, and the field of a JSON member; `part` bears the name that messages use."""

    extensions: tuple[str, ...]
    field: str
    part: Part
    is_image: bool
    is_label: bool


def read(shard: Shard, columns: Columns, limits: Limits) -> Generator[Sample | Skipped, None, Digest]:
    """All samples; damage is `Skipped` with its byte position, then reading goes on where it can."""
    try:
        raw = paths.open_raw(shard.uri)
    except OSError as error:
        yield skipped_shard(shard, f"cannot be opened ({error})")
        return Digest("", 0)
    with raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)
        yield from _samples(shard, stream, columns, limits, values.Keys())
        try:
            digest = stream.digest()
        except OSError as error:
            yield skipped_shard(shard, f"cannot be read to its end ({error})")
            digest = Digest("", 0)
        return digest


def fetch(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
    """Seek in a plain tar that has not changed since; a compressed one is read again from its start."""
    with paths.open_raw(shard.uri) as raw:
        for key, (offset, length) in sorted(wanted.items(), key=lambda item: item[1]):
            raw.seek(offset)
            window = io.BytesIO(raw.read(length)) if length <= limits.content_bytes else raw
            found = next(_samples(shard, Stream(window, "", limits), columns, limits, values.Keys(), ended=True), None)
            if isinstance(found, Sample) and (found.key == key or key.startswith(found.key + "~")):
                repeated = {"repeated_key": found.key} if found.key != key else {}
                yield found._replace(id=f"{shard.name}#{key}", key=key, offset=offset, length=length, metadata=repeated)
            else:
                reason = found.reason if isinstance(found, Skipped) else "another sample lies at its place now"
                yield skipped_sample(shard, key, reason)


def peek(shard: Shard, limits: Limits) -> Mapping[str, Field]:
    """Extensions of the first samples, and the fields of their JSON members as `json:FIELD`; most frequent first."""
    counts: Counter[str] = Counter()
    seen: dict[str, list[object]] = {}
    with paths.open_raw(shard.uri) as raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)

        def keep(_: str) -> int:
            return 1 << 20

        for group in islice(_groups(members(stream, keep, limits), limits, keep, lambda _: None), PEEKED_SAMPLES):
            for member in group if isinstance(group, list) else ():
                if member.key and not (member.problem and member.data is None and not member.size):
                    for name, value in _peeked(member):
                        counts[name] += 1
                        seen.setdefault(name, []).append(value)
            if stream.position > PEEKED_BYTES:
                break
    return {name: _field(name, seen[name]) for name, _ in counts.most_common(200)}


def _peeked(member: Member) -> Iterator[tuple[str, object]]:
    yield member.extension, member.data or b""
    if member.extension.rpartition(".")[2] == "json" and member.data:
        with contextlib.suppress(UnreadableError):
            for field, value in values.record(member.data, "").items():
                yield f"{member.extension}:{field}", value


def _field(name: str, seen: list[object]) -> Field:
    last = name.rpartition(".")[2]
    if ":" in name:
        return fields.field_of(seen)
    kind: FieldKind = (
        "bytes" if last in IMAGE_EXTENSIONS else "vector" if last == "npy" else "other" if last in {"json", "pyd", "pth"} else "text"
    )
    if kind == "text":
        return fields.field_of([v.decode("utf-8", "replace").strip() if isinstance(v, bytes) else v for v in seen])
    return Field(kind)


def _columns(spec: str | None) -> tuple[_Column, ...]:
    """The column that a specification names, or the two of a preference."""
    return () if spec is None else tuple(map(_column, spec.split(OVER)))


def _column(spec: str) -> _Column:
    named, _, field = spec.partition(":")
    extensions = tuple(part.strip().lower().lstrip(".") for part in named.split(";"))
    part, last = specification.part(field), extensions[0].rpartition(".")[2]
    shown_as = replace(part, name=part.name or extensions[0])
    return _Column(extensions, part.name, shown_as, not part.name and last in IMAGE_EXTENSIONS, last in {"cls", "label"})


def _samples(
    shard: Shard, stream: Stream, columns: Columns, limits: Limits, keys: values.Keys, *, ended: bool = False
) -> Iterator[Sample | Skipped]:
    wanted = tuple(_columns(spec) for spec in (columns.content, columns.target, columns.embedding, columns.id))
    extensions = frozenset(extension for named in wanted for column in named for extension in column.extensions)
    labels: dict[bytes, str] = {}
    size = 0

    def keep(extension: str) -> int:
        return limits.content_bytes if extension in extensions else 0

    for group in _groups(members(stream, keep, limits, ended=ended), limits, keep, partial(_bulk, shard, wanted, limits, keys, labels)):
        if not isinstance(group, list):
            yield from group
            continue
        first = group[0]
        if not first.name:
            yield skipped_shard(shard, first.problem)
        elif not first.key:
            reason = first.problem or "a member without an extension belongs to no sample"
            yield skipped_sample(shard, shown(first.name), f"{reason} (byte {first.start})")
        else:
            sample = _sample(shard, group, wanted, limits, keys, labels)
            if isinstance(sample, Sample) and sample.vector is not None:
                try:
                    size = values.same_size(sample.vector, size, columns.embedding or "")
                except UnreadableError as error:
                    sample = skipped_sample(shard, sample.key, str(error))
            yield sample


def _bulk(
    shard: Shard, wanted: tuple[tuple[_Column, ...], ...], limits: Limits, keys: values.Keys, labels: dict[bytes, str], run: Run
) -> Iterator[Sample] | None:
    """The samples of a run, all at once; None where any of them needs a closer look (`_sample` then says what is wrong, and with which)."""
    content, target, embedding, identity = wanted
    if embedding or identity or len(run.extensions) > limits.members_per_sample or run.table[:, DOT].max() > limits.key_chars:
        return None
    try:
        bodies = [_bulk_content(found, content[0], limits) for found in _bulk_data(run, content, limits)] if content else [repeat(None)]
        told = [_bulk_target(found, target[0], limits, labels) for found in _bulk_data(run, target, limits)] if target else [repeat(None)]
    except UnreadableError:
        return None
    if not bodies or not told or not keys.admit_all(run.keys):
        return None
    width, last = len(run.extensions), len(run.extensions) - 1
    starts = run.table[::width, START]
    lengths = (ends_of(run.table[last::width]) - starts).tolist()
    return samples(shard, run.keys, bodies[0], told[0], (starts + run.offset).tolist(), lengths)


def _bulk_data(run: Run, columns: tuple[_Column, ...], limits: Limits) -> list[list[bytes]]:
    """The data of a column in every sample of a run; nothing where they are not simply there."""
    there = [extension for extension in columns[0].extensions if extension in run.extensions]
    if len(columns) > 1 or columns[0].field or columns[0].part.view or not there:
        return []
    rows = run.column(there[0])
    return [run.data(rows)] if rows[:, SIZE].max() <= limits.content_bytes else []


def _bulk_content(found: list[bytes], column: _Column, limits: Limits) -> Sequence[bytes | str]:
    if not column.is_image:
        return [values.text(data, column.extensions[0], limits) for data in found]
    if not all(found):
        raise UnreadableError("an image is empty")
    return found


def _bulk_target(found: list[bytes], column: _Column, limits: Limits, labels: dict[bytes, str]) -> Sequence[str]:
    try:
        return list(map(labels.__getitem__, found))
    except KeyError:
        return [labels.get(data) or _kept_target(data, column, limits, labels) for data in found]


def _sample(
    shard: Shard, group: list[Member], wanted: tuple[tuple[_Column, ...], ...], limits: Limits, keys: values.Keys, labels: dict[bytes, str]
) -> Sample | Skipped:
    content, target, embedding, identity = wanted
    key = group[0].key
    there = {member.extension: member for member in group}
    try:
        values.checked_key(key, limits)
        if len(group) > limits.members_per_sample:
            raise UnreadableError(f"more than {limits.members_per_sample} members")
        if identity:
            key = values.checked_key(values.scalar(_value(there, identity[0], limits), "id", limits).strip(), limits)
        told = _target(there, target, limits, labels) if target else None
        vector = values.vector(_value(there, embedding[0], limits), embedding[0].extensions[0], limits) if embedding else None
        body = _content(there, content[0], limits) if content else None
    except UnreadableError as error:
        return skipped_sample(shard, keys.admit(key)[0], f"{error} (byte {group[0].start})")
    unique, repeated = keys.admit(key)
    start = group[0].start
    return Sample(f"{shard.name}#{unique}", unique, body, told, start, group[-1].end - start, vector, repeated)


def _content(there: Mapping[str, Member], column: _Column, limits: Limits) -> bytes | str:
    found = _value(there, column, limits)
    if column.is_image:
        return values.image(found, column.extensions[0], limits)
    seen = specification.looked_at(found, column.part, limits)
    return values.text(seen, ":".join((column.extensions[0], column.field)).rstrip(":"), limits)


def _target(there: Mapping[str, Member], columns: tuple[_Column, ...], limits: Limits, labels: dict[bytes, str]) -> str:
    """The target; of a short member that is one by itself, what was made of the same bytes before (a label of many samples)."""
    member = there.get(columns[0].extensions[0])
    if member is not None and member.data and len(columns) == 1 and not columns[0].field:
        return labels.get(member.data) or _kept_target(member.data, columns[0], limits, labels)
    found = [_as_target(_value(there, column, limits), column, limits) for column in columns]
    return specification.target_of(found, [column.part for column in columns], limits)


def _kept_target(data: bytes, column: _Column, limits: Limits, labels: dict[bytes, str]) -> str:
    """The target that a member is by itself, remembered where it is short."""
    told = specification.target_of([_as_target(data, column, limits)], [column.part], limits)
    if len(data) <= LABEL_BYTES and len(labels) < LABELS:
        labels[data] = told
    return told


def _as_target(found: object, column: _Column, limits: Limits) -> object:
    if not isinstance(found, bytes):
        return found
    told = values.text(found, column.extensions[0], limits)
    return told.strip() if column.is_label else told


def _value(there: Mapping[str, Member], column: _Column, limits: Limits) -> object:
    """The data of the sample's first member that the column names, or the field of its JSON."""
    for extension in column.extensions:
        if (member := there.get(extension)) is not None:
            break
    else:
        raise UnreadableError(f"no member .{' or .'.join(column.extensions)}, only {', '.join(shown(e, 20) for e in list(there)[:8])}")
    if member.data is None:
        raise UnreadableError(f"member .{member.extension[:20]}: {member.problem}")
    if not column.field:
        return member.data
    if len(member.data) > limits.line_bytes:
        raise UnreadableError(f"member .{member.extension[:20]} has {len(member.data)} bytes of JSON, limit {limits.line_bytes}")
    record = values.record(member.data, f"member .{member.extension[:20]}")
    if column.field not in record:
        raise UnreadableError(f"member .{member.extension[:20]} has no field {column.field}")
    return record[column.field]


def _groups(
    found: Iterator[Member | Run], limits: Limits, keep: Callable[[str], int], bulk: Callable[[Run], Iterator[Sample] | None]
) -> Iterator[list[Member] | Iterator[Sample]]:
    """Members of one sample; one of no sample, and damage, is a group of its own; of a run what `bulk` makes of it, if anything."""
    group: list[Member] = []
    extensions: set[str] = set()
    for item in found:
        if isinstance(item, Run):
            if group:
                yield group
                group, extensions = [], set()
            if (samples := bulk(item)) is not None:
                yield samples
                continue
        for member in unrolled(item, keep) if isinstance(item, Run) else (item,):
            key = member.key
            if group and (not key or key != group[0].key or member.extension in extensions):
                yield group
                group, extensions = [], set()
            if not key:
                yield [member]
            elif len(group) <= limits.members_per_sample:
                group.append(member)
                extensions.add(member.extension)
            else:
                group[-1] = member  # too many already; only the end of the sample still matters
    if group:
        yield group
