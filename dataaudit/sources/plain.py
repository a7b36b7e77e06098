"""Plain members of a tar, found many at a time by compiled loops in the bytes at hand.

Plain is a USTAR header of a file with a short name, with or without PAX records of times before it, whose numbers are octal digits
and whose checksum is right.  A `Run` is samples on end that have the same extensions, as nearly all of a data set do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.engine.compiled import compiled

BLOCK = 512
START, HEADER, SIZE, DOT, LENGTH = range(5)
"""What a table says of each member: where its first header and its own header are, its bytes, its key's end in its name, its name's.

The key's end is 0 where there is no key, or where the name is not ASCII.
"""
_TIMES = re.compile(rb"(?:[0-9]{1,3} [acm]time=[0-9.]{1,40}\n)+\0*")
"""PAX records that say nothing but times: those of every member that the webdataset library wrote."""
_SPAN = 101
Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """`table` has the members of sample after sample, each with the `extensions` in this order; byte 0 of the tar is at `-offset`."""

    buffer: bytes
    table: Table
    extensions: tuple[str, ...]
    keys: tuple[str, ...]
    offset: int

    def column(self, extension: str) -> Table:
        """The rows of the members with an extension."""
        return self.table[self.extensions.index(extension) :: len(self.extensions)]

    def data(self, rows: Table) -> list[bytes]:
        """The bytes of members."""
        begins = rows[:, HEADER] + BLOCK
        return [self.buffer[begin:end] for begin, end in zip(begins.tolist(), (begins + rows[:, SIZE]).tolist(), strict=True)]


def plain_members(buffer: bytes, begin: int) -> Table:
    """The plain members that lie whole in a buffer, from `begin` on to the first that is not plain."""
    found = np.empty(((len(buffer) - begin) // BLOCK, 5), np.int64)
    found = found[: compiled(_scan)(np.frombuffer(buffer, np.uint8), begin, found)]
    timed = np.flatnonzero(found[:, START] != found[:, HEADER])
    for i, start in zip(timed.tolist(), found[timed, START].tolist(), strict=True):
        if not _TIMES.fullmatch(buffer, start + BLOCK, start + 2 * BLOCK):
            return found[:i]
    return found


def ends_of(rows: Table) -> Table:
    """Where the padded data of members end."""
    ends: Table = rows[..., HEADER] + BLOCK + -(-rows[..., SIZE] // BLOCK) * BLOCK
    return ends


def told(buffer: bytes, row: Any) -> str:
    """A member's name."""
    return buffer[row[HEADER] : row[HEADER] + row[LENGTH]].decode("utf-8", "backslashreplace")


def run_from(buffer: bytes, table: Table, first: int, extensions: tuple[str, ...], offset: int) -> Run | None:
    """The samples from row `first` on that have the same members as the first one, without the last, which may not be whole."""
    packed = np.empty(((len(table) - first) // len(extensions), _SPAN), np.uint8).reshape(-1)
    count, used = compiled(_same)(np.frombuffer(buffer, np.uint8), table, first, len(extensions), packed)
    if count < 2:
        return None
    keys = packed[:used].tobytes().decode("ascii").split("\0")[: count - 1]
    return Run(buffer, table[first : first + (count - 1) * len(extensions)], extensions, tuple(keys), offset)


def _scan(buffer: NDArray[np.uint8], begin: int, table: Table) -> int:
    """Fill the table; says how many members there are."""
    fields = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345), (148, 156), (124, 136))
    count, start, at = 0, begin, begin
    while at + 512 <= len(buffer) and count < len(table):
        header = buffer[at : at + 512]
        kind = header[156]
        if not (kind == 48 and header[345] == 0) and not (kind == 120 and at == start):
            break
        summed = 8 * 32
        for byte in header:
            summed += byte
        for byte in header[148:156]:
            summed -= byte
        number, told, sound = 0, 0, True
        for low, high in fields:
            told, number, ended = number, 0, False
            for byte in header[low:high]:
                if byte == 0 or byte == 32:
                    ended = True
                elif ended or byte < 48 or byte > 55:
                    sound = False
                else:
                    number = 8 * number + (byte - 48)
        if not sound or told != summed:
            break
        if kind == 120:
            if number == 0 or number > 512:
                break
            at += 1024
            continue
        end = at + 512 + (number + 511) // 512 * 512
        if end > len(buffer):
            break
        length, slash, dot, other = 100, -1, -1, False
        for i in range(100):
            byte = header[i]
            if byte == 0:
                length = i
                break
            if byte == 47:
                slash, dot = i, -1
            elif byte == 46 and dot < 0:
                dot = i
            elif byte > 127:
                other = True
        table[count, 0], table[count, 1], table[count, 2] = start, at, number
        table[count, 3], table[count, 4] = 0 if other or dot <= slash + 1 else dot, length
        count += 1
        start = at = end
    return count


def _same(buffer: NDArray[np.uint8], table: Table, first: int, members: int, keys: NDArray[np.uint8]) -> tuple[int, int]:
    """How many samples on end have the first one's extensions, each of one key; their keys, and a zero byte after each."""
    count = used = 0
    for row in range(first, len(table) - members + 1, members):
        own, key = table[row, 1], table[row, 3]
        for i in range(members):
            here, dot, like, point = table[row + i, 1], table[row + i, 3], table[first + i, 1], table[first + i, 3]
            rest = table[first + i, 4] - point
            if dot == 0 or dot != key or table[row + i, 4] - dot != rest:
                return count, used
            for j in range(rest):
                if buffer[here + dot + j] != buffer[like + point + j]:
                    return count, used
            if i > 0:
                for j in range(key):
                    if buffer[here + j] != buffer[own + j]:
                        return count, used
        for j in range(key):
            keys[used + j] = buffer[own + j]
        keys[used + key] = 0
        used += key + 1
        count += 1
    return count, used
