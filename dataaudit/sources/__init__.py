"""Sources: shards are listed, looked at and read as streams of samples; nothing in them is executed, unpickled or written.

    inventory(["data/*.tar"])            -> Inventory(shards, skipped)
    detect(shard, Columns(None))         -> (modality, columns, kind of target)
    read(shard, columns)                 -> Sample | Skipped ..., then the shard's Digest
    fetch(shard, columns, {key: place})  -> Sample | Skipped, a second look at some

What cannot be read is a `Skipped` value that names place and cause; a broken file never raises out of
`read` or `fetch`.  One module a format: `tar`, `parquet`, `jsonl`, `folder`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dataaudit.errors import SourceError
from dataaudit.model import Columns, Modality, Sample, Shard, Skipped, TargetKind
from dataaudit.sources.contract import Digest, Format, Inventory, Limits, skipped_sample

if TYPE_CHECKING:
    from typing import cast

__all__ = ["Digest", "Inventory", "Limits", "current", "detect", "fetch", "inventory", "read"]


def inventory(sources: Sequence[str]) -> Inventory:
    """The shards of all sources as one data set; `SourceError` where a source is missing or holds nothing to audit."""
    from dataaudit.sources import listing

    return listing.inventory(sources)


def detect(shard: Shard, wanted: Columns) -> tuple[Modality, Columns, TargetKind]:
    """What the shard is made of, by the usual names and its first samples.

    What was wanted wins; `ConfigurationError` where it is not there or nothing is recognised,
    `SourceError` where this shard cannot be looked at (another one may do).
    """
    from dataaudit.sources import detection

    try:
        known = detection.looked_at(shard, _format(shard).peek(shard, Limits()))
    except (OSError, SourceError) as error:
        raise SourceError(f"{shard.name}: cannot be looked at: {error}") from error
    return detection.decide(shard, known, wanted)


def read(shard: Shard, columns: Columns, limits: Limits | None = None) -> Iterator[Sample | Skipped | Digest]:
    """Stream a shard's samples in bounded memory; the last item is the digest of its bytes (empty where they could not be read).

    A shard that is no longer what `shard` says is read all the same, and its digest says that it has `changed`.
    """
    digest = yield from _format(shard).read(shard, columns, limits or Limits())
    yield replace(digest, changed=_changed(shard))


def current(shard: Shard) -> Shard:
    """The shard with size and etag as they are now, where they can be told."""
    from dataaudit.sources import paths

    if shard.format == "folder" or not shard.etag:
        return shard
    try:
        size, etag = paths.state(shard.uri)
    except (OSError, SourceError):
        return shard
    return replace(shard, size=size, etag=etag)


def fetch(
    shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits | None = None
) -> Iterator[Sample | Skipped]:
    """A second look at samples by key -> (offset, length); a shard that changed since it was listed is not looked at."""
    from dataaudit.sources.streams import compression_of

    limits = limits or Limits()
    missing = dict(wanted)
    problem = "it is not there any more"
    try:
        if _changed(shard):
            problem = "the shard has changed since it was listed"
        elif shard.format in {"tar", "jsonl"} and compression_of(shard.uri.partition("?")[0]):
            for item in _refind(shard, columns, wanted, limits):
                missing.pop(item.key)
                yield item
        else:
            for found in _format(shard).fetch(shard, columns, wanted, limits):
                missing.pop(found.key if isinstance(found, Sample) else found.subject.removeprefix(f"{shard.name}#"), None)
                yield found
    except (OSError, SourceError) as error:
        problem = f"the shard cannot be read again ({error})"
    yield from (skipped_sample(shard, key, problem) for key in missing)


def _changed(shard: Shard) -> bool:
    return current(shard) != shard


def _refind(shard: Shard, columns: Columns, wanted: Mapping[str, tuple[int, int]], limits: Limits) -> Iterator[Sample]:
    """Read a compressed shard again until all samples wanted have passed."""
    left = set(wanted)
    for item in _format(shard).read(shard, columns, limits):
        if not left:
            return
        if isinstance(item, Sample) and item.key in left:
            left.discard(item.key)
            yield item


def _format(shard: Shard) -> Format:
    """The module of a format, imported when it is needed (pyarrow is heavy)."""
    module = importlib.import_module(f"dataaudit.sources.{shard.format}")
    return cast("Format", module) if TYPE_CHECKING else module
