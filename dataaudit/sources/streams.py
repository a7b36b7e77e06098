"""A shard as a forward stream: raw bytes are hashed as they pass, gzip and Zstandard are undone in bounded steps."""

from __future__ import annotations

import hashlib
import zlib
from typing import IO, Any, Literal

from dataaudit.sources.contract import Digest, Limits, UnreadableError

Compression = Literal["", "gzip", "zstd"]

RAW_CHUNK = 512 << 10
ZSTD_STEP = 1 << 10
"""Compressed bytes fed at a time: four bytes can stand for a block of 128 KiB, so that a step yields 32 MiB at the most."""
GZIP_STEP = 1 << 20
ZSTD_WINDOW = 128 << 20


def compression_of(name: str) -> Compression:
    """By the file's last suffix."""
    lower = name.lower()
    if lower.endswith((".gz", ".tgz")):
        return "gzip"
    return "zstd" if lower.endswith((".zst", ".tzst")) else ""


class Stream:
    """Reads forward; `position` counts decompressed bytes handed out.

    Damage to the compression is raised as `UnreadableError`, failing storage as `OSError`; `digest` still
    hashes what is left of the raw bytes after either.
    """

    def __init__(self, raw: IO[bytes], compression: Compression, limits: Limits) -> None:
        self._raw = raw
        self._hash = hashlib.sha256()
        self._size = 0
        self._produced = 0
        self._limits = limits
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.position = 0
        self._codec = _Codec(compression) if compression else None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only at the end."""
        parts = []
        while size > 0 and self._fill():
            part = self._buffer[self._at : self._at + size]
            self._at += len(part)
            self.position += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def at_hand(self) -> tuple[bytes, int]:
        """A part of the stream that needs no reading, at least a byte of it but at the end, and where in it the stream stands."""
        self._fill()
        return self._buffer, self._at

    def skip(self, size: int) -> int:
        """Pass over `size` bytes without keeping them; says how many there were."""
        passed = 0
        while passed < size and self._fill():
            step = min(size - passed, len(self._buffer) - self._at)
            self._at += step
            passed += step
        self.position += passed
        return passed

    def line(self, limit: int) -> tuple[bytes, int]:
        """The next line without its end, cut at `limit` bytes, and how many bytes it spans; (b"", 0) at the end."""
        kept: list[bytes] = []
        spans = held = 0
        while self._fill():
            end = self._buffer.find(b"\n", self._at)
            stop = len(self._buffer) if end < 0 else end + 1
            part = self._buffer[self._at : stop if end < 0 else end]
            kept.append(part[: max(0, limit - held)])
            held += len(kept[-1])
            spans += stop - self._at
            self._at = stop
            if end >= 0:
                break
        self.position += spans
        return b"".join(kept), spans

    def digest(self) -> Digest:
        """Drain the raw bytes that are left and tell the digest of all; raises `OSError` where they cannot be read."""
        self._buffer, self._at = b"", 0
        while self._pull():
            pass
        return Digest(self._hash.hexdigest(), self._size)

    def _pull(self) -> bytes:
        chunk = self._raw.read(RAW_CHUNK)
        self._hash.update(chunk)
        self._size += len(chunk)
        return chunk

    def _fill(self) -> bool:
        """Make sure that a byte is at hand; False at the end."""
        while self._at >= len(self._buffer):
            if self._ended:
                return False
            self._buffer, self._at = (self._expand(self._codec) if self._codec else self._pull()), 0
            if not self._buffer and (self._codec is None or self._codec.finished):
                self._ended = True
        return True

    def _expand(self, codec: _Codec) -> bytes:
        if codec.hungry:
            codec.feed(self._pull())
        out = codec.step()
        self._produced += len(out)
        if self._produced > self._limits.expansion_grace and self._produced > self._limits.expansion * self._size:
            raise UnreadableError(f"decompresses to more than {self._limits.expansion} times its size: taken for a decompression bomb")
        return out


class _Codec:
    """Undoes a sequence of gzip members or Zstandard frames, a bounded step at a time."""

    def __init__(self, kind: Compression) -> None:
        self._kind = kind
        self._pending = b""
        self._exhausted = False
        self._object: Any = None

    @property
    def hungry(self) -> bool:
        return not self._pending and not self._exhausted

    @property
    def finished(self) -> bool:
        return self._exhausted and not self._pending

    def feed(self, raw: bytes) -> None:
        self._pending, self._exhausted = raw, not raw
        if not raw and self._object is not None and not self._object.eof:
            raise UnreadableError(f"{self._kind} data end too early: the file is cut off")

    def step(self) -> bytes:
        if not self._pending:
            return b""
        if self._object is None or self._object.eof:
            if self._kind == "gzip" and self._object is not None:
                self._pending = self._pending.lstrip(b"\0")  # padding between and after members, as gzip itself allows
                if not self._pending:
                    return b""
            self._object = self._fresh()
        return self._step()

    def _fresh(self) -> Any:
        if self._kind == "gzip":
            return zlib.decompressobj(wbits=31)
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    def _step(self) -> bytes:
        if self._kind == "gzip":
            try:
                out: bytes = self._object.decompress(self._pending, GZIP_STEP)
            except zlib.error as error:
                raise UnreadableError(f"gzip data are damaged ({error})") from None
            self._pending = self._object.unused_data if self._object.eof else self._object.unconsumed_tail
            return out
        import zstandard

        fed, rest = self._pending[:ZSTD_STEP], self._pending[ZSTD_STEP:]
        try:
            out = self._object.decompress(fed)
        except zstandard.ZstdError as error:
            raise UnreadableError(f"Zstandard data are damaged ({error})") from None
        self._pending = (self._object.unused_data if self._object.eof else b"") + rest
        return out
