"""Frozen dataclasses of arrays, numbers and strings on disk: one .npz each, never a pickle.

Writing is atomic (temporary name, fsync, rename), so a torn file is never taken for a finished one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from dataaudit.errors import AuditDirectoryError

T = TypeVar("T")


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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AuditDirectoryError(f"{path}: not a readable {cls.__name__} ({error}); delete it and run again") from error
    values |= {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
    return cls(**values)
