"""Objects in a store, read by ranges: what fails for a moment is tried again, what has changed is not mixed.

Whatever a storage library raises leaves this module as an `OSError` in our own words, since its message could hold a signed address.
"""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Callable
from typing import IO, Any, TypeVar

from dataaudit.errors import DataAuditError, SourceError

T = TypeVar("T")
BLOCK = 4 << 20
"""Bytes asked for at a time; as many are held."""
ATTEMPTS = 6
FIRST_PAUSE = 0.25
"""Seconds, doubled with every attempt: about eight in all."""
PACKAGES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az", "adl": "az"}
"""Extras of this package by protocol."""


class ChangedError(OSError):
    """The object is no longer the one that was opened."""


def filesystem(uri: str) -> tuple[Any, str]:
    """fsspec's file system for an address, with the credentials of this process's environment, and the path in it."""
    if "::" in uri:
        raise SourceError(f"{shown(uri)}: chained addresses (::) are not supported; name the storage directly")
    from fsspec.core import url_to_fs

    try:
        found, path = url_to_fs(uri)
    except ImportError as error:
        protocol = uri.partition("://")[0]
        extra = f"pip install 'dataaudit[{PACKAGES[protocol]}]'" if protocol in PACKAGES else str(error)
        raise SourceError(f"{shown(uri)}: {protocol}:// needs a package that is not installed: {extra}") from error
    return found, path


def shown(uri: str) -> str:
    """An address without the credentials that it may carry."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    place, slash, path = rest.partition("/")
    path, query, _ = path.partition("?")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}{'?...' if query else ''}"


def patiently(action: Callable[[], T]) -> T:
    """Do it, again after a pause where it fails in a way that may pass; raises OSError."""
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except DataAuditError:
            raise
        except Exception as error:  # noqa: BLE001 - storage libraries raise whatever their HTTP clients do
            problem = told(error)
            if attempt == ATTEMPTS - 1 or not passing(error):
                raise problem from None
        time.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the workers' attempts
    raise AssertionError("unreachable")


def passing(error: BaseException) -> bool:
    """Whether it may be different in a moment: not so for what is missing, forbidden or changed."""
    return status(error) not in {400, 401, 403, 404, 405, 410, 412, 416} and not isinstance(
        error, FileNotFoundError | PermissionError | IsADirectoryError | ChangedError | NotImplementedError | TypeError
    )


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, as far as it is told."""
    code = getattr(error, "status", None) or getattr(error, "code", None)
    return code if isinstance(code, int) else None


def told(error: BaseException) -> OSError:
    """The error without anything that it quotes."""
    if isinstance(error, ChangedError):
        return error
    if type(error).__name__ == "FileExpired" or status(error) == 412:
        return ChangedError("it changed while it was read")
    kind = next((k for k in (FileNotFoundError, PermissionError, IsADirectoryError) if type(error) is k), OSError)
    code = status(error)
    return kind(f"{type(error).__name__}{f', HTTP status {code}' if code else ''} from the storage")


def open_object(uri: str) -> IO[bytes]:
    """A readable, seekable file of ranged requests; one that can only go forward where the server knows no ranges."""
    return io.BufferedReader(_Object(uri), BLOCK)


def serves_parts(file: Any) -> bool:
    """Whether a web server gives a file from its second byte on when asked to."""
    if not file.size:
        return False
    try:
        file.seek(min(1, file.size - 1))
        file.read(1)
        file.seek(0)
    except ValueError:
        return False
    return True


class _Object(io.RawIOBase):
    """One object as of its opening; reopened at its place after a failure."""

    def __init__(self, uri: str) -> None:
        self._filesystem, self._path = filesystem(uri)
        self._at = 0
        self._ranges = True
        self._file: Any = patiently(lambda: self._opened(0))
        self._size: int | None = getattr(self._file, "size", None)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._ranges

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self._ranges:
            raise io.UnsupportedOperation("the server does not serve parts of a file")
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size or 0}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = patiently(lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._forget()
        super().close()

    def _read(self, size: int) -> bytes:
        if self._file is None:
            self._file = self._opened(self._at)
            if getattr(self._file, "size", None) != self._size:
                raise ChangedError("it changed while it was read")
        try:
            if self._ranges:
                self._file.seek(self._at)
            data: bytes = self._file.read(size)
        except BaseException:
            self._forget()
            raise
        if len(data) < size and self._size is not None and self._at + len(data) < self._size:
            self._forget()
            raise OSError("fewer bytes than the object has")
        return data

    def _opened(self, at: int) -> Any:
        if self._ranges:
            file = self._filesystem.open(self._path, "rb", block_size=BLOCK, cache_type="none")
            if self._path.startswith(("http://", "https://")):
                self._ranges = serves_parts(file)
            if self._ranges:
                return file
        file = self._filesystem.open(self._path, "rb", block_size=0)
        while at > 0 and (passed := file.read(min(at, BLOCK))):
            at -= len(passed)
        return file

    def _forget(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # what is being given up may fail in any way
                file.close()
