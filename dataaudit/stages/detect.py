"""Stage four: every detector scores every sample, shard by shard, and then says what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataaudit.detectors import Detector
from dataaudit.discovery import configured, recipe, units
from dataaudit.engine import Engine, results
from dataaudit.errors import ConfigurationError, EngineError
from dataaudit.model import Finding, Plan, Progress, Settings, Skipped, fingerprint
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.aggregate import load_views, read_batches
from dataaudit.stages.extract import Extracted
from dataaudit.store.cache import Cache
from dataaudit.store.records import atomic

GROUP = "__group"
MARKED = 5_000_000
"""The most rows that one detector may mark; beyond it the finding stage would not be bounded."""


@dataclass(frozen=True)
class Detected:
    """Where each shard's scores are (in shard order, "" for a shard without rows), what was found, and what detectors were blind to."""

    scores: tuple[str, ...]
    findings: tuple[Finding, ...]
    blind: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Said:
    """What one detector found, and what it could not look at."""

    name: str
    findings: tuple[Finding, ...]
    blind: str | None


def choose(plan: Plan, settings: Settings) -> tuple[dict[str, Detector], list[Skipped]]:
    """The detectors that can look at such data, as the user set them, and why the others cannot."""
    known = units("dataaudit.detectors")
    if unknown := set(settings.detectors) - set(known):
        raise ConfigurationError(f"no detector is called {sorted(unknown)[0]!r}; there are {', '.join(known)}")
    chosen: dict[str, Detector] = {}
    idle: list[Skipped] = []
    for name, unit in known.items():
        detector: Detector = configured(f"detectors.{name}", unit, settings.detectors.get(name, {}))
        reason = detector.unavailable(plan)
        if reason is None:
            chosen[name] = detector
        else:
            idle.append(Skipped(name, "detect", reason))
    return chosen, idle


def wanted_views(detectors: Mapping[str, Detector]) -> list[str]:
    """The views that the detectors look at."""
    return sorted({need for d in detectors.values() for need in d.needs})


def detect(
    detectors: Mapping[str, Detector],
    shards: Sequence[Extracted],
    views: Mapping[str, str],
    plan: Plan,
    cache: Cache,
    engine: Engine,
    watch: Watch = unwatched,
) -> Detected:
    """Scores for every shard, then the findings behind the marked rows, in detector order."""
    if not any(e.rows for e in shards):
        return Detected(("",) * len(shards), ())
    kept = fingerprint(
        *(recipe(d, *(views[n] for n in d.needs)) for d in detectors.values()), *(f"{n}={v}" for n, v in sorted(views.items()))
    )
    score = partial(score_shard, detectors=dict(detectors), views=dict(views), plan=plan, cache=cache, kept=kept)
    tables = sorted({(e.table, e.features) for e in shards if e.rows})
    for done, _ in enumerate(results(engine, score, tables), 1):
        watch(Progress("detect", done, len(tables)))
    scores = tuple(str(cache.scores(kept, e.table).relative_to(cache.root)) if e.rows else "" for e in shards)
    look = partial(find, shards=tuple(shards), scores=scores, views=dict(views), plan=plan, cache=cache)
    found = sorted(results(engine, look, list(detectors.items())), key=lambda said: said.name)
    blind = tuple(Skipped(said.name, "detect", f"in part: {said.blind}") for said in found if said.blind)
    return Detected(scores, tuple(f for said in found for f in said.findings), blind)


def score_shard(
    table: tuple[str, str], detectors: Mapping[str, Detector], views: Mapping[str, str], plan: Plan, cache: Cache, kept: str
) -> None:
    """Write one shard's scores: key, target, digest and two columns a detector, `NAME` and `NAME__group`."""
    digest, features = table
    path = cache.scores(kept, digest)
    if path.exists():
        return
    loaded = {name: load_views(d.needs, views, plan, cache) for name, d in detectors.items()}
    with atomic(path) as out:
        writer: pq.ParquetWriter | None = None
        for batch in read_batches(features, ["offset", "length", *(c for d in detectors.values() for c in d.columns)], plan, cache):
            columns = {name: batch.column(name) for name in ("key", "offset", "length", "target", "digest")}
            for name, detector in detectors.items():
                said = detector.score(batch, loaded[name])
                columns[name] = _checked(name, said.score, batch.num_rows)
                columns[name + GROUP] = pa.array(said.group, pa.int32())
            scored = pa.table(columns)
            writer = writer or pq.ParquetWriter(out, scored.schema, compression="zstd")
            writer.write_table(scored)
        if writer is not None:
            writer.close()


def _checked(name: str, score: Any, rows: int) -> pa.Array:
    """A detector that returns nonsense has crashed: it must not pass as 'nothing found'."""
    values = np.asarray(score, np.float32)
    if values.shape != (rows,) or not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) > 1:
        raise ValueError(f"detector {name} scored {values.shape} values for {rows} samples, or some outside [0, 1]")
    return pa.array(values)


def find(
    named: tuple[str, Detector], shards: Sequence[Extracted], scores: Sequence[str], views: Mapping[str, str], plan: Plan, cache: Cache
) -> Said:
    """One detector's findings, from the rows it marked."""
    name, detector = named
    parts: list[pa.Table] = []
    marked = 0
    for shard, path in zip(shards, scores, strict=True):
        if path:
            parts.append(_marked(name, cache.root / path, shard.shard.name))
            marked += parts[-1].num_rows
            if marked > MARKED:
                raise EngineError(f"detector {name} marked more than the {MARKED:,} rows that can be looked at together")
    loaded = load_views(detector.needs, views, plan, cache)
    return Said(name, tuple(detector.findings(pa.concat_tables(parts), loaded)), detector.blind(loaded))


def _marked(name: str, path: Any, shard_name: str) -> pa.Table:
    group = name + GROUP
    rows = pq.read_table(path, columns=["key", "target", "digest", name, group], filters=pc.field(group) >= 0)
    ids = pc.binary_join_element_wise(pa.scalar(shard_name), rows.column("key"), "#")
    return pa.table(
        {
            "sample_id": ids,
            "target": rows.column("target"),
            "digest": rows.column("digest"),
            "score": rows.column(name),
            "group": rows.column(group),
        }
    )
