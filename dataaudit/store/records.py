"""Frozen dataclasses of arrays, numbers and strings on disk: one .npz each, never a pickle.

Writing is atomic (temporary name, fsync, rename), so a torn file, or half a directory, is never taken for a finished one.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import AuditDirectoryError

T = TypeVar("T")
LOCAL_HEADER = 30
"""Bytes of a zip member's own header before its name; the last four are the lengths of name and extra field."""


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Write `path` all or nothing: the block writes to a neighbour, which is synced and renamed at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Fill the directory `path` all or nothing; where another was quicker, theirs stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, keys in the given order; NaN is refused."""
    with atomic(path) as out:
        out.write(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode())


def save(record: Any, path: Path) -> None:
    """Save a frozen dataclass whose fields are arrays, numbers, strings or tuples of strings."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise TypeError(f"{type(record).__name__}.{field.name} is an object array, which would need a pickle")
            arrays[field.name] = value
        else:
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    with atomic(path) as out:
        np.savez(out, __plain__=np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8), **arrays)


def load(cls: type[T], path: Path) -> T:
    """Load what `save` wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            plain = json.loads(stored["__plain__"].tobytes())
            values = {name: stored[name] for name in stored.files if name != "__plain__"}
    except OSError as error:
        raise AuditDirectoryError(f"{path}: cannot be read ({error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AuditDirectoryError(f"{path}: not a readable {cls.__name__} ({error}); delete it and run again") from error
    values |= {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
    return cls(**values)


def mapped(cls: type[T], path: Path) -> T:
    """Load what `save` wrote, but leave the arrays on disk until they are touched.  They may be unaligned, and share one open file."""
    try:
        with zipfile.ZipFile(path) as stored:
            whole = np.memmap(path, np.uint8, "r")
            plain = json.loads(np.lib.format.read_array(io.BytesIO(stored.read("__plain__.npy")), allow_pickle=False).tobytes())
            arrays = {
                info.filename.removesuffix(".npy"): _mapped_member(whole, stored, info)
                for info in stored.infolist()
                if info.filename != "__plain__.npy"
            }
    except OSError as error:
        raise AuditDirectoryError(f"{path}: cannot be read ({error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AuditDirectoryError(f"{path}: not a readable {cls.__name__} ({error}); delete it and run again") from error
    return cls(**arrays, **{name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()})


@dataclasses.dataclass(frozen=True)
class MappedParts(Sequence[T]):
    """Records on disk, each mapped when it is asked for: what nobody holds any more is closed."""

    cls: type[T]
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> MappedParts[T]: ...
    def __getitem__(self, at: int | slice) -> T | MappedParts[T]:
        if isinstance(at, slice):
            return MappedParts(self.cls, self.files[at])
        return mapped(self.cls, self.files[at])


def _mapped_member(whole: NDArray[np.uint8], stored: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One array of an .npz that is not compressed: its bytes begin behind the member's and the array's header."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with stored.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        header = member.tell()
    if dtype.hasobject:
        raise ValueError(f"{info.filename} is an object array")
    if 0 in shape:
        return np.empty(shape, dtype)
    name, extra = whole[info.header_offset + LOCAL_HEADER - 4 : info.header_offset + LOCAL_HEADER].view("<u2").tolist()
    start = info.header_offset + LOCAL_HEADER + name + extra + header
    flat = whole[start : start + math.prod(shape) * dtype.itemsize].view(dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
