"""The audit as a Prefect flow: one task a stage, shards in batches on the Dask workers.

    python -m flows.audit SOURCE... --out DIR                    run once
    prefect deployment / serve                                   schedule it (see docs/flows.md)

Features, states and views are kept by content, so a retried task or a re-run flow does nothing twice.
Prefect never caches for us and stores no pickles: tasks hand on names of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect_dask.task_runners import DaskTaskRunner

from dataaudit.audit import Audit, FinishedAudit, announce
from dataaudit.engine import Serial
from dataaudit.engine.distributed import connect, local
from dataaudit.model import Plan, Progress, Settings, Shard
from dataaudit.reports.markdown import summary as markdown_summary
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.detect import Detected
from dataaudit.stages.extract import Extracted, extract
from dataaudit.store.cache import Cache

BATCHES_PER_WORKER = 4


@dataclass(frozen=True)
class Batch:
    """Shards that one task extracts; prints as the first of them."""

    shards: tuple[Shard, ...]

    def __str__(self) -> str:
        return f"{self.shards[0].name} and {len(self.shards) - 1} more"


@task(name="inventory", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def inventory(sources: Sequence[str], out: Path, settings: Settings) -> Audit:
    """List the shards and decide what is being audited."""
    return Audit.begin(sources, out, settings)


@task(name="extract", task_run_name="extract {batch}", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def extract_batch(batch: Batch, plan: Plan, cache: Cache, until: float | None) -> int:
    """The features of a batch of shards, on the Dask worker that runs this task; returns the number of samples."""
    return sum(e.rows for e in extract(batch.shards, plan, cache, Serial(), until=until))


@task(name="fit", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def fit(audit: Audit, shards: Sequence[Extracted], address: str, watch: Watch) -> Audit:
    """The same audit with what a proxy saw, where one is asked for."""
    with connect(address) as engine:
        return audit.fitted(shards, engine, watch)


@task(name="aggregate", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def aggregate(audit: Audit, shards: Sequence[Extracted], address: str, watch: Watch) -> dict[str, str]:
    """Facts about the whole data set."""
    with connect(address) as engine:
        return audit.views(shards, engine, watch)


@task(name="detect", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def detect(audit: Audit, shards: Sequence[Extracted], views: dict[str, str], address: str, watch: Watch) -> Detected:
    """Every detector's scores and findings."""
    with connect(address) as engine:
        return audit.detected(shards, views, engine, watch)


@task(name="judge", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def judge(audit: Audit, shards: Sequence[Extracted], views: dict[str, str], found: Detected, address: str, watch: Watch) -> FinishedAudit:
    """Risk, verdict, evidence and report."""
    with connect(address) as engine:
        return audit.judged(shards, views, found, engine, watch)


class Here:
    """Shows progress in this process only: Prefect sends a flow's parameters along with every task, and a terminal cannot travel.

    No dataclass, since Prefect would take one apart and send its fields.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def __call__(self, event: Progress) -> None:
        self.watch(event)

    def __reduce__(self) -> tuple[type[Here], tuple[Watch]]:
        return Here, (unwatched,)


def batches(shards: Sequence[Shard], count: int) -> list[Batch]:
    """Shards dealt round into at most `count` batches, the largest shards first so that the batches come out even."""
    largest_first = sorted(shards, key=lambda s: (-s.size, s.name))
    return [Batch(tuple(largest_first[i::count])) for i in range(min(count, len(shards)))]


@flow(name="dataaudit", result_serializer="json", persist_result=False, log_prints=False)
def stages(sources: Sequence[str], out: Path, settings: Settings, address: str, workers: int, watch: Watch | None = None) -> str:
    """Audit `sources` into `out` on the Dask scheduler at `address`; returns the directory's path."""
    watch = watch or unwatched
    audit = inventory(sources, out, settings)
    plan, cache = audit.prepared.plan, audit.prepared.cache
    dealt = batches(audit.prepared.shards, workers * BATCHES_PER_WORKER)
    running = extract_batch.map(dealt, unmapped(plan), unmapped(cache), unmapped(audit.until))
    running.wait()
    # This reads the markers, and tries once more what has none: a shard that kills its workers becomes a skip, as in a plain scan.
    with connect(address) as engine:
        announce(engine, watch)
        shards = extract(audit.prepared.shards, plan, cache, engine, watch, audit.until)
    if settings.proxy:
        audit = fit(audit, shards, address, watch)
    views = aggregate(audit, shards, address, watch)
    detected = detect(audit, shards, views, address, watch)
    written = judge(audit, shards, views, detected, address, watch)
    create_markdown_artifact(markdown_summary(written), key="verdict", description=f"Audit of {', '.join(sources)}"[:200])
    return str(written.path)


def run(sources: Sequence[str], out: Path, settings: Settings | None = None, watch: Watch = unwatched) -> FinishedAudit:
    """Run the flow on the scheduler that the settings name, or on workers of its own."""
    settings = settings or Settings()
    with connect(settings.scheduler) if settings.scheduler else local(settings.workers, settings.memory_bytes) as engine:
        runner: Any = DaskTaskRunner(address=engine.address)
        placed = stages.with_options(task_runner=runner)
        return FinishedAudit(Path(placed(list(sources), out, settings, engine.address, engine.workers, Here(watch))))
