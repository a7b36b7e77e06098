"""Raw values out of a file, checked and turned into contents, targets and vectors; `UnreadableError` says what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.sources.contract import Limits, UnreadableError

SEPARATOR = "\n"
"""Between the columns of a joined content such as `instruction+input`."""

_NPY_DTYPES: dict[str, np.dtype[Any]] = {"<f2": np.dtype("<f2"), "<f4": np.dtype("<f4"), "<f8": np.dtype("<f8")}
_NPY_HEADER = re.compile(
    rb"\{\s*'descr':\s*'(?P<descr>[^']{1,16})',\s*'fortran_order':\s*(?:True|False),\s*'shape':\s*\((?P<size>\d{1,9}),\s*\),?\s*\}\s*"
)


def text(value: object, what: str, limits: Limits) -> str:
    """A string, or UTF-8 bytes; never one that could not be written out again."""
    if value is None:
        raise UnreadableError(f"{what} is null")
    if isinstance(value, bytes):
        if len(value) > 4 * limits.text_chars:
            raise UnreadableError(f"{what} has {len(value)} bytes, more than the limit of {limits.text_chars} characters")
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableError(f"{what} is not UTF-8 (byte {error.start})") from None
    if not isinstance(value, str):
        raise UnreadableError(f"{what} is of type {type(value).__name__}, expected text")
    if len(value) > limits.text_chars:
        raise UnreadableError(f"{what} has {len(value)} characters, limit {limits.text_chars}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UnreadableError(f"{what} is not Unicode text (half a surrogate pair at character {error.start})") from None
    return value


def scalar(value: object, what: str, limits: Limits) -> str:
    """A label or key: text as it is, whole numbers in decimal, truth values as `true` and `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value.bit_length() > 256:
            raise UnreadableError(f"{what} is a number of {value.bit_length()} bits")
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise UnreadableError(f"{what} is null")
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return text(value, what, limits)


def target(value: object, what: str, limits: Limits) -> str:
    """A label or response; an empty one counts as missing."""
    told = scalar(value, what, limits)
    if not told.strip():
        raise UnreadableError(f"{what} is empty")
    return told


def joined(values: Sequence[object], names: Sequence[str], limits: Limits, required: int = 0) -> str:
    """The content out of one or several columns; of several, those that are null or empty are left out, not the required one."""
    if len(values) == 1:
        return text(values[0], names[0], limits)
    parts = [None if value is None else text(value, name, limits) for value, name in zip(values, names, strict=True)]
    if parts[required] is None:
        raise UnreadableError(f"{names[required]} is null")
    return text(SEPARATOR.join(p for i, p in enumerate(parts) if p is not None and (p or i == required)), "+".join(names), limits)


def image(value: Any, what: str, limits: Limits) -> bytes:
    """Encoded image bytes, plain or as the struct `{bytes, path}`; a path is never followed."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            raise UnreadableError(f"{what} only names a file elsewhere, which is not followed")
        value = value.get("bytes")
    if value is None:
        raise UnreadableError(f"{what} is null")
    if not isinstance(value, bytes):
        raise UnreadableError(f"{what} is of type {type(value).__name__}, expected bytes")
    if not value:
        raise UnreadableError(f"{what} is empty")
    if len(value) > limits.content_bytes:
        raise UnreadableError(f"{what} has {len(value)} bytes, limit {limits.content_bytes}")
    return value


def vector(value: Any, what: str, limits: Limits) -> NDArray[np.float32]:
    """A finite float32 vector of shape (d,) out of a list of numbers, or the bytes of an .npy file."""
    if isinstance(value, bytes):
        found = _npy(value, what)
    elif isinstance(value, list | np.ndarray) and len(value):
        if isinstance(value, list) and any(type(x) not in (int, float) for x in value):
            raise UnreadableError(f"{what} has components that are no numbers")
        try:
            found = np.asarray(value, dtype=np.float64)
        except (ValueError, OverflowError, TypeError):
            raise UnreadableError(f"{what} is no list of numbers") from None
    else:
        raise UnreadableError(f"{what} is {'null' if value is None else 'empty or no list of numbers'}")
    if found.ndim != 1 or not 0 < len(found) <= limits.vector_size:
        raise UnreadableError(f"{what} has shape {found.shape}, expected 1 to {limits.vector_size} numbers")
    with np.errstate(over="ignore"):
        narrow = found.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise UnreadableError(f"{what} has components that are not finite")
    return narrow


def _npy(raw: bytes, what: str) -> NDArray[np.floating]:
    """The array of an .npy file, without numpy's loader: little-endian floats in one dimension only, so nothing can be pickled."""
    if raw[:6] != b"\x93NUMPY" or len(raw) < 12 or raw[6] not in (1, 2, 3):
        raise UnreadableError(f"{what} is no .npy file")
    start = 10 if raw[6] == 1 else 12
    header_size = int.from_bytes(raw[8:start], "little")
    header = _NPY_HEADER.fullmatch(raw[start : start + header_size]) if header_size <= 4096 else None
    dtype = _NPY_DTYPES.get(header["descr"].decode("ascii", "replace")) if header else None
    if header is None or dtype is None:
        raise UnreadableError(f"{what} is not a one-dimensional .npy of little-endian floats")
    body, size = raw[start + header_size :], int(header["size"])
    if len(body) != size * dtype.itemsize:
        raise UnreadableError(f"{what} promises {size} numbers and holds {len(body)} bytes")
    found: NDArray[np.floating] = np.frombuffer(body, dtype=dtype)
    return found


def record(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object; numbers, nesting and encoding that Python refuses are `UnreadableError`, like any other damage."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{what} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UnreadableError(f"{what} is not JSON ({error.msg}, character {error.pos})") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{what} is JSON beyond sense ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise UnreadableError(f"{what} is a JSON {type(value).__name__}, expected an object")
    return value


class Keys:
    """The keys met so far in one shard; a repeated one gets `~2`.

    Keeps 64 bits a key (about 100 bytes of memory), so a shard of a million samples costs 100 MB.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._counts: dict[int, int] = {}

    def admit(self, key: str) -> tuple[str, dict[str, str]]:
        """The key to use, and the metadata that tells of a repetition."""
        first = hash(key)
        if first not in self._seen:
            self._seen.add(first)
            return key, {}
        number = self._counts.get(first, 1) + 1
        while hash(f"{key}~{number}") in self._seen:
            number += 1
        self._counts[first] = number
        self._seen.add(hash(f"{key}~{number}"))
        return f"{key}~{number}", {"repeated_key": key}

    def admit_all(self, keys: Sequence[str]) -> bool:
        """Whether none of the keys was met before, in which case all of them have been now; else none has."""
        found = set(map(hash, keys))
        if len(found) < len(keys) or not self._seen.isdisjoint(found):
            return False
        self._seen |= found
        return True


def checked_key(key: str, limits: Limits) -> str:
    """The key, if it can serve as one."""
    if len(key) > limits.key_chars:
        raise UnreadableError(f"a key of {len(key)} characters, limit {limits.key_chars}")
    return text(key, "key", limits)


def same_size(found: NDArray[np.float32], size: int, what: str) -> int:
    """The number of components that every vector of a shard must have; the first one (size 0) sets it."""
    if size and len(found) != size:
        raise UnreadableError(f"{what} has {len(found)} numbers, the shard's others have {size}")
    return len(found)
