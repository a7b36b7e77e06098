"""The public Python API: `scan` audits sources into a directory, `open` reads one.

    import dataaudit
    audit = dataaudit.scan(["data/train-*.tar"], "audit")
    audit.findings, audit.samples, audit.scores()

A script that scans must guard its entry with `if __name__ == "__main__":`, because workers are processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataaudit.engine import Engine, Serial
from dataaudit.engine.frames import frame
from dataaudit.errors import AuditDirectoryError
from dataaudit.model import Finding, Plan, Progress, Settings, Shard, Skipped
from dataaudit.reports import html
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.aggregate import aggregate
from dataaudit.stages.detect import Detected, choose, detect, wanted_views
from dataaudit.stages.extract import Extracted, extract
from dataaudit.stages.fit import fit
from dataaudit.stages.inventory import Prepared, prepare
from dataaudit.stages.judge import all_findings, score_risks, write_audit
from dataaudit.stages.look import look
from dataaudit.store import directory
from dataaudit.store.cache import Cache
from dataaudit.store.directory import AuditDirectory

if TYPE_CHECKING:
    from dataaudit.engine.distributed import Distributed

__all__ = ["Audit", "Finding", "FinishedAudit", "Plan", "Progress", "Settings", "Shard", "Skipped", "open", "scan"]


@dataclass(frozen=True)
class FinishedAudit(AuditDirectory):
    """An audit directory whose large tables come as lazy `dask.dataframe`s, one partition a shard."""

    def scores(self, columns: Sequence[str] | None = None) -> Any:
        """Every audited sample with its risk and its detectors' scores."""
        return frame(self.score_files, columns)

    def features(self, columns: Sequence[str] | None = None, cache: str | os.PathLike[str] | None = None) -> Any:
        """The feature tables of the audit's shards; `cache` says where they are if not in the directory itself."""
        folder = Cache(Path(cache) if cache else self.path / "features").root / "features" / self.summary["dataset"]["features"]
        shards = json.loads((self.path / "manifest.json").read_text())["shards"]
        paths = sorted({p for s in shards if s["sha256"] and (p := folder / f"{s['sha256']}.parquet").exists()})
        if not paths:
            raise AuditDirectoryError(f"{folder}: no features here; where the scan had --cache, name the same folder with cache=")
        return frame(paths, columns)


def scan(
    locations: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    progress: Watch = unwatched,
) -> FinishedAudit:
    """Audit sources (paths, globs, directories or URLs; together one data set) into the directory `out`.

    Raises `DataAuditError`: a source that is not there, a column that does not exist, a scheduler that
    does not answer.  Whatever could not be read inside a source is in `skipped`, and in the verdict.
    """
    settings = settings or Settings()
    given = [locations] if isinstance(locations, (str, os.PathLike)) else locations
    audit = Audit.begin([os.fspath(g) for g in given], Path(out), settings)
    with engine_for(settings) as engine:
        announce(engine, progress)
        shards = extract(audit.prepared.shards, audit.prepared.plan, audit.prepared.cache, engine, progress, audit.until)
        return audit.conclude(shards, engine, progress)


def open(path: str | os.PathLike[str]) -> FinishedAudit:  # noqa: A001 - `dataaudit.open` reads like the built-in it mirrors
    """Read a finished audit."""
    return FinishedAudit(Path(path))


def engine_for(settings: Settings) -> Serial | Distributed:
    """The engine that the settings ask for: this process, a running scheduler, or workers of our own."""
    if settings.serial:
        return Serial()
    from dataaudit.engine.distributed import connect, local

    return connect(settings.scheduler) if settings.scheduler else local(settings.workers, settings.memory_bytes)


def announce(engine: Serial | Distributed, watch: Watch) -> None:
    """Say who works, and where they can be watched."""
    if not isinstance(engine, Serial):
        watch(Progress("workers", 0, 0, note=f"{engine.workers} workers, to be watched at {engine.dashboard}"))


@dataclass(frozen=True)
class Audit:
    """An audit under way: the steps that a plain call and a Prefect flow compose alike."""

    prepared: Prepared
    settings: Settings
    out: Path
    started: float

    @staticmethod
    def begin(locations: Sequence[str], out: Path, settings: Settings) -> Audit:
        """List the sources and decide what is being audited; an earlier summary in `out` stops counting."""
        started = time.time()
        out = out.resolve()  # workers have working directories of their own
        directory.begin(out)
        return Audit(prepare(locations, out, settings), settings, out, started)

    @property
    def until(self) -> float | None:
        """When no further shard is begun, in seconds since the epoch."""
        seconds = self.settings.seconds_to_read
        return None if seconds is None else self.started + seconds

    def fitted(self, shards: Sequence[Extracted], engine: Engine, watch: Watch = unwatched) -> Audit:
        """The same audit with what a proxy saw, where one is asked for."""
        if not self.settings.proxy:
            return self
        plan = fit(shards, self.prepared.plan, self.prepared.cache, engine, watch)
        return replace(self, prepared=replace(self.prepared, plan=plan))

    def views(self, shards: Sequence[Extracted], engine: Engine, watch: Watch = unwatched) -> dict[str, str]:
        """What the detectors need to know of the whole data set."""
        detectors, _ = choose(self.prepared.plan, self.settings)
        return aggregate(wanted_views(detectors), shards, self.prepared.plan, self.prepared.cache, engine, watch)

    def detected(self, shards: Sequence[Extracted], views: dict[str, str], engine: Engine, watch: Watch = unwatched) -> Detected:
        """Every detector's scores and findings."""
        detectors, _ = choose(self.prepared.plan, self.settings)
        return detect(detectors, shards, views, self.prepared.plan, self.prepared.cache, engine, watch)

    def judged(
        self, shards: Sequence[Extracted], views: dict[str, str], detected: Detected, engine: Engine, watch: Watch = unwatched
    ) -> FinishedAudit:
        """Describe, fuse, judge, and write the audit directory."""
        plan, cache = self.prepared.plan, self.prepared.cache
        detectors, unavailable = choose(plan, self.settings)
        idle = [*self.prepared.unseen, *unavailable, *detected.blind]
        found, evidence = look(detected, detectors, shards, views, plan, cache, engine, watch)
        findings = all_findings(found, shards)
        score_risks(findings, shards, detected.scores, list(detectors), cache, self.out, engine, watch)
        summary = write_audit(self.prepared, shards, findings, evidence, list(detectors), idle, self.settings, self.out)
        started = datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds")
        directory.write_summary(self.out, summary | {"started": started, "seconds": round(time.time() - self.started, 1)})
        html.write(self.out)
        return FinishedAudit(self.out)

    def conclude(self, shards: Sequence[Extracted], engine: Engine, watch: Watch = unwatched) -> FinishedAudit:
        """Everything after extraction."""
        audit = self.fitted(shards, engine, watch)
        views = audit.views(shards, engine, watch)
        return audit.judged(shards, views, audit.detected(shards, views, engine, watch), engine, watch)
