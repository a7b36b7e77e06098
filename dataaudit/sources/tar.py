"""Webdataset tar files (`.tar`, `.tar.gz`, `.tar.zst`), read as a forward stream with a bounded header parser.

The name of a member up to the first dot of its last part is the sample's key, the rest its extension;
members of one key lie side by side.  Names are never used as paths.  Links, devices and sparse members
are not followed.  After a damaged header the next valid one is looked for.

A column is an extension (`jpg`, `cls`), several alternatives (`jpg;png`), or a field of a JSON member
(`json:label`), which may be a conversation (`json:messages:before`).  `Sample.offset` and `length` span
the sample's members with their headers, in decompressed bytes.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from dataaudit.model import OVER, Columns, Sample, Shard, Skipped
from dataaudit.sources import fields, paths, specification, values
from dataaudit.sources.contract import Digest, Field, FieldKind, Limits, UnreadableError, shown, skipped_sample, skipped_shard
from dataaudit.sources.specification import Part
from dataaudit.sources.streams import Stream, compression_of

BLOCK = tarfile.BLOCKSIZE
IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "image", "img"})
PEEKED_SAMPLES = 100
PEEKED_BYTES = 64 << 20

_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)


@dataclass(frozen=True, slots=True)
class Member:
    """One regular member: `start` of its first header, `end` of its padded data, `data` only where it was wanted.

    `problem` says why it cannot be used.  One without a name (and with a problem) is damage to the shard.
    """

    name: str
    start: int
    end: int
    size: int = 0
    data: bytes | None = None
    problem: str = ""

    @property
    def key(self) -> str:
        """The path up to the first dot of its last part; empty where the member belongs to no sample."""
        folder, slash, base = self.name.rpartition("/")
        stem, dot, _ = base.partition(".")
        return folder + slash + stem if stem and dot else ""

    @property
    def extension(self) -> str:
        """What follows the key's dot, in lower case."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()


@dataclass(frozen=True, slots=True)
class _Extended:
    """What PAX and GNU headers say of the member that follows."""

    name: str = ""
    size: int | None = None
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class _Column:
    extensions: tuple[str, ...]
    field: str
    part: Part

    @property
    def is_image(self) -> bool:
        return not self.field and self.extensions[0].rpartition(".")[2] in IMAGE_EXTENSIONS


def read(shard: Shard, columns: Columns, limits: Limits) -> Iterator[Sample | Skipped | Digest]:
    """All samples; damage is `Skipped` with its byte position, then reading goes on where it can."""
    try:
        raw = paths.open_raw(shard.uri)
    except OSError as error:
        yield skipped_shard(shard, f"cannot be opened ({error})")
        yield Digest("", 0)
        return
    with raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)
        yield from _samples(shard, stream, columns, limits, values.Keys())
        try:
            digest = stream.digest()
        except OSError as error:
            yield skipped_shard(shard, f"cannot be read to its end ({error})")
            digest = Digest("", 0)
        yield digest


def fetch(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
    """Seek in a plain tar that has not changed since; a compressed one is read again from its start."""
    with paths.open_raw(shard.uri) as raw:
        for key, (offset, length) in sorted(wanted.items(), key=lambda item: item[1]):
            raw.seek(offset)
            window = io.BytesIO(raw.read(length)) if length <= limits.content_bytes else raw
            found = next(_samples(shard, Stream(window, "", limits), columns, limits, values.Keys(), ended=True), None)
            if isinstance(found, Sample) and (found.key == key or key.startswith(found.key + "~")):
                repeated = {"repeated_key": found.key} if found.key != key else {}
                yield replace(found, id=f"{shard.name}#{key}", key=key, offset=offset, length=length, metadata=repeated)
            else:
                reason = found.reason if isinstance(found, Skipped) else "another sample lies at its place now"
                yield skipped_sample(shard, key, reason)


def peek(shard: Shard, limits: Limits) -> Mapping[str, Field]:
    """Extensions of the first samples, and the fields of their JSON members as `json:FIELD`; most frequent first."""
    counts: Counter[str] = Counter()
    seen: dict[str, list[object]] = {}
    with paths.open_raw(shard.uri) as raw:
        stream = Stream(raw, compression_of(shard.uri.partition("?")[0]), limits)
        small = 1 << 20
        for group in islice(_groups(_members(stream, lambda _: small, limits), limits), PEEKED_SAMPLES):
            for member in group:
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
    extensions, _, field = spec.partition(":")
    part = specification.part(field)
    return _Column(tuple(part.strip().lower().lstrip(".") for part in extensions.split(";")), part.name, part)


def _samples(
    shard: Shard, stream: Stream, columns: Columns, limits: Limits, keys: values.Keys, *, ended: bool = False
) -> Iterator[Sample | Skipped]:
    wanted = tuple(_columns(spec) for spec in (columns.content, columns.target, columns.embedding, columns.id))
    extensions = frozenset(extension for named in wanted for column in named for extension in column.extensions)
    size = 0

    def keep(extension: str) -> int:
        return limits.content_bytes if extension in extensions else 0

    for group in _groups(_members(stream, keep, limits, ended=ended), limits):
        first = group[0]
        if not first.name:
            yield skipped_shard(shard, first.problem)
        elif not first.key:
            reason = first.problem or "a member without an extension belongs to no sample"
            yield skipped_sample(shard, shown(first.name), f"{reason} (byte {first.start})")
        else:
            sample = _sample(shard, group, wanted, limits, keys)
            if isinstance(sample, Sample) and sample.vector is not None:
                try:
                    size = values.same_size(sample.vector, size, columns.embedding or "")
                except UnreadableError as error:
                    sample = skipped_sample(shard, sample.key, str(error))
            yield sample


def _sample(
    shard: Shard, group: list[Member], wanted: tuple[tuple[_Column, ...], ...], limits: Limits, keys: values.Keys
) -> Sample | Skipped:
    content, target, embedding, identity = wanted
    key = group[0].key
    try:
        values.checked_key(key, limits)
        if len(group) > limits.members_per_sample:
            raise UnreadableError(f"more than {limits.members_per_sample} members")
        if identity:
            key = values.checked_key(values.scalar(_value(group, identity[0], limits), "id", limits).strip(), limits)
        told = _target(group, target, limits) if target else None
        vector = values.vector(_value(group, embedding[0], limits), embedding[0].extensions[0], limits) if embedding else None
        body = _content(group, content[0], limits) if content else None
    except UnreadableError as error:
        return skipped_sample(shard, keys.admit(key)[0], f"{error} (byte {group[0].start})")
    unique, repeated = keys.admit(key)
    start, end = group[0].start, group[-1].end
    return Sample(f"{shard.name}#{unique}", unique, body, told, start, end - start, vector, repeated)


def _content(group: list[Member], column: _Column, limits: Limits) -> bytes | str:
    found = _value(group, column, limits)
    if column.is_image:
        return values.image(found, column.extensions[0], limits)
    seen = specification.looked_at(found, column.part, limits)
    return values.text(seen, ":".join((column.extensions[0], column.field)).rstrip(":"), limits)


def _target(group: list[Member], columns: tuple[_Column, ...], limits: Limits) -> str:
    found = [_as_target(_value(group, column, limits), column, limits) for column in columns]
    split = tuple(replace(column.part, name=column.field or column.extensions[0]) for column in columns)
    return specification.target_of(found, split, limits)


def _as_target(found: object, column: _Column, limits: Limits) -> object:
    if not isinstance(found, bytes):
        return found
    told = values.text(found, column.extensions[0], limits)
    return told.strip() if column.extensions[0].rpartition(".")[2] in {"cls", "label"} else told


def _value(group: list[Member], column: _Column, limits: Limits) -> object:
    """The data of the sample's first member that the column names, or the field of its JSON."""
    by_extension = {member.extension: member for member in reversed(group)}
    member = next((by_extension[e] for e in column.extensions if e in by_extension), None)
    if member is None:
        raise UnreadableError(
            f"no member .{' or .'.join(column.extensions)}, only {', '.join(shown(e, 20) for e in list(by_extension)[:8])}"
        )
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


def _groups(members: Iterator[Member], limits: Limits) -> Iterator[list[Member]]:
    """Members of one sample; one of no sample, and damage, is a group of its own."""
    group: list[Member] = []
    for member in members:
        alone = not member.key
        if group and (alone or member.key != group[0].key or any(m.extension == member.extension for m in group)):
            yield group
            group = []
        if alone:
            yield [member]
        elif len(group) <= limits.members_per_sample:
            group.append(member)
        else:
            group[-1] = member  # too many already; only the end of the sample still matters
    if group:
        yield group


def _members(stream: Stream, keep: Callable[[str], int], limits: Limits, *, ended: bool = False) -> Iterator[Member]:
    """The members in order; `ended` is for a window into a tar, which needs no end marker."""
    try:
        yield from _parse(stream, keep, limits, ended)
    except UnreadableError as error:
        yield Member("", stream.position, stream.position, problem=f"{error} (after {stream.position} bytes of tar)")
    except OSError as error:
        yield Member("", stream.position, stream.position, problem=f"reading failed at byte {stream.position} ({error})")


def _parse(stream: Stream, keep: Callable[[str], int], limits: Limits, ended: bool) -> Iterator[Member]:
    extended, everywhere, start, lost = _Extended(), _Extended(), 0, -1
    zeros = members = 0
    while True:
        at = stream.position
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            break
        if not block.strip(b"\0"):
            zeros += 1
            if zeros == 2:
                break
            continue
        zeros, info = 0, _header(block)
        if info is None:
            lost = at if lost < 0 else lost
            continue
        if lost >= 0:
            yield Member("", lost, at, problem=f"bytes {lost} to {at} are no tar members (a damaged header)")
            lost, extended = -1, _Extended()
        start = at if extended == _Extended() else start
        if info.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            if info.size > limits.header_bytes:
                yield Member("", at, at, problem=f"an extended header of {info.size} bytes at byte {at}, limit {limits.header_bytes}")
                stream.skip(_padded(info.size))
                continue
            told = _extended(
                info.type, stream.read(_padded(info.size))[: info.size], everywhere if info.type == tarfile.XGLTYPE else extended
            )
            everywhere, extended = (told, extended) if info.type == tarfile.XGLTYPE else (everywhere, told)
            continue
        members += 1
        if info.type != tarfile.DIRTYPE:
            yield _member(stream, block, info, _overlay(everywhere, extended), start, keep)
        extended = _Extended()
    yield from _ending(stream, at, lost, zeros, members, ended)


def _ending(stream: Stream, at: int, lost: int, zeros: int, members: int, ended: bool) -> Iterator[Member]:
    if lost >= 0:
        yield Member("", lost, at, problem=f"bytes {lost} to {stream.position} are no tar members (a damaged header)")
    if stream.position == 0:
        yield Member("", 0, 0, problem="an empty file")
    elif not zeros and not ended:
        yield Member(
            "", at, at, problem=f"the tar ends at byte {stream.position}, after {members} members, without an end marker: it is cut off"
        )
    elif zeros:
        after, foreign = stream.position, 0
        while chunk := stream.read(1 << 16):
            foreign += len(chunk) - chunk.count(0)
        if foreign:
            yield Member("", after, after, problem=f"{foreign} bytes other than padding follow the end marker at byte {after}: not audited")


def _member(stream: Stream, block: bytes, info: tarfile.TarInfo, told: _Extended, start: int, keep: Callable[[str], int]) -> Member:
    """Read or pass over the data of one member."""
    name = told.name or info.name
    if info.type in _WITHOUT_DATA:
        # The standard library, which training code reads with, takes these to have no data whatever their size says.
        return Member(name or "?", start, stream.position, problem="a link or device, not followed")
    size = told.size if told.size is not None else info.size
    sparse = told.sparse or info.type == tarfile.GNUTYPE_SPARSE
    if info.type == tarfile.GNUTYPE_SPARSE and block[482:483] != b"\0":
        while stream.read(BLOCK)[504:505] not in {b"", b"\0"}:
            pass
    found = Member(name or "?", start, 0, size)
    allowed = keep(found.extension)
    usable = info.type in _REGULAR and not sparse and size <= allowed
    data = stream.read(size) if usable else None
    passed = len(data) if data is not None else stream.skip(size)
    stream.skip(_padded(size) - size)
    problem = ""
    if passed < size:
        problem, data = f"cut off after {passed} of {size} bytes", None
    elif not usable:
        problem = "sparse or of an unknown type" if sparse or info.type not in _REGULAR else f"{size} bytes, limit {allowed}"
    return replace(found, end=stream.position, data=data, problem=problem)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _header(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block, None where there is none (its checksum tells)."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError:
        return None
    return info if info.size >= 0 else None


def _extended(kind: bytes, body: bytes, before: _Extended) -> _Extended:
    """What one more extended header adds to those before it; records that make no sense say nothing."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return replace(before, name=body.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"))
    if kind == tarfile.GNUTYPE_LONGLINK:
        return before
    told = before
    for keyword, value in _pax_records(body):
        if keyword == b"path":
            told = replace(told, name=value.decode("utf-8", "backslashreplace"))
        elif keyword == b"size" and value.isdigit() and len(value) < 20:
            told = replace(told, size=int(value))
        elif keyword.startswith(b"GNU.sparse."):
            told = replace(told, sparse=True)
    return told


def _pax_records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The `LENGTH KEYWORD=VALUE` records of a PAX header, up to the first that is none."""
    at = 0
    while at < len(body):
        digits, space, _ = body[at : at + 8].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits) + 2:
            return
        record = body[at + len(digits) + 1 : at + int(digits) - 1]
        keyword, equals, value = record.partition(b"=")
        if not equals:
            return
        yield keyword, value
        at += int(digits)


def _overlay(everywhere: _Extended, here: _Extended) -> _Extended:
    size = here.size if here.size is not None else everywhere.size
    return _Extended(here.name or everywhere.name, size, here.sparse or everywhere.sparse)
