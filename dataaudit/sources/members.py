"""The members of a tar file, in order, off a forward stream.

Plain members are found many at a time in what the stream has at hand (`plain` says what they are); anything else, long names, links,
sparse members, damage, is parsed one block at a time with the standard library's `tarfile.TarInfo`.  Both ways tell the same of the
same bytes.  After a damaged header the next valid one is looked for.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from dataaudit.sources.contract import Limits, UnreadableError
from dataaudit.sources.plain import BLOCK, HEADER, SIZE, START, Run, Table, ends_of, plain_members, run_from, told
from dataaudit.sources.streams import Stream

_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
LONGEST = 16
"""Members of a sample, less one, up to which runs of such samples are looked for."""


class Member(NamedTuple):
    """One regular member: `start` of its first header, `end` of its padded data, `data` only where it was wanted.

    `key` is the path up to the first dot of its last part, empty where the member belongs to no sample; `extension` what follows the dot,
    in lower case.  `problem` says why the member cannot be used.  One without a name (and with a problem) is damage to the shard.  A
    named tuple, since millions are made.
    """

    name: str
    key: str
    extension: str
    start: int
    end: int
    size: int = 0
    data: bytes | None = None
    problem: str = ""


def parted(name: str) -> tuple[str, str]:
    """A member's key and extension."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return folder + slash + stem if stem and dot else "", extension.lower()


def damage(start: int, end: int, problem: str) -> Member:
    """Bytes that are no member."""
    return Member("", "", "", start, end, problem=problem)


@dataclass(frozen=True, slots=True)
class _Extended:
    """What PAX and GNU headers say of the member that follows."""

    name: str = ""
    size: int | None = None
    sparse: bool = False


_NOTHING = _Extended()


def members(stream: Stream, keep: Callable[[str], int], limits: Limits, *, ended: bool = False) -> Iterator[Member | Run]:
    """The members in order; `ended` is for a window into a tar, which needs no end marker."""
    try:
        yield from _parse(stream, keep, limits, ended)
    except UnreadableError as error:
        yield damage(stream.position, stream.position, f"{error} (after {stream.position} bytes of tar)")
    except OSError as error:
        yield damage(stream.position, stream.position, f"reading failed at byte {stream.position} ({error})")


def _parse(stream: Stream, keep: Callable[[str], int], limits: Limits, ended: bool) -> Iterator[Member | Run]:
    extended, everywhere, start, lost = _NOTHING, _NOTHING, -1, -1
    zeros = members = 0
    while True:
        if everywhere == _NOTHING and start < 0 and lost < 0 and not zeros:
            for found in _plain_members(stream, keep):
                members += len(found.table) if isinstance(found, Run) else 1
                yield found
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
            yield damage(lost, at, f"bytes {lost} to {at} are no tar members (a damaged header)")
            lost, start, extended = -1, -1, _NOTHING
        start = at if start < 0 else start
        if info.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            if info.size > limits.header_bytes:
                yield damage(at, at, f"an extended header of {info.size} bytes at byte {at}, limit {limits.header_bytes}")
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
        start, extended = -1, _NOTHING
    yield from _ending(stream, at, lost, zeros, members, ended)


def _ending(stream: Stream, at: int, lost: int, zeros: int, members: int, ended: bool) -> Iterator[Member]:
    if lost >= 0:
        yield damage(lost, at, f"bytes {lost} to {stream.position} are no tar members (a damaged header)")
    if stream.position == 0:
        yield damage(0, 0, "an empty file")
    elif not zeros and not ended:
        yield damage(at, at, f"the tar ends at byte {stream.position}, after {members} members, without an end marker: it is cut off")
    elif zeros:
        after, foreign = stream.position, 0
        while chunk := stream.read(1 << 16):
            foreign += len(chunk) - chunk.count(0)
        if foreign:
            yield damage(after, after, f"{foreign} bytes other than padding follow the end marker at byte {after}: not audited")


def _member(stream: Stream, block: bytes, info: tarfile.TarInfo, told: _Extended, start: int, keep: Callable[[str], int]) -> Member:
    """Read or pass over the data of one member."""
    name = told.name or info.name
    if info.type in _WITHOUT_DATA:
        # The standard library, which training code reads with, takes these to have no data whatever their size says.
        return Member(name or "?", *parted(name), start, stream.position, problem="a link or device, not followed")
    size = told.size if told.size is not None else info.size
    sparse = told.sparse or info.type == tarfile.GNUTYPE_SPARSE
    if info.type == tarfile.GNUTYPE_SPARSE and block[482:483] != b"\0":
        while stream.read(BLOCK)[504:505] not in {b"", b"\0"}:
            pass
    key, extension = parted(name)
    allowed = keep(extension)
    usable = info.type in _REGULAR and not sparse and size <= allowed
    data = stream.read(size) if usable else None
    passed = len(data) if data is not None else stream.skip(size)
    stream.skip(_padded(size) - size)
    problem = ""
    if passed < size:
        problem, data = f"cut off after {passed} of {size} bytes", None
    elif not usable:
        problem = "sparse or of an unknown type" if sparse or info.type not in _REGULAR else f"{size} bytes, limit {allowed}"
    return Member(name or "?", key, extension, start, stream.position, size, data, problem)


def _plain_members(stream: Stream, keep: Callable[[str], int]) -> Iterator[Member | Run]:
    """The plain members that lie whole in what the stream has at hand, from its place on; the stream stands behind them then.

    A run begins where the key changes, so that it never goes on with a sample before it.
    """
    buffer, begin = stream.at_hand()
    offset, table = stream.position - begin, plain_members(buffer, begin)
    if not len(table):
        return
    stream.skip(int(ends_of(table[-1])) - begin)
    at, before = 0, ""
    while at < len(table):
        member = _plain_member(buffer, table[at], offset, keep)
        run = _run(buffer, table, at, member, offset) if before and member.key != before else None
        if run is None:
            yield member
            at, before = at + 1, member.key
        else:
            yield run
            at, before = at + len(run.table), ""


def _run(buffer: bytes, table: Table, at: int, member: Member, offset: int) -> Run | None:
    """The run of samples that begins with a member."""
    extensions: list[str] = []
    for row in table[at : at + LONGEST]:
        key, extension = parted(told(buffer, row))
        if key != member.key or extension in extensions:
            return run_from(buffer, table, at, tuple(extensions), offset)
        extensions.append(extension)
    return None


def _plain_member(buffer: bytes, row: Table, offset: int, keep: Callable[[str], int]) -> Member:
    name, size, body = told(buffer, row), int(row[SIZE]), int(row[HEADER]) + BLOCK
    key, extension = parted(name)
    allowed = keep(extension)
    data, problem = (buffer[body : body + size], "") if size <= allowed else (None, f"{size} bytes, limit {allowed}")
    return Member(name or "?", key, extension, int(row[START]) + offset, int(ends_of(row)) + offset, size, data, problem)


def unrolled(run: Run, keep: Callable[[str], int]) -> Iterator[Member]:
    """The members of a run, one by one."""
    return (_plain_member(run.buffer, row, run.offset, keep) for row in run.table)


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
