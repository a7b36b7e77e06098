"""What a plan is computed from: seconds and bytes of every stage, and the limits of the machines.

Seconds are those of one core whose files lie on its own disk.  What shared storage adds comes from bytes and bandwidth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class BadConstants(Exception):
    """A file of constants that says something else than it should."""


@dataclass(frozen=True)
class PerShard:
    """One task a shard, on any worker.  `sent` are the bytes of a task's arguments, all of which pass the scheduler."""

    seconds: float = 0.0
    seconds_per_sample: float = 0.0
    read: float = 0.0
    read_per_sample: float = 0.0
    written: float = 0.0
    written_per_sample: float = 0.0
    files: float = 0.0
    sent: float = 2_000.0


@dataclass(frozen=True)
class Single:
    """Work that one process does alone, however many there are; `copies` of it run side by side.

    `sent_per_shard` are bytes of its arguments.
    """

    name: str
    seconds: float = 0.0
    seconds_per_shard: float = 0.0
    seconds_per_sample: float = 0.0
    read_per_shard: float = 0.0
    read_per_sample: float = 0.0
    memory: float = 0.0
    memory_per_shard: float = 0.0
    sent_per_shard: float = 0.0
    copies: int = 1


@dataclass(frozen=True)
class Stage:
    """First what runs shard by shard, then what runs on single workers, then what the process does that was called."""

    name: str
    shards: PerShard | None = None
    single: tuple[Single, ...] = ()
    client: tuple[Single, ...] = ()


@dataclass(frozen=True)
class Storage:
    """Bytes a second of one worker, and of all of them together."""

    worker_bytes_per_second: float = 200e6
    all_bytes_per_second: float = 10e9


@dataclass(frozen=True)
class Scheduler:
    """Client and scheduler together need so long for each task; `window` tasks a slot are under way, and a task is tried so often again."""

    seconds_per_task: float = 0.002
    window: int = 8
    allowed_failures: int = 3


@dataclass(frozen=True)
class Limits:
    """What the machines, and the code, allow.

    `marked` is `stages.detect.MARKED`; `serial_seconds` how long anyone waits for a single process.
    """

    worker_memory: float = 8e9
    client_memory: float = 8e9
    scheduler_memory: float = 8e9
    marked: int = 5_000_000
    files_in_directory: int = 1_000_000
    serial_seconds: float = 43_200.0


@dataclass(frozen=True)
class Run:
    """A measured scan."""

    samples: int
    shard: int
    workers: int
    seconds: float


@dataclass(frozen=True)
class Constants:
    """All of it.

    `marked_share` is the share of all rows that the detector marks which marks most, `worker_memory` what a task of one shard needs, and
    `client_memory` with its `_per_shard` what the process keeps that was called.
    """

    data: str
    measured: str
    stages: tuple[Stage, ...]
    storage: Storage = field(default_factory=Storage)
    scheduler: Scheduler = field(default_factory=Scheduler)
    limits: Limits = field(default_factory=Limits)
    worker_memory: float = 0.0
    client_memory: float = 0.0
    client_memory_per_shard: float = 0.0
    marked_share: float = 0.0
    runs: tuple[Run, ...] = ()


def load(path: Path) -> Constants:
    """Read constants; raises BadConstants for unknown or missing names."""
    try:
        return from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise BadConstants(f"{path}: not readable as JSON ({error})") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise BadConstants(f"{path}: not what constants look like ({error}); `plan --example` prints some") from error


def from_json(said: Mapping[str, Any]) -> Constants:
    """The constants of parsed JSON."""
    nested: dict[str, Any] = {
        "stages": tuple(_stage(s) for s in said["stages"]),
        "storage": Storage(**said.get("storage", {})),
        "scheduler": Scheduler(**said.get("scheduler", {})),
        "limits": Limits(**said.get("limits", {})),
        "runs": tuple(Run(**r) for r in said.get("runs", ())),
    }
    return Constants(**{**said, **nested})


def to_json(constants: Constants) -> str:
    """What `load` reads."""
    return json.dumps(asdict(constants), indent=1) + "\n"


def _stage(said: Mapping[str, Any]) -> Stage:
    nested: dict[str, Any] = {name: tuple(Single(**s) for s in said.get(name) or ()) for name in ("single", "client")}
    shards = PerShard(**said["shards"]) if said.get("shards") else None
    return Stage(**{**said, **nested, "shards": shards})
