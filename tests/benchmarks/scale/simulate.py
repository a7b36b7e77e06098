"""A scan as events: tasks wait for a slot and for the scheduler, some take longer, workers die and come back.

What a dead worker was doing is done again from its beginning, on any worker.  What was finished stays finished: it lies on shared storage.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks.scale.constants import Constants, PerShard, Single, Stage

EVENTS = 200_000
"""The most tasks of a stage that are simulated one by one; where there are more, an event stands for several."""


@dataclass(frozen=True)
class Cluster:
    """`cores` slots on each of `workers`.

    `stragglers` of the tasks take `slowness` times as long; a worker dies `deaths_per_hour` times an hour, and is back after `restart`
    seconds.
    """

    workers: int
    cores: int = 1
    stragglers: float = 0.0
    slowness: float = 5.0
    deaths_per_hour: float = 0.0
    restart: float = 60.0
    seed: int = 1

    @property
    def slots(self) -> int:
        """How many tasks run at once at the most."""
        return self.workers * self.cores


@dataclass(frozen=True)
class Ran:
    """Tasks that were run: how long it took, how many were done, were begun again, or given up."""

    seconds: float
    done: int
    again: int = 0
    lost: int = 0


@dataclass(frozen=True)
class StageRun:
    """Seconds of the three parts of a stage, and what became of its tasks."""

    name: str
    shards: float
    single: float
    client: float
    tasks: int
    again: int
    lost: int

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.shards + self.single + self.client


def run(constants: Constants, cluster: Cluster, samples: int, shard: int) -> tuple[StageRun, ...]:
    """Every stage of a scan, one after the other."""
    rng = random.Random(cluster.seed)
    return tuple(_stage(stage, constants, cluster, samples, shard, rng) for stage in constants.stages)


def _stage(stage: Stage, constants: Constants, cluster: Cluster, samples: int, shard: int, rng: random.Random) -> StageRun:
    shards = count_shards(samples, shard)
    rate = bandwidth(constants, cluster)
    by_shard = Ran(0.0, 0)
    if stage.shards is not None:
        long = task_seconds(stage.shards, samples / shards, rate)
        together = max(1, -(-shards // EVENTS))
        tasks = [long * min(together, shards - first) for first in range(0, shards, together)]
        by_shard = tasks_run(tasks, constants, cluster, rng, together)
    alone = [single_seconds(s, samples, shards, constants.storage.worker_bytes_per_second) for s in stage.single for _ in range(s.copies)]
    single = tasks_run(alone, constants, cluster, rng) if alone else Ran(0.0, 0)
    client = sum(single_seconds(s, samples, shards, constants.storage.worker_bytes_per_second) for s in stage.client)
    tasks_of = (shards if stage.shards else 0) + len(alone)
    return StageRun(
        stage.name, by_shard.seconds, single.seconds, client, tasks_of, by_shard.again + single.again, by_shard.lost + single.lost
    )


def count_shards(samples: int, shard: int) -> int:
    """How many shards there are."""
    return max(1, -(-samples // shard))


def bandwidth(constants: Constants, cluster: Cluster) -> float:
    """Bytes a second of one slot while all are busy."""
    return min(constants.storage.worker_bytes_per_second / cluster.cores, constants.storage.all_bytes_per_second / cluster.slots)


def task_seconds(cost: PerShard, samples: float, rate: float) -> float:
    """One shard's task: what it computes, then what it reads and writes."""
    moved = cost.read + cost.written + samples * (cost.read_per_sample + cost.written_per_sample)
    return cost.seconds + samples * cost.seconds_per_sample + moved / rate


def single_seconds(cost: Single, samples: int, shards: int, rate: float) -> float:
    """One process's work on all shards."""
    growing = shards * cost.seconds_per_shard + samples * cost.seconds_per_sample
    return cost.seconds + growing + (shards * cost.read_per_shard + samples * cost.read_per_sample) / rate


def tasks_run(tasks: Sequence[float], constants: Constants, cluster: Cluster, rng: random.Random, together: int = 1) -> Ran:
    """Run tasks of these lengths; each event stands for `together` of them.

    The scheduler hands out one task after another.  A worker's death ends what all its slots do; each then begins again when it is back.
    """
    handing = constants.scheduler.seconds_per_task * together
    slots = [(0.0, slot) for slot in range(min(cluster.slots, len(tasks)))]
    dies = [_next_death(0.0, cluster, rng) for _ in range(cluster.workers)]
    waiting, deaths = deque(enumerate(_lengths(tasks, cluster, rng))), Counter[int]()
    free, end, done, again, lost = 0.0, 0.0, 0, 0, 0
    while waiting:
        ready, slot = heapq.heappop(slots)
        worker = slot % cluster.workers
        if dies[worker] <= ready:
            ready = max(ready, dies[worker] + cluster.restart)
            dies[worker] = _next_death(ready, cluster, rng)
        number, long = waiting.popleft()
        begun = max(ready, free)
        free = begun + handing
        finished = free + long
        if finished <= dies[worker]:
            done, end = done + 1, max(end, finished)
            heapq.heappush(slots, (finished, slot))
            continue
        deaths[number] += 1
        heapq.heappush(slots, (max(dies[worker], ready) + cluster.restart, slot))
        if deaths[number] > constants.scheduler.allowed_failures:
            lost, end = lost + 1, max(end, dies[worker])
        else:
            again += 1
            waiting.appendleft((number, long))
    return Ran(end, done * together, again * together, lost * together)


def _lengths(tasks: Sequence[float], cluster: Cluster, rng: random.Random) -> Iterable[float]:
    for long in tasks:
        yield long * (cluster.slowness if cluster.stragglers and rng.random() < cluster.stragglers else 1.0)


def _next_death(now: float, cluster: Cluster, rng: random.Random) -> float:
    return now + rng.expovariate(cluster.deaths_per_hour / 3600) if cluster.deaths_per_hour else float("inf")
