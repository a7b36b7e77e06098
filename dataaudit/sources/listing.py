"""Which shards a list of sources holds, named so that any two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from dataaudit.errors import SourceError
from dataaudit.model import Shard, Skipped
from dataaudit.sources import folder, paths
from dataaudit.sources.contract import STAGE, Inventory, shown

FORMATS: dict[str, Literal["tar", "parquet", "jsonl"]] = {
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.zst": "tar",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".ndjson.zst": "jsonl",
}
UNSUPPORTED = (
    ".csv", ".tsv", ".arrow", ".feather", ".tfrecord", ".tfrecords", ".pkl", ".pickle", ".npz", ".zip", ".h5", ".hdf5", ".mdb", ".lmdb",
    ".7z", ".rar", ".tar.bz2", ".tar.xz", ".csv.gz", ".parquet.gz", ".json.gz", ".orc", ".avro", ".pt", ".beton",
)  # fmt: skip
"""Suffixes of files that hold training data, but not in a format that is read here."""


def inventory(sources: Sequence[str]) -> Inventory:
    """The shards of all sources, sorted by name; the same file reached twice counts once."""
    if not sources:
        raise SourceError("no source was named; give a path, a glob or a URL")
    found: list[tuple[str, list[Shard]]] = []
    skipped: list[Skipped] = []
    for source in sorted(set(sources)):
        listing = paths.listing(source)
        shards = list(_shards(listing))
        unread = list(_unread(listing, images_too=not any(s.format == "folder" for s in shards)))
        if not shards and not any(f.problem for f in listing.files):
            raise SourceError(_nothing(source, listing))
        found.append((listing.label, shards))
        skipped += unread
    shards = sorted(_distinct(found), key=lambda shard: shard.name)
    if not shards:
        raise SourceError(f"{', '.join(sources)}: nothing that may be read: {skipped[0].subject} {skipped[0].reason}")
    return Inventory(tuple(shards), tuple(skipped))


def format_of(name: str) -> Literal["tar", "parquet", "jsonl"] | None:
    """By suffix, upper case or lower."""
    lower = name.lower()
    return next((kind for suffix, kind in FORMATS.items() if lower.endswith(suffix)), None)


def _shards(listing: paths.Listing) -> Iterator[Shard]:
    good = [f for f in listing.files if not f.problem]
    files = [Shard(f.uri, f.name, kind, f.size, f.etag) for f in good if (kind := format_of(f.name))]
    yield from files or folder.shards(good, listing.root)


def _unread(listing: paths.Listing, *, images_too: bool) -> Iterator[Skipped]:
    """What lies in a source and looks like data, but is not read."""
    for file in listing.files:
        relevant = format_of(file.name) or folder.is_image(file.name) or "directory" in file.problem
        if file.problem and relevant:
            yield Skipped(file.name, STAGE, file.problem)
        elif file.name.lower().endswith(UNSUPPORTED):
            yield Skipped(file.name, STAGE, "is of a format that is not read; convert it to Parquet, JSON Lines or webdataset tar")
    images = [f.name for f in listing.files if folder.is_image(f.name) and not f.problem]
    if images and images_too:
        yield Skipped(
            images[0], STAGE, f"{len(images)} image files that lie beside shards are not read; name their directory as a source of its own"
        )


def _distinct(found: Sequence[tuple[str, list[Shard]]]) -> Iterator[Shard]:
    """Names made unique: sources that share a name with another one are prefixed with the source's label."""
    seen: set[str] = set()
    once = [(label, [s for s in shards if not (s.uri in seen or seen.add(s.uri))]) for label, shards in found]  # type: ignore[func-returns-value]
    counts = Counter(shard.name for _, shards in once for shard in shards)
    labels: Counter[str] = Counter()
    for label, shards in once:
        if not any(counts[shard.name] > 1 for shard in shards):
            yield from shards
            continue
        labels[label] += 1
        prefix = label if labels[label] == 1 else f"{label}~{labels[label]}"
        yield from (replace(shard, name=f"{prefix}/{shard.name}") for shard in shards)


def _nothing(source: str, listing: paths.Listing) -> str:
    there = ", ".join(shown(f.name, 40) for f in listing.files[:8]) or "nothing"
    more = f" and {len(listing.files) - 8} more" if len(listing.files) > 8 else ""
    return (
        f"{source}: nothing to audit; looked for {', '.join(FORMATS)} or images ({', '.join(folder.SUFFIXES)}), and there is {there}{more}"
    )
