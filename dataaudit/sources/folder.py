"""Image folders: `class/name.jpg`, where the label is the first directory below the source.

A shard is a class directory, or a part of one: `cat#2of4` holds the files whose name hashes into the
second of four parts of about a thousand, so that a new file changes one part only.  `flat` stands for
images that lie in the source itself and have no label.  A sample's key is the path of its file below
the class directory; it is looked up in a listing, never used as a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from dataaudit.errors import SourceError
from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import paths, values
from dataaudit.sources.contract import Digest, Field, Limits, UnreadableError, skipped_sample, skipped_shard

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
LABEL = "directory"
CONTENT = "image"
FILES_PER_SHARD = 1000
_PART = re.compile(r"#(?P<flat>flat-)?(?P<part>\d{1,6})of(?P<parts>\d{1,6})$")


class _Place(NamedTuple):
    directory: str
    flat: bool
    part: int
    parts: int


def is_image(name: str) -> bool:
    """By suffix."""
    return name.lower().endswith(SUFFIXES)


def shards(files: Sequence[paths.Found], root: str, separator: str = "/") -> Iterator[Shard]:
    """The shards of an image folder at `root` (a URI), from all its files; those with a problem are left out."""
    classes: dict[str, list[paths.Found]] = {}
    for file in files:
        if is_image(file.name) and not file.problem:
            first, slash, _ = file.name.partition("/")
            classes.setdefault(first if slash else "", []).append(file)
    for name, members in sorted(classes.items()):
        parts = 1
        while len(members) > parts * FILES_PER_SHARD:
            parts *= 2
        for part in range(parts):
            own = [f for f in members if _part_of(f.name.removeprefix(f"{name}/"), parts) == part]
            if own:
                yield _shard(root.rstrip("/") + separator + name if name else root, name, part, parts, own)


def _shard(directory: str, name: str, part: int, parts: int, files: Sequence[paths.Found]) -> Shard:
    flat = "" if name else "flat-"
    told = hashlib.sha256("\0".join(f"{f.name}\0{f.etag}" for f in files).encode("utf-8", "replace")).hexdigest()[:32]
    shown_name = (name or "flat") + (f"/{part + 1}of{parts}" if parts > 1 else "")
    return Shard(f"{directory}#{flat}{part + 1}of{parts}", shown_name, "folder", sum(f.size for f in files), told)


def read(shard: Shard, columns: Columns, limits: Limits) -> Generator[Sample | Skipped, None, Digest]:
    """All images; the digest is over the label, which is the directory's name, and the sorted names and SHA-256 of the files."""
    whole, size = hashlib.sha256(), 0
    place = _place(shard)
    try:
        files = _files(place)
    except (OSError, SourceError) as error:
        yield skipped_shard(shard, f"cannot be listed ({error})")
        files = []
    whole.update(f"{'' if place.flat else _directory_name(place)}\n".encode("utf-8", "surrogateescape"))
    for number, file in enumerate(files):
        key = _key(file)
        if file.problem:
            yield skipped_sample(shard, key, file.problem)
            continue
        try:
            body, digest = _bytes(file, limits)
            size += file.size
            whole.update(f"{key}\0{digest}\n".encode())
            yield Sample(
                f"{shard.name}#{key}",
                values.checked_key(key, limits),
                values.image(body, "it", limits),
                _label(place, columns),
                number,
                file.size,
            )
        except (OSError, UnreadableError) as error:
            yield skipped_sample(shard, key, str(error))
    return Digest(whole.hexdigest(), size)


def fetch(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample | Skipped]:
    """Open the files that are listed under these keys."""
    place = _place(shard)
    there = {_key(file): (number, file) for number, file in enumerate(_files(place))}
    for key in wanted:
        number, file = there.get(key, (0, None))
        if file is None or file.problem:
            yield skipped_sample(shard, key, file.problem if file else "there is no such file any more")
            continue
        try:
            content = values.image(_bytes(file, limits)[0], "it", limits)
            yield Sample(f"{shard.name}#{key}", key, content, _label(place, columns), number, file.size)
        except (OSError, UnreadableError) as error:
            yield skipped_sample(shard, key, str(error))


def peek(shard: Shard, limits: Limits) -> Mapping[str, Field]:  # noqa: ARG001  (the Protocol's)
    """An image folder always shows the same two fields; without class directories there is no label."""
    place = _place(shard)
    found = paths.listing(place.directory).files
    if not any(is_image(file.name) and not file.problem for file in found):
        raise UnreadableError("there are no images in it")
    labelled = not place.flat or any(is_image(file.name) and "/" in file.name for file in found)
    return {CONTENT: Field("bytes"), **({LABEL: Field("text")} if labelled else {})}


def _bytes(file: paths.Found, limits: Limits) -> tuple[bytes, str]:
    """The file, cut one byte beyond the limit, and the SHA-256 of all of it."""
    digest = hashlib.sha256()
    with paths.open_raw(file.uri) as raw:
        body = raw.read(limits.content_bytes + 1)
        digest.update(body)
        while chunk := raw.read(1 << 20):
            digest.update(chunk)
    return body, digest.hexdigest()


def _place(shard: Shard) -> _Place:
    found = _PART.search(shard.uri)
    if found is None:
        return _Place(shard.uri, flat=False, part=0, parts=1)
    return _Place(shard.uri[: found.start()], bool(found["flat"]), int(found["part"]) - 1, max(1, int(found["parts"])))


def _files(place: _Place) -> list[paths.Found]:
    """The images of a shard, sorted by name."""
    files = [f for f in paths.listing(place.directory).files if is_image(f.name) and not (place.flat and "/" in f.name)]
    return [f for f in files if _part_of(f.name, place.parts) == place.part]


def _key(file: paths.Found) -> str:
    return file.name


def _part_of(name: str, parts: int) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big") % parts


def _label(place: _Place, columns: Columns) -> str | None:
    if columns.target != LABEL:
        return None
    if place.flat:
        raise UnreadableError("it lies in no class directory, so it has no label")
    return _directory_name(place)


def _directory_name(place: _Place) -> str:
    return place.directory.rstrip("/").rpartition("/")[2]
