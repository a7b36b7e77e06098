"""Stage two: every shard is read once and becomes a feature table; a finished shard is never read again."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit import sources
from dataaudit.discovery import recipe, source_digest
from dataaudit.engine import Engine, Lost
from dataaudit.features import Feature
from dataaudit.features.decode import decode
from dataaudit.features.encoders.attestation import attest_here
from dataaudit.features.table import available, tabulate
from dataaudit.model import Plan, Progress, Sample, Shard, Skipped, fingerprint, keyed_hash
from dataaudit.sources import Digest
from dataaudit.stages import Watch, unwatched
from dataaudit.store.cache import Cache
from dataaudit.store.records import atomic, write_json

BATCH_SAMPLES = 128
BATCH_BYTES = 16 << 20
SKIPS = 1000
READINGS = 2
BUDGET = "budget"
"""The stage that a shard is skipped in for want of time."""
REPEATED = re.compile(r"~[0-9]+$")


@dataclass(frozen=True)
class Extracted:
    """A finished shard: where its features are (relative to the cache), and what could not be read of it.

    `skipped` holds at most 1,000 of the `lost` samples, and whatever concerns the whole shard; `repeated` at most 100 keys.
    """

    shard: Shard
    features: str
    rows: int
    skipped: tuple[Skipped, ...]
    repeated: tuple[str, ...] = ()
    lost: int = 0

    @property
    def table(self) -> str:
        """What states and scores of this shard are stored under: its digest, or a name used once where it was not read to its end."""
        return Path(self.features).stem


def feature_recipe(plan: Plan) -> str:
    """What features depend on beside the shard's bytes."""
    units = [recipe(feature) for feature in available(plan.modality).values()]
    return fingerprint(plan.without_proxy, source_digest("dataaudit.sources"), source_digest("dataaudit.features"), *units)


def extract(
    shards: Sequence[Shard], plan: Plan, cache: Cache, engine: Engine, watch: Watch = unwatched, until: float | None = None
) -> list[Extracted]:
    """The features of every shard, in shard order; a shard that killed its workers has none and says so.

    After the time `until` (seconds since the epoch) no shard is begun.  Then a few of all shards were read, in an order that nobody outside
    can foretell, so that nothing is out of reach by its name.
    """
    kept = feature_recipe(plan)
    key = plan.key("order of shards")
    done: dict[str, Extracted] = {}
    samples, skipped, size, of_size = 0, 0, 0, sum(s.size for s in shards)
    todo: Iterable[Shard] = shards
    if until is not None:
        known = {s.name: cache.marker(s, kept).exists() for s in shards}
        ordered = sorted(shards, key=lambda s: (not known[s.name], keyed_hash(s.name, key)))
        todo = (s for s in ordered if known[s.name] or time.time() < until)
    for shard, result in engine.map(partial(extract_shard, plan=plan, cache=cache, kept=kept, until=until), todo):
        done[shard.name] = found = result if not isinstance(result, Lost) else _not_run(shard, result)
        samples, size = samples + found.rows, size + shard.size
        skipped += found.lost + any(s.subject == shard.name for s in found.skipped)
        watch(Progress("extract", len(done), len(shards), samples, skipped, size, of_size))
    return [done[shard.name] if shard.name in done else _unreached(shard) for shard in shards]


def _unreached(shard: Shard) -> Extracted:
    return Extracted(shard, "", 0, (Skipped(shard.name, BUDGET, "not reached within the time budget; the same command goes on from here"),))


def _not_run(shard: Shard, lost: Lost) -> Extracted:
    return Extracted(shard, "", 0, (Skipped(shard.name, "extract", f"not run: {lost.reason}"),))


def extract_shard(shard: Shard, plan: Plan, cache: Cache, kept: str, until: float | None = None) -> Extracted:
    """Read one shard, write its feature table, and then the marker that says it is finished; one that waited too long is not begun.

    A shard that changes while it is read is read once more, as it is then; if it still changes, nothing of it is used.
    """
    marker = cache.marker(shard, kept)
    if marker.exists():
        return _read_marker(marker, shard)
    if until is not None and time.time() >= until:
        return _unreached(shard)
    attest_here(plan, cache.encoders)
    for _ in range(READINGS):
        found = _extract_once(shard, plan, cache, kept)
        if found is not None:
            return found
        shard = sources.current(shard)
    return Extracted(
        shard, "", 0, (Skipped(shard.name, "extract", f"it changed while it was read, {READINGS} times; nothing of it is used"),)
    )


def _extract_once(shard: Shard, plan: Plan, cache: Cache, kept: str) -> Extracted | None:
    """The finished shard; None where it changed."""
    features = available(plan.modality)
    temporary = cache.scratch(kept)
    skipped: list[Skipped] = []
    repeated: list[str] = []
    digest, rows, lost = Digest("", 0), 0, 0
    with atomic(temporary) as out:
        writer: pq.ParquetWriter | None = None
        for piece in _pieces(shard, plan, features):
            if isinstance(piece, Digest):
                digest = piece
            elif isinstance(piece, Skipped):
                lost += piece.subject != shard.name
                if piece.subject == shard.name or lost <= SKIPS:
                    skipped.append(piece)
            else:
                writer = writer or pq.ParquetWriter(out, piece.schema, compression="zstd")
                writer.write_table(piece)
                repeated += [k for k in piece.column("key").to_pylist() if REPEATED.search(k)][: 100 - len(repeated)]
                rows += piece.num_rows
        if writer is not None:
            writer.close()
    path = cache.features(kept, digest.sha256 or f"partial-{secrets.token_hex(16)}")
    if rows and not digest.changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    else:
        temporary.unlink()
    if digest.changed:
        return None
    read = replace(shard, digest=digest.sha256)
    found = Extracted(read, str(path.relative_to(cache.root)) if rows else "", rows, tuple(skipped), tuple(repeated), lost)
    if digest.sha256:
        # What was not read to its end may be readable next time.
        # Not the shard's address, which may be signed: the marker's name tells whose it is.
        write_json(cache.marker(shard, kept), asdict(found) | {"shard": read.digest})
    return found


def _read_marker(path: Path, shard: Shard) -> Extracted:
    stored = json.loads(path.read_text())
    return Extracted(
        replace(shard, digest=stored["shard"]),
        stored["features"],
        stored["rows"],
        tuple(Skipped(**s) for s in stored["skipped"]),
        tuple(stored["repeated"]),
        stored["lost"],
    )


def _pieces(shard: Shard, plan: Plan, features: dict[str, Feature]) -> Iterator[pa.Table | Skipped | Digest]:
    """The shard as feature tables of bounded batches, what was skipped between them, and its digest."""
    for item in _batches(sources.read(shard, plan.columns)):
        if not isinstance(item, list):
            yield item
            continue
        batch, undecodable = decode(item, plan)
        yield from undecodable
        if batch.samples:
            yield tabulate(batch, features)


def _batches(items: Iterable[Sample | Skipped | Digest]) -> Iterator[list[Sample] | Skipped | Digest]:
    """Group samples until there are enough of them, or of their bytes."""
    batch: list[Sample] = []
    size = 0
    for item in items:
        if not isinstance(item, Sample):
            yield item
            continue
        batch.append(item)
        size += len(item.content or b"")
        if len(batch) >= BATCH_SAMPLES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
