"""The audit as a Prefect flow: one task a stage, shards in batches on the Dask workers.

    python -m flows.audit SOURCE... --out DIR                    run once
    prefect deployment / serve                                   schedule it (see docs/flows.md)

Features, states and views are kept by content, so a retried task or a re-run flow does nothing twice.
Prefect never caches for us and stores no pickles: tasks hand on names of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flows  # noqa: F401 - switches analytics off before Prefect is imported
from prefect import flow, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect_dask import DaskTaskRunner

from dataaudit.audit import Audit
from dataaudit.engine import Serial
from dataaudit.engine.distributed import connect, local
from dataaudit.model import Plan, Settings, Shard
from dataaudit.reports.markdown import summary as markdown_summary
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.detect import Detected
from dataaudit.stages.extract import Extracted, extract
from dataaudit.store.cache import Cache
from dataaudit.store.directory import AuditDirectory

RETRY = {"retries": 2, "retry_delay_seconds": 2, "cache_policy": NO_CACHE, "persist_result": False}
BATCHES_PER_WORKER = 4


@task(name="inventory", **RETRY)
def inventory(sources: Sequence[str], out: Path, settings: Settings) -> Audit:
    """List the shards and decide what is being audited."""
    return Audit.begin(sources, out, settings)


@task(name="extract", task_run_name="extract-{first}", **RETRY)
def extract_batch(batch: Sequence[Shard], first: str, plan: Plan, cache: Cache) -> int:
    """The features of a batch of shards, on the Dask worker that runs this task; returns the number of samples."""
    return sum(e.rows for e in extract(batch, plan, cache, Serial()))


@task(name="aggregate", **RETRY)
def aggregate(audit: Audit, shards: Sequence[Extracted], address: str, watch: Watch) -> dict[str, str]:
    """Facts about the whole data set."""
    with connect(address) as engine:
        return audit.views(shards, engine, watch)


@task(name="detect", **RETRY)
def detect(audit: Audit, shards: Sequence[Extracted], views: dict[str, str], address: str, watch: Watch) -> Detected:
    """Every detector's scores and findings."""
    with connect(address) as engine:
        return audit.detected(shards, views, engine, watch)


@task(name="judge", **RETRY)
def judge(audit: Audit, shards: Sequence[Extracted], views: dict[str, str], detected: Detected, address: str, watch: Watch) -> AuditDirectory:
    """Risk, verdict, evidence and report."""
    with connect(address) as engine:
        return audit.judged(shards, views, detected, engine, watch)


def batches(shards: Sequence[Shard], count: int) -> list[list[Shard]]:
    """Shards dealt into at most `count` batches of about equal bytes, largest first."""
    dealt: list[list[Shard]] = [[] for _ in range(max(1, min(count, len(shards))))]
    for shard in sorted(shards, key=lambda s: (-s.size, s.name)):
        min(dealt, key=lambda b: (sum(s.size for s in b), len(b))).append(shard)
    return [b for b in dealt if b]


@flow(name="dataaudit", result_serializer="json", persist_result=False, log_prints=False)
def stages(sources: Sequence[str], out: Path, settings: Settings, address: str, workers: int, watch: Watch = unwatched) -> str:
    """Audit `sources` into `out` on the Dask scheduler at `address`; returns the directory's path."""
    audit = inventory(sources, out, settings)
    plan, cache = audit.prepared.plan, audit.prepared.cache
    dealt = batches(audit.prepared.shards, workers * BATCHES_PER_WORKER)
    running = extract_batch.map(dealt, [b[0].name for b in dealt], unmapped(plan), unmapped(cache))
    running.result()
    # Every shard has its marker now; this only reads them.
    shards = extract(audit.prepared.shards, plan, cache, Serial(), watch)
    views = aggregate(audit, shards, address, watch)
    detected = detect(audit, shards, views, address, watch)
    written = judge(audit, shards, views, detected, address, watch)
    create_markdown_artifact(markdown_summary(written), key="verdict", description=f"Audit of {', '.join(sources)}"[:200])
    return str(written.path)


def run(sources: Sequence[str], out: Path, settings: Settings | None = None, watch: Watch = unwatched) -> AuditDirectory:
    """Run the flow on the scheduler that the settings name, or on workers of its own."""
    settings = settings or Settings()
    with connect(settings.scheduler) if settings.scheduler else local(settings.workers) as engine:
        placed = stages.with_options(task_runner=DaskTaskRunner(address=engine.address))
        return AuditDirectory(Path(placed(list(sources), out, settings, engine.address, engine.workers, watch)))
