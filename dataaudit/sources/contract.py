"""What the readers of all formats share: their limits, what they yield, and the Protocol they satisfy."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Literal, Protocol

from dataaudit.errors import SourceError
from dataaudit.model import Columns, Sample, Shard, Skipped

STAGE = "read"
"""The stage that every `Skipped` of this package names."""


_NO_METADATA = Sample._field_defaults["metadata"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts from a file that may be hostile; beyond it a sample or shard is `Skipped`.

    content_bytes       the encoded image, or other binary content, of one sample
    text_chars          one content or target text
    turns               turns of a conversation, parts of a turn
    members_per_sample  members of a webdataset sample
    header_bytes        long names and PAX records of one tar member
    line_bytes          one JSON line
    key_chars           a sample's key
    vector_size         components of an embedding
    expansion           decompressed bytes over compressed ones, once `expansion_grace` bytes came out
    row_group_batch     bytes of Parquet rows decoded at a time
    """

    content_bytes: int = 64 << 20
    text_chars: int = 10 << 20
    turns: int = 1000
    members_per_sample: int = 64
    header_bytes: int = 64 << 10
    line_bytes: int = 16 << 20
    key_chars: int = 1024
    vector_size: int = 4096
    expansion: int = 200
    expansion_grace: int = 1 << 30
    row_group_batch: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """The SHA-256 (hex) and size of a shard's bytes as they were read: what every reading ends with.

    `changed`: the shard was not the same at the beginning and at the end, so that nothing of it may be used.
    """

    sha256: str
    size: int
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """The shards of a data set, sorted by name, and what lies in its sources but cannot be read."""

    shards: tuple[Shard, ...]
    skipped: tuple[Skipped, ...]


FieldKind = Literal["text", "integer", "number", "bytes", "vector", "turns", "other"]


@dataclass(frozen=True, slots=True)
class Field:
    """A column or webdataset extension as the first samples show it; `chars` is the mean length of its texts.

    `turns` is the mean number of turns where the values are conversations (lists of turns, or texts that hold them), else 0.
    """

    kind: FieldKind
    unique: bool = False
    distinct: float = 0.0
    chars: float = 0.0
    turns: float = 0.0


class UnreadableError(SourceError):
    """Why a sample or the rest of a shard cannot be read; turned into `Skipped` before it leaves this package."""


class Format(Protocol):
    """One file format, one module of this package."""

    def read(self, shard: Shard, columns: Columns, limits: Limits) -> Generator[Sample | Skipped, None, Digest]:
        """Stream the samples in bounded memory, and return the `Digest`, always."""
        ...

    def fetch(self, shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
        """A second look at samples by key -> (offset, length)."""
        ...

    def peek(self, shard: Shard, limits: Limits) -> Mapping[str, Field]:
        """The fields of the first samples, most frequent first; raises `UnreadableError`."""
        ...


def samples(
    shard: Shard,
    keys: Iterable[str],
    contents: Iterable[bytes | str | None],
    targets: Iterable[str | None],
    offsets: Iterable[int],
    lengths: Iterable[int],
) -> Iterator[Sample]:
    """Samples without vectors out of columns, made as `Sample._make` makes them but without a call of Python code for each."""
    keys = tuple(keys)
    ids = map(f"{shard.name}#".__add__, keys)
    made = zip(ids, keys, contents, targets, offsets, lengths, repeat(None), repeat(_NO_METADATA))
    return map(partial(tuple.__new__, Sample), made)


def skipped_shard(shard: Shard, reason: str) -> Skipped:
    """The rest of a shard, or a part of it that has no key, could not be read."""
    return Skipped(shard.name, STAGE, reason)


def skipped_sample(shard: Shard, key: str, reason: str) -> Skipped:
    """One sample could not be read."""
    return Skipped(f"{shard.name}#{key[:200]}", STAGE, reason)


def shown(text: str, width: int = 80) -> str:
    """A name out of a source, fit for a message: quoted, escaped, cut."""
    cut = text if len(text) <= width else text[:width] + "..."
    return ascii(cut)
