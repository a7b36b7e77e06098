"""The members of a tar file, in order, off a forward stream.

Plain members (USTAR headers of files with short names, with or without PAX records of times before them) are found many at a
time in what the stream has at hand; anything else, long names, links, sparse members, damage, is parsed one block at a time with
the standard library's `tarfile.TarInfo`.  Both ways tell the same of the same bytes.  After a damaged header the next valid one is
looked for.
"""

from __future__ import annotations

import re
import struct
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataaudit.sources.contract import Limits, UnreadableError
from dataaudit.sources.streams import Stream

BLOCK = tarfile.BLOCKSIZE

_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
_TIMES = re.compile(rb"(?:[0-9]{1,3} [acm]time=[0-9.]{1,40}\n)+\0*")
"""PAX records that say nothing but times: those of every member that the webdataset library wrote."""
_HEADER = struct.Struct("100s24x11sc20xc188xc")
"""Name, size in eleven octal digits, what ends them, type, and the first byte of a prefix to the name."""
_ENDS = (b"\0", b" ")
_EVEN = np.uint64(0x00FF00FF00FF00FF)
_PLACE_VALUES = 8 ** np.arange(5, -1, -1)


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


def members(stream: Stream, keep: Callable[[str], int], limits: Limits, *, ended: bool = False) -> Iterator[Member]:
    """The members in order; `ended` is for a window into a tar, which needs no end marker."""
    try:
        yield from _parse(stream, keep, limits, ended)
    except UnreadableError as error:
        yield damage(stream.position, stream.position, f"{error} (after {stream.position} bytes of tar)")
    except OSError as error:
        yield damage(stream.position, stream.position, f"reading failed at byte {stream.position} ({error})")


def _parse(stream: Stream, keep: Callable[[str], int], limits: Limits, ended: bool) -> Iterator[Member]:
    extended, everywhere, start, lost = _NOTHING, _NOTHING, -1, -1
    zeros = members = 0
    while True:
        if everywhere == _NOTHING and start < 0 and lost < 0 and not zeros:
            plain = _plain_members(stream, keep)
            members += len(plain)
            yield from plain
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


def _plain_members(stream: Stream, keep: Callable[[str], int]) -> list[Member]:
    """The plain members that lie whole in what the stream has at hand, from its place on; the stream stands behind them then."""
    buffer, begin = stream.at_hand()
    headers, found, offset = [], [], stream.position - begin
    at, stop = begin, len(buffer) - BLOCK
    unpack = _HEADER.unpack_from
    while at <= stop:
        start = at
        name, octal, after, kind, prefix = unpack(buffer, at)
        if kind == tarfile.XHDTYPE:
            if (
                at + 2 * BLOCK > stop
                or octal[:8] != b"00000000"
                or octal[8:] == b"000"
                or not _TIMES.fullmatch(buffer, at + BLOCK, at + 2 * BLOCK)
            ):
                break
            headers.append(at)
            at += 2 * BLOCK
            name, octal, after, kind, prefix = unpack(buffer, at)
        if kind != tarfile.REGTYPE or prefix != b"\0" or not octal.isdigit() or after not in _ENDS:
            break
        try:
            size = int(octal, 8)
        except ValueError:
            break
        body = at + BLOCK
        end = body + size + -size % BLOCK
        if end > len(buffer):
            break
        headers.append(at)
        told = name.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        key, extension = parted(told)
        allowed = keep(extension)
        data, problem = (buffer[body : body + size], "") if size <= allowed else (None, f"{size} bytes, limit {allowed}")
        found.append(Member(told or "?", key, extension, start + offset, end + offset, size, data, problem))
        at = end
    sound = _sound(buffer, headers)
    if sound < len(headers):
        found = [member for member in found if member.end - offset <= headers[sound]]
    if found:
        stream.skip(found[-1].end - stream.position)
    return found


def _sound(buffer: bytes, headers: Sequence[int]) -> int:
    """How many headers have the checksum they tell, up to the first that has not or writes it in an unusual way."""
    if not headers:
        return 0
    whole = (len(buffer) - headers[0]) // BLOCK
    blocks: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8, whole * BLOCK, headers[0]).reshape(whole, BLOCK)
    blocks = blocks[(np.array(headers) - headers[0]) // BLOCK]
    digits = blocks[:, 148:154].astype(np.int64) - ord("0")
    told = digits @ _PLACE_VALUES
    words = blocks.view("<u8")  # eight bytes are added at once, and 64 words of pairs of them fit 16 bits
    pairs = ((words & _EVEN) + ((words >> np.uint64(8)) & _EVEN)).sum(axis=1).view("<u2").reshape(-1, 4)
    summed = pairs.sum(axis=1, dtype=np.int64) - blocks[:, 148:156].sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    good = (told == summed) & ((digits >= 0) & (digits < 8)).all(axis=1) & ((blocks[:, 154] == 0) | (blocks[:, 154] == ord(" ")))
    return len(headers) if good.all() else int(np.argmin(good))


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
