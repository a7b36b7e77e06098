"""What a run tells machines while it goes on: a log of JSON lines, and metrics for Prometheus in a file.

Both are files that the user names; nothing is sent anywhere.  The metrics file is what node_exporter's textfile collector reads: it is
replaced as a whole, every few seconds and at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from dataaudit.errors import ConfigurationError
from dataaudit.model import Progress
from dataaudit.store.directory import AuditDirectory

EVERY = 5.0
"""Seconds between two states of the metrics file."""


class Observer(Protocol):
    """Sees a run from its beginning to its end."""

    def progress(self, event: Progress) -> None:
        """Something was done."""
        ...

    def finished(self, audit: AuditDirectory) -> None:
        """The audit directory is complete."""
        ...


@dataclass(frozen=True)
class Log:
    """One JSON object a line: `time` (UTC), `event`, and what it is about."""

    out: IO[str]

    def progress(self, event: Progress) -> None:
        said = {name: value for name, value in vars_of(event).items() if value not in ("", 0) or name == "done"}
        self._write("progress", said)

    def finished(self, audit: AuditDirectory) -> None:
        summary = audit.summary
        kept = {name: summary[name] for name in ("samples", "flagged", "campaigns", "skipped", "seconds")}
        self._write("finished", {"verdict": summary["verdict"]["kind"], **kept})

    def _write(self, event: str, said: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.out.write(json.dumps({"time": now, "event": event, **said}) + "\n")
        self.out.flush()


class Metrics:
    """Gauges of one run in a registry of their own."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        self._path, self._clock = path, clock
        self._stage_began = clock()
        self._written = float("-inf")
        self._registry = CollectorRegistry()

        def gauge(name: str, told: str, *labels: str) -> Any:
            return Gauge(f"dataaudit_{name}", told, labels, registry=self._registry)

        self._shards = gauge("shards", "Shards that were read.")
        self._shards_total = gauge("shards_total", "Shards that there are to read.")
        self._samples = gauge("samples", "Samples that were read.")
        self._bytes = gauge("bytes", "Bytes of the shards that were read.")
        self._skipped = gauge("skipped", "Samples and whole shards that could not be read.")
        self._seconds = gauge("stage_seconds", "Seconds that each stage took so far.", "stage")
        self._findings = gauge("findings", "Findings of a finished audit.", "kind", "severity")
        self._flagged = gauge("flagged", "Flagged samples of a finished audit.")
        self._verdict = gauge("verdict", "1 for the verdict of a finished audit.", "kind")
        self._finished = gauge("finished_timestamp_seconds", "When the audit was finished; 0 while it is not.")

    def progress(self, event: Progress) -> None:
        now = self._clock()
        if event.stage == "extract":
            self._shards.set(event.done)
            self._shards_total.set(event.total)
            self._samples.set(event.samples)
            self._bytes.set(event.bytes)
            self._skipped.set(event.skipped)
        self._seconds.labels(event.stage.partition(" ")[0]).inc(now - self._stage_began)
        self._stage_began = now
        if now - self._written >= EVERY:
            self._write()

    def finished(self, audit: AuditDirectory) -> None:
        table = audit.table("findings", columns=["kind", "severity"])
        for kind, severity in zip(table.column("kind").to_pylist(), table.column("severity").to_pylist(), strict=True):
            self._findings.labels(kind, severity).inc()
        self._skipped.set(audit.summary["skipped"])
        self._flagged.set(audit.summary["flagged"])
        self._verdict.labels(audit.summary["verdict"]["kind"]).set(1)
        self._finished.set_to_current_time()
        self._write()

    def _write(self) -> None:
        from prometheus_client import write_to_textfile

        write_to_textfile(str(self._path), self._registry)
        self._written = self._clock()


@contextmanager
def observers(log: Path | None, metrics: Path | None) -> Iterator[list[Observer]]:
    """Those that were asked for; a ConfigurationError where a file cannot be written, before any work is done."""
    found: list[Observer] = []
    with ExitStack() as opened:
        try:
            if log is not None:
                found.append(Log(opened.enter_context(log.open("a", encoding="utf-8"))))
            if metrics is not None:
                found.append(made := Metrics(metrics))
                made.progress(Progress("start", 0, 0))
        except OSError as error:
            raise ConfigurationError(f"{log if not found else metrics}: cannot be written ({error.strerror})") from error
        yield found


def vars_of(event: Progress) -> dict[str, Any]:
    """The fields of an event."""
    return {name: getattr(event, name) for name in ("stage", "done", "total", "samples", "skipped", "bytes", "of_bytes", "note")}
