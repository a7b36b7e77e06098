"""Where sources lie: local paths directly, everything else through fsspec.

Names met while listing are data.  They are joined to the directory that was listed and never parsed as
URLs again, links that leave the source and devices are not followed, hidden files are passed over.
"""

from __future__ import annotations

import glob as globbing
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dataaudit.errors import SourceError
from dataaudit.sources import remote

_ETAGS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "sha256", "LastModified", "last_modified", "mtime", "created")


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file below a source: `name` relative to it with `/` separators; `problem` says why it must not be opened."""

    uri: str
    name: str
    size: int
    etag: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds; `root` is the directory that the names are relative to, `label` tells it from other sources."""

    root: str
    label: str
    files: tuple[Found, ...]


def listing(source: str) -> Listing:
    """All visible files of a path, glob, directory or URL; `SourceError` where there is nothing."""
    try:
        found = _local(source) if is_local(source) else remote.patiently(lambda: _remote(source))
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(f"{remote.shown(source)}: cannot be listed ({error}); check the address and the access to it") from error
    return Listing(found.root, found.label, tuple(sorted(found.files, key=lambda f: f.name)))


def is_local(uri: str) -> bool:
    """Whether a path of this machine is meant."""
    return uri.startswith("file://") or "://" not in uri


def local_path(uri: str) -> Path:
    """The path of a local URI."""
    return Path(uri.removeprefix("file://"))


def open_raw(uri: str) -> IO[bytes]:
    """Open for reading; raises `OSError` where there is no regular file any more."""
    if is_local(uri):
        file = os.open(local_path(uri), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(f"{uri} is not a regular file")
        return os.fdopen(file, "rb")
    return remote.open_object(uri)


def state(uri: str) -> tuple[int, str]:
    """Size and etag as they are now; raises `OSError`."""
    if is_local(uri):
        status = local_path(uri).stat()
        return status.st_size, _local_etag(status)
    filesystem, path = remote.filesystem(uri)
    filesystem.invalidate_cache(path.rpartition("/")[0])
    info = remote.patiently(lambda: filesystem.info(path))
    return int(info.get("size") or 0), _etag(info)


def _local(source: str) -> Listing:
    path = local_path(source)
    if path.is_dir():
        root = path.resolve()
        return Listing(str(root), root.name, tuple(_walk(root)))
    if path.exists():
        whole = path.absolute()
        return Listing(str(whole.parent), whole.parent.name, (_inspect(whole, whole.name, None),))
    if not globbing.has_magic(str(path)):
        raise SourceError(f"{source}: no such file or directory")
    return _local_glob(source, path)


def _local_glob(source: str, pattern: Path) -> Listing:
    parts = pattern.absolute().parts
    fixed = next(i for i, part in enumerate(parts) if globbing.has_magic(part))
    base = Path(*parts[:fixed])
    found = sorted(base.glob("/".join(parts[fixed:]))) if base.is_dir() else []
    matches = [match for match in found if not any(part.startswith(".") for part in match.relative_to(base).parts)]
    if not matches:
        raise SourceError(f"{source}: nothing matches this pattern; {describe_directory(base)}")
    root = base.resolve()
    files = {}
    for match in matches:
        below = [match] if not match.is_dir() else [match / found.name for found in _walk(match)]
        for path in below:
            name = path.relative_to(base).as_posix()
            files[name] = _inspect(root / name, name, root)
    return Listing(str(root), root.name, tuple(files.values()))


def describe_directory(path: Path) -> str:
    """What lies in a directory, for a message."""
    if not path.is_dir():
        return f"{path} is no directory"
    names = sorted(entry.name for entry in path.iterdir())
    return f"{path} holds " + (", ".join(map(ascii, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing")


def _walk(root: Path) -> Iterator[Found]:
    for directory, directories, names in os.walk(root, followlinks=False):
        here = Path(directory)
        for name in [d for d in directories if (here / d).is_symlink() and not d.startswith(".")]:
            link = here / name
            if not link.resolve().is_relative_to(root.resolve()):
                yield Found(
                    str(link), link.relative_to(root).as_posix(), 0, "", "is a link to a directory outside the source, not followed"
                )
        directories[:] = sorted(d for d in directories if not d.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                path = here / name
                yield _inspect(path, path.relative_to(root).as_posix(), root)


def _inspect(path: Path, name: str, root: Path | None) -> Found:
    """A local entry; `root` is the directory that links must not leave (None: the user named this very file)."""
    problem = ""
    try:
        status = path.stat()
    except OSError as error:
        return Found(str(path), _printable(name), 0, "", f"cannot be looked at ({error.strerror})")
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif root is not None and not path.resolve().is_relative_to(root.resolve()):
        problem = "is a link to a file outside the source, not followed"
    elif _printable(name) != name:
        problem = "has a name that is not UTF-8"
    return Found(str(path), _printable(name), status.st_size, _local_etag(status), problem)


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _local_etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


def _remote(source: str) -> Listing:
    filesystem, path = remote.filesystem(source)
    if globbing.has_magic(path) and not filesystem.isdir(path) and not source.startswith(("http://", "https://")):
        entries = filesystem.glob(path, detail=True)
        fixed = path[: next(i for i, c in enumerate(path) if c in "*?[")]
        root = fixed.rpartition("/")[0]
    elif filesystem.isdir(path) and not (source.startswith(("http://", "https://")) and filesystem.isfile(path) and _has_suffix(path)):
        entries, root = filesystem.find(path, detail=True), path.rstrip("/")
    elif filesystem.exists(path):
        entries, root = {path: filesystem.info(path)}, path.rpartition("/")[0]
    else:
        raise SourceError(f"{remote.shown(source)}: no such file or directory")
    files = [_remote_entry(filesystem, found, root, info) for found, info in entries.items() if info.get("type") != "directory"]
    visible = tuple(f for f in files if not any(part.startswith(".") and part not in {".", ".."} for part in f.name.split("/")))
    return Listing(filesystem.unstrip_protocol(root), root.rpartition("/")[2], visible)


def _has_suffix(path: str) -> bool:
    return "." in path.partition("?")[0].rpartition("/")[2]


def _remote_entry(filesystem: Any, path: str, root: str, info: Mapping[str, Any]) -> Found:
    name = path.removeprefix(root).lstrip("/").partition("?")[0]
    uri = filesystem.unstrip_protocol(path)
    problem = ""
    if "::" in path or ".." in name.split("/"):
        problem = "has a name that could lead elsewhere, not followed"
    elif info.get("type") == "link" or info.get("islink"):
        problem = "is a link, not followed"
    if not any(info.get(key) for key in _ETAGS):
        info = filesystem.info(path)  # some listings, of web servers for one, tell less than asking for the file does
    return Found(uri, name, int(info.get("size") or 0), _etag(info), problem)


def _etag(info: Mapping[str, Any]) -> str:
    told = next((info[key] for key in _ETAGS if info.get(key)), "")
    known = str(told.timestamp() if isinstance(told, datetime) else told).strip('"')
    return f"{known}-{info.get('size') or 0}"
