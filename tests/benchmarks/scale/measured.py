"""Makes the constants of a plan from finished scans: their logs (`--log`) say when each stage went on, their caches what was written.

    dataaudit scan data/*.parquet --out audit --workers 2 --log run.log          one scan, into a new directory, with a new log
    python -m tests.benchmarks.scale.measured --run run.log audit 2 10000 --out measurements.json
    python -m tests.benchmarks.scale.measured --run a.log a 2 10000 --run b.log b 2 10000 --run c.log c 2 100000 --out FILE

Of each run: its log, its audit directory, how many workers it had, and the samples a shard.  Runs of several sizes tell what grows; what a
shard costs beside its samples needs runs with small and with large shards.  Nothing else should run meanwhile.  Seconds are fitted by
non-negative least squares, relative to each run's own.  Memory is not in a log: put what `tests.benchmarks.text.scale` says into the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.optimize import nnls

from tests.benchmarks.scale.constants import Constants, PerShard, Run, Single, Stage, to_json

GROUP = "__group"
PER_SHARD_BYTES = {"client": 2_000, "finish": 90, "find": 376}
"""Measured by pickling and by tracemalloc: what the client keeps of a shard; and what a shard adds to the arguments of one task, of
`finish_pass` for each aggregate of the wave, and of `find` and `describe`."""


@dataclass(frozen=True)
class Observed:
    """One stage of one run: tasks, slot-seconds of all of them, and seconds after the last until tasks of the next stage were under way."""

    name: str
    tasks: int
    work: float
    tail: float


@dataclass(frozen=True)
class Scan:
    """One finished scan: stages as observed, and bytes by part of the cache; `states` are each wave's aggregates, and whether parted."""

    samples: int
    shard: int
    shards: int
    workers: int
    seconds: float
    before: float
    stages: tuple[Observed, ...]
    features: float
    scores: float
    own_scores: float
    states: Mapping[str, tuple[tuple[float, bool], ...]]
    marked: float
    detectors: int

    @property
    def run(self) -> Run:
        """What a prediction is held against."""
        return Run(self.samples, self.shard, self.workers, self.seconds)


@dataclass(frozen=True)
class Marks:
    """A stage in a log: times of its first and last event (seconds since the epoch), and its tasks."""

    name: str
    first: float
    last: float
    tasks: int


def read(log: Path, audit: Path, workers: int, shard: int) -> Scan:
    """A scan from its log, of which the last run counts, and its audit directory."""
    try:
        events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SystemExit(f"{log}: not a readable log of a scan ({error})") from error
    ends = [i for i, e in enumerate(events) if e["event"] == "finished"]
    if not ends:
        raise SystemExit(f"{log}: no finished run in this log")
    begun = ends[-2] + 1 if len(ends) > 1 else 0
    finished, marks = events[ends[-1]], marks_of(events[begun : ends[-1]])
    end = _time(finished)
    start = end - finished["seconds"]
    stages = observed(marks, start, end, workers)
    cache, scored = audit / "features", list((audit / "scores").glob("*.parquet"))
    marked, detectors = marking(cache / "scores")
    return Scan(
        samples=finished["samples"],
        shard=shard,
        shards=next(m.tasks for m in marks if m.name == "extract"),
        workers=workers,
        seconds=finished["seconds"],
        before=max(0.0, marks[0].first - start - _each(marks[0], workers)),
        stages=stages,
        features=_bytes((cache / "features").rglob("*.parquet")),
        scores=_bytes((cache / "scores").rglob("*.parquet")),
        own_scores=_bytes(scored),
        states=states_of(cache / "states", marks),
        marked=marked,
        detectors=detectors,
    )


def marks_of(events: Iterable[Mapping[str, Any]]) -> list[Marks]:
    """The stages in their order; notes are no stages."""
    found: dict[str, Marks] = {}
    for event in events:
        if event["event"] != "progress" or "total" not in event:
            continue
        name, now = event["stage"], _time(event)
        first = found[name].first if name in found else now
        found[name] = Marks(name, first, now, event["total"])
    return list(found.values())


def observed(marks: Sequence[Marks], start: float, end: float, workers: int) -> tuple[Observed, ...]:
    """Work and tail of each stage: a stage's first task is done one task's time after the tail of the stage before it."""
    stages = []
    for i, mark in enumerate(marks):
        following = marks[i + 1] if i + 1 < len(marks) else None
        tail = (following.first - _each(following, workers) if following else end) - mark.last
        # With fewer tasks than slots nothing tells a task's time from what lay before it: all of it counts as work.
        alone = mark.last - (marks[i - 1].last if i else start)
        work = mark.tasks * _each(mark, workers) if mark.tasks > workers else max(alone, 0.0) * mark.tasks
        stages.append(Observed(mark.name, mark.tasks, work, max(0.0, tail)))
    return tuple(stages)


def _each(mark: Marks, workers: int) -> float:
    """Seconds of one task, where there are enough of them to tell."""
    return workers * (mark.last - mark.first) / (mark.tasks - 1) if mark.tasks > workers else 0.0


def states_of(states: Path, marks: Sequence[Marks]) -> dict[str, tuple[tuple[float, bool], ...]]:
    """Of each wave the aggregates' bytes, all shards together, largest first, and whether they have parts; when they were written tells."""
    waves = [m for m in marks if m.name.startswith("aggregate ")]
    found: dict[str, list[tuple[float, bool]]] = {w.name: [] for w in waves}
    for folder in states.iterdir() if states.is_dir() else ():
        files = [f for f in folder.rglob("*.npz") if f.is_file()]
        if files and waves:
            last = max(f.stat().st_mtime for f in files)
            wave = next((w for w in waves if last <= w.last + 0.05), waves[-1])
            found[wave.name].append((_bytes(files), any(f.parent != folder for f in files)))
    return {name: tuple(sorted(sizes, reverse=True)) for name, sizes in found.items()}


def marking(scores: Path) -> tuple[float, int]:
    """The largest share of rows that a detector marks, and how many detectors there are."""
    rows, marked = 0, dict[str, int]()
    for path in scores.rglob("*.parquet"):
        with pq.ParquetFile(path) as stored:
            names = [n for n in stored.schema_arrow.names if n.endswith(GROUP)]
            table = stored.read(columns=names)
        rows += table.num_rows
        for name in names:
            marked[name] = marked.get(name, 0) + pc.sum(pc.greater_equal(table.column(name), 0)).as_py()
    return max(marked.values(), default=0) / max(rows, 1), len(marked)


def constants(scans: Sequence[Scan], data: str, measured: str) -> Constants:
    """The constants that fit these scans best."""
    stages = [Stage("inventory", client=(fitted_single("listing, encoders, starting workers", scans, [s.before for s in scans]),))]
    names = [o.name for o in scans[-1].stages]
    stages += [_stage(name, scans) for name in names]
    return Constants(
        data=data,
        measured=measured,
        stages=tuple(stages),
        client_memory_per_shard=PER_SHARD_BYTES["client"],
        marked_share=max(s.marked for s in scans),
        runs=tuple(s.run for s in scans),
    )


def _stage(name: str, scans: Sequence[Scan]) -> Stage:
    seen = [(s, o) for s in scans for o in s.stages if o.name == name]
    only, stage = [s for s, _ in seen], [o for _, o in seen]
    tails = [o.tail for o in stage]
    if name == "look":
        each = float(np.mean([o.work / o.tasks for o in stage]))
        most = max(o.tasks for o in stage)
        return Stage(name, single=(Single("second look", each, sent_per_shard=PER_SHARD_BYTES["find"], copies=most),))
    cost = _per_shard(only, [o.work for o in stage])
    features = float(np.mean([s.features / s.samples for s in only]))
    if name.startswith("aggregate "):
        sizes = [s.states.get(name, ()) for s in only]
        fixed, growing = line([s.shards for s in only], [s.samples for s in only], [sum(b for b, _ in z) for z in sizes])
        largest, _ = line(
            [s.shards for s in only], [s.samples for s in only], [max([b for b, p in z if not p], default=0.0) for z in sizes]
        )
        many = max(map(len, sizes))
        written = PerShard(*cost, read_per_sample=features, written=fixed, written_per_sample=growing, files=many)
        tail = fitted_single("merging and finishing", only, tails)
        alone = replace(tail, read_per_shard=largest, sent_per_shard=many * PER_SHARD_BYTES["finish"])
        return Stage(name, written, (alone,))
    if name == "extract":
        return Stage(name, PerShard(*cost, written_per_sample=features, files=2), client=(fitted_single("collecting", only, tails),))
    if name == "detect":
        scores = float(np.mean([s.scores / s.samples for s in only]))
        found = fitted_single("find", only, tails)
        looking = replace(found, sent_per_shard=PER_SHARD_BYTES["find"])
        return Stage(name, PerShard(*cost, read_per_sample=features, written_per_sample=scores, files=1), (looking,))
    own = float(np.mean([s.own_scores / s.samples for s in only]))
    return Stage(name, PerShard(*cost, written_per_sample=own, files=1), client=(fitted_single("after the last shard", only, tails),))


def _per_shard(scans: Sequence[Scan], work: Sequence[float]) -> tuple[float, float]:
    """Seconds a shard, and a sample, of one task."""
    return line([s.shards for s in scans], [s.samples for s in scans], work)


def fitted_single(name: str, scans: Sequence[Scan], seconds: Sequence[float]) -> Single:
    """Fixed seconds, and seconds a shard."""
    fixed, growing = line([1] * len(scans), [s.shards for s in scans], seconds)
    return Single(name, fixed, seconds_per_shard=growing)


def line(first: Sequence[float], second: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """How much of each makes the values, neither below 0, errors weighed by the values; the second where they cannot be told apart."""
    known = [i for i, v in enumerate(values) if v > 0]
    if not known:
        return 0.0, 0.0
    weighed = np.array([[second[i] / values[i], first[i] / values[i]] for i in known], dtype=float)
    scale = np.maximum(np.linalg.norm(weighed, axis=0), 1e-300)
    found, _ = nnls(weighed / scale, np.ones(len(known)))
    growing, fixed = (found / scale).tolist()
    return fixed, growing


def _bytes(files: Iterable[Path]) -> float:
    return float(sum(f.stat().st_size for f in files))


def _time(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def main(given: Sequence[str] | None = None) -> None:
    """Read the runs, write the constants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run",
        nargs=4,
        action="append",
        required=True,
        metavar=("LOG", "AUDIT", "WORKERS", "SHARD"),
        help="a finished scan; may be repeated",
    )
    parser.add_argument("--data", default="", help="what was audited, in words")
    parser.add_argument("--measured", default="", help="commit, machine and date, in words")
    parser.add_argument("--out", type=Path, help="the file to write; else it is printed")
    asked = parser.parse_args(given)
    scans = [read(Path(log), Path(audit), int(workers), int(shard)) for log, audit, workers, shard in asked.run]
    text = to_json(constants(sorted(scans, key=lambda s: s.samples), asked.data, asked.measured))
    if asked.out:
        asked.out.write_text(text, "utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
