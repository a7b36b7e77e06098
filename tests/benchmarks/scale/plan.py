"""Hours, storage and memory of an audit of very many samples, and what breaks first: computed from measured constants.

    python -m tests.benchmarks.scale.plan --samples 1e9 --workers 100 --constants measurements.json
    python -m tests.benchmarks.scale.plan --samples 1e6 1e8 1e9 --workers 10 100 --shard 100000 --constants FILE --markdown
    python -m tests.benchmarks.scale.plan --samples 1e9 --workers 100 --stragglers 0.01 --deaths-per-hour 0.05 --constants FILE
    python -m tests.benchmarks.scale.plan --constants FILE --check      predicted beside measured
    python -m tests.benchmarks.scale.plan --example                     a file of constants, made up

`python -m tests.benchmarks.scale.measured --help` says where the constants come from.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataaudit.stages.detect import MARKED
from tests.benchmarks.scale import simulate
from tests.benchmarks.scale.constants import BadConstants, Constants, Limits, PerShard, Run, Single, Stage, Storage, load, to_json
from tests.benchmarks.scale.simulate import Cluster, StageRun, count_shards

MOST = 10**13
"""Samples beyond which nobody asks when something breaks."""


@dataclass(frozen=True)
class Limit:
    """Something that grows with the samples, and what happens where it reaches its limit; at `breaks_at` samples, None for never."""

    what: str
    value: float
    limit: float
    breaks_at: int | None
    stops: bool
    then: str


@dataclass(frozen=True)
class Plan:
    """One audit: seconds by stage, bytes and files written, bytes of the largest processes, and limits, the first to be reached first."""

    samples: int
    shard: int
    cluster: Cluster
    stages: tuple[StageRun, ...]
    storage: float
    files: float
    memory: tuple[tuple[str, float], ...]
    limits: tuple[Limit, ...]
    full_scheduler: float

    @property
    def seconds(self) -> float:
        """From the beginning to the report."""
        return sum(s.seconds for s in self.stages)

    @property
    def serial(self) -> float:
        """Seconds that no further worker shortens."""
        return sum(s.single + s.client for s in self.stages)

    @property
    def broken(self) -> tuple[Limit, ...]:
        """What this audit does not fit in, what breaks first before the rest."""
        return tuple(x for x in self.limits if x.breaks_at is not None and x.breaks_at <= self.samples)


def plan(constants: Constants, cluster: Cluster, samples: int, shard: int) -> Plan:
    """Simulate a scan and hold it against the limits."""
    shards = count_shards(samples, shard)
    per_shard = [s.shards for s in constants.stages if s.shards is not None]
    rate = simulate.bandwidth(constants, cluster)
    shortest = min((simulate.task_seconds(s, samples / shards, rate) for s in per_shard), default=0.0)
    return Plan(
        samples=samples,
        shard=shard,
        cluster=cluster,
        stages=simulate.run(constants, cluster, samples, shard),
        storage=sum(shards * s.written + samples * s.written_per_sample for s in per_shard),
        files=shards * sum(s.files for s in per_shard),
        memory=(
            ("the process that was called", client_memory(constants, shards)),
            ("scheduler, tasks under way", scheduler_memory(constants, cluster, shards)),
            ("largest worker", worker_memory(constants, shards)),
        ),
        limits=tuple(sorted(limits(constants, cluster, samples, shard), key=lambda x: x.breaks_at or MOST)),
        full_scheduler=shortest / constants.scheduler.seconds_per_task if constants.scheduler.seconds_per_task else float("inf"),
    )


def analytic(constants: Constants, cluster: Cluster, samples: int, shard: int) -> float:
    """Seconds by formula: what the simulation comes to where nothing straggles, nothing dies and all slots are equally busy."""
    shards, rate = count_shards(samples, shard), simulate.bandwidth(constants, cluster)
    seconds, alone = 0.0, constants.storage.worker_bytes_per_second
    for stage in constants.stages:
        if stage.shards is not None:
            each = simulate.task_seconds(stage.shards, samples / shards, rate)
            seconds += max(shards * each / cluster.slots, shards * constants.scheduler.seconds_per_task)
        costs = [(simulate.single_seconds(s, samples, shards, alone), s.copies) for s in stage.single]
        share = sum(c * n for c, n in costs) / cluster.slots
        seconds += max([share, *(c for c, _ in costs)])
        seconds += sum(simulate.single_seconds(s, samples, shards, alone) for s in stage.client)
    return seconds


def predicted(constants: Constants, measured: Run) -> float:
    """The seconds that a measured scan should have taken."""
    return plan(constants, Cluster(measured.workers), measured.samples, measured.shard).seconds


def client_memory(constants: Constants, shards: int) -> float:
    """What is kept of every shard until the end."""
    return constants.client_memory + shards * constants.client_memory_per_shard


def scheduler_memory(constants: Constants, cluster: Cluster, shards: int) -> float:
    """The arguments of the tasks under way, in the stage where they are largest."""
    window = constants.scheduler.window * cluster.slots
    alone = [min(s.copies, window) * s.sent_per_shard * shards for stage in constants.stages for s in stage.single]
    return max([window * s.shards.sent for s in constants.stages if s.shards is not None] + alone, default=0.0)


def worker_memory(constants: Constants, shards: int) -> float:
    """A task of one shard, or the largest of the tasks that see all of them."""
    alone = [s.memory + s.memory_per_shard * shards for stage in constants.stages for s in stage.single]
    return max([constants.worker_memory, *alone])


def longest(constants: Constants, samples: int, shards: int) -> tuple[float, str]:
    """Seconds of the longest work that one process does alone, and whose."""
    rate = constants.storage.worker_bytes_per_second
    alone = [
        (simulate.single_seconds(s, samples, shards, rate), s.name) for stage in constants.stages for s in (*stage.single, *stage.client)
    ]
    return max(alone, default=(0.0, "nothing"))


def limits(constants: Constants, cluster: Cluster, samples: int, shard: int) -> Iterator[Limit]:
    """Everything that grows with the samples."""

    def limit(what: str, value: Callable[[int, int], float], most: float, stops: bool, then: str) -> Limit:
        def of(n: int) -> float:
            return value(n, count_shards(n, shard))

        return Limit(what, of(samples), most, reached(of, most), stops, then)

    least, slow = constants.limits, longest(constants, samples, count_shards(samples, shard))[1]
    yield limit(
        "rows that one detector marks",
        lambda n, _: n * constants.marked_share,
        least.marked,
        True,
        "the scan stops; audit slices, or settings that mark less",
    )
    yield limit(
        "memory of the process that was called (bytes)",
        lambda _, shards: client_memory(constants, shards),
        least.client_memory,
        True,
        "the kernel ends it; larger shards",
    )
    yield limit(
        "memory of the scheduler (bytes)",
        lambda _, shards: scheduler_memory(constants, cluster, shards),
        least.scheduler_memory,
        True,
        "the kernel ends it; larger shards, or a larger scheduler",
    )
    yield limit(
        "memory of the largest worker (bytes)",
        lambda _, shards: worker_memory(constants, shards),
        least.worker_memory,
        True,
        "the nanny ends it, and after four times the scan stops; larger workers",
    )
    yield limit(
        f"seconds of the longest single process ({slow})",
        lambda n, shards: longest(constants, n, shards)[0],
        least.serial_seconds,
        False,
        "it takes that long, whatever the number of workers; larger shards, or audit slices",
    )
    yield limit(
        "files in one directory",
        lambda _, shards: float(shards),
        least.files_in_directory,
        False,
        "listing and opening become slow on most network file systems; larger shards",
    )


def reached(value: Callable[[int], float], most: float) -> int | None:
    """The fewest samples with which a growing value is above its limit, to a thousandth; None beyond 10^13."""
    low, high = 1, MOST
    if value(high) <= most:
        return None
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if value(middle) > most else (middle, high)
    return high


def markdown(plans: Sequence[Plan]) -> str:
    """The tables of docs/scale.md."""
    lines = [
        "| samples | a shard | workers x cores | hours | of these on one process | TB | files | what it does not fit in, first first |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for p in plans:
        broken = "; ".join(x.what.partition(" (bytes)")[0] for x in p.broken) or "-"
        lines.append(
            f"| {p.samples:,} | {p.shard:,} | {p.cluster.workers} x {p.cluster.cores} | {p.seconds / 3600:.1f} | {p.serial / 3600:.1f} | "
            f"{p.storage / 1e12:.2f} | {p.files:,.0f} | {broken} |"
        )
    last = plans[-1]
    return "\n".join([*lines, "", *_stage_table(last), "", *_limit_table(last)]) + "\n"


def _stage_table(p: Plan) -> Iterator[str]:
    yield f"By stage, {p.samples:,} samples, {p.shard:,} a shard, {p.cluster.slots} slots (hours):"
    yield ""
    yield "| stage | shard by shard | on single workers | in the process that was called |"
    yield "|---|---|---|---|"
    for s in p.stages:
        yield f"| {s.name} | {s.shards / 3600:.2f} | {s.single / 3600:.2f} | {s.client / 3600:.2f} |"


def _limit_table(p: Plan) -> Iterator[str]:
    yield f"What grows, {p.shard:,} samples a shard, {p.cluster.slots} slots:"
    yield ""
    yield f"| what | with {p.samples:,} samples | limit | reached with so many samples | then |"
    yield "|---|---|---|---|---|"
    for x in (x for x in p.limits if x.value):  # what was not measured has no limit
        at = "never" if x.breaks_at is None else f"{x.breaks_at:.2g}"
        yield f"| {x.what} | {x.value:,.0f} | {x.limit:,.0f} | {at} | {x.then} |"


def told(p: Plan) -> str:
    """A plan for a terminal."""
    shards = count_shards(p.samples, p.shard)
    lines = [f"{p.samples:,} samples in {shards:,} shards of {p.shard:,}, {p.cluster.workers} workers of {p.cluster.cores} cores"]
    lines += [f"  {s.name[:60]:60} {_hours(s.shards)} by shard, {_hours(s.single)} single, {_hours(s.client)} client" for s in p.stages]
    again, lost = sum(s.again for s in p.stages), sum(s.lost for s in p.stages)
    lines += [
        f"  together {_hours(p.seconds)}, of which {_hours(p.serial)} on one process; {again:,} tasks were begun again, {lost:,} given up",
        f"  storage {p.storage / 1e12:.3f} TB in {p.files:,.0f} files",
        *(f"  memory of {name}: {size / 1e9:.2f} GB" for name, size in p.memory),
        f"  the scheduler is busy all the time from {p.full_scheduler:,.0f} slots on",
    ]
    for x in p.broken:
        lines.append(
            f"  {'STOPS' if x.stops else 'slow'}: {x.what}, {x.value:,.0f} of {x.limit:,.0f}, from {x.breaks_at:,} samples on: {x.then}"
        )
    return "\n".join(lines if p.broken else [*lines, "  nothing breaks"])


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h"


def checked(constants: Constants) -> Iterator[str]:
    """Predicted beside measured."""
    yield "| samples | workers | measured (s) | predicted (s) | predicted / measured |"
    yield "|---|---|---|---|---|"
    for r in constants.runs:
        seconds = predicted(constants, r)
        yield f"| {r.samples:,} | {r.workers} | {r.seconds:,.0f} | {seconds:,.0f} | {seconds / r.seconds:.2f} |"


def example() -> Constants:
    """Made-up constants: the form of the file, and what tests use."""
    finish = Single(
        "merge of the largest aggregate", 2.0, seconds_per_shard=0.05, read_per_shard=20e6, memory=4e9, sent_per_shard=400, copies=5
    )
    copies = Single("near-duplicates", 60.0, seconds_per_shard=0.02, memory=4e9)
    wave = PerShard(0.2, 2e-4, read_per_sample=2_000, written=40e6, written_per_sample=400, files=5)
    return Constants(
        data="made up",
        measured="nowhere",
        stages=(
            Stage("inventory", client=(Single("listing", 1.0, seconds_per_shard=0.001),)),
            Stage("extract", PerShard(0.5, 1e-3, read_per_sample=1_000, written_per_sample=2_000, files=2)),
            Stage("aggregate", wave, (finish, copies)),
            Stage(
                "detect",
                PerShard(0.2, 2e-4, read_per_sample=2_000, written_per_sample=60, files=1),
                (Single("find", 1.0, seconds_per_shard=0.01, sent_per_shard=380, copies=5),),
            ),
            Stage("look", single=(Single("second look", 0.5, seconds_per_shard=1e-5, sent_per_shard=380, copies=50),)),
            Stage(
                "judge",
                PerShard(0.05, 2e-5, read_per_sample=60, written_per_sample=60, files=1, sent=200_000),
                client=(Single("flagged, manifest, report", 1.0, seconds_per_shard=0.005),),
            ),
        ),
        storage=Storage(),
        limits=Limits(marked=MARKED),
        worker_memory=1.5e9,
        client_memory=0.4e9,
        client_memory_per_shard=2_000,
        marked_share=0.01,
    )


def main(given: Sequence[str] | None = None) -> None:
    """Plan and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=float, nargs="+", default=[1e9])
    parser.add_argument("--shard", type=float, nargs="+", default=[10_000], help="samples a shard")
    parser.add_argument("--workers", type=int, nargs="+", default=[100])
    parser.add_argument("--cores", type=int, default=1, help="slots a worker (dask worker --nworkers)")
    parser.add_argument("--stragglers", type=float, default=0.0, help="share of tasks that take --slowness times as long")
    parser.add_argument("--slowness", type=float, default=5.0)
    parser.add_argument("--deaths-per-hour", type=float, default=0.0, help="of each worker")
    parser.add_argument("--restart", type=float, default=60.0, help="seconds until a worker is back")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--constants", type=Path, help="JSON, as `measured` writes it; by default what --example prints")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/scale.md")
    parser.add_argument("--check", action="store_true", help="print what is predicted beside what was measured")
    parser.add_argument("--example", action="store_true", help="print made-up constants in the form that is read")
    asked = parser.parse_args(given)
    try:
        constants = load(asked.constants) if asked.constants else example()
    except BadConstants as error:
        raise SystemExit(str(error)) from error
    if asked.example:
        print(to_json(example()), end="")
        return
    if asked.check:
        print("\n".join(checked(constants)))
        return
    base = Cluster(1, asked.cores, asked.stragglers, asked.slowness, asked.deaths_per_hour, asked.restart, asked.seed)
    plans = [
        plan(constants, dataclasses.replace(base, workers=workers), int(samples), int(shard))
        for samples in asked.samples
        for shard in asked.shard
        for workers in asked.workers
    ]
    print(f"Constants: {constants.data or 'not said of what'}, measured {constants.measured or 'not said where'}.\n")
    print(markdown(plans) if asked.markdown else "\n\n".join(map(told, plans)))


if __name__ == "__main__":
    main()
