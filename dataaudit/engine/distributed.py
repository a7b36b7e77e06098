"""The Dask engine: one future an item, a bounded window of them, collected as they finish.

The only door to `distributed`.  A worker that dies takes its items with it; Dask runs them again, and
after `allowed-failures` deaths an item comes back as `Lost`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from dataaudit.engine import Lost, single_threaded
from dataaudit.errors import ConfigurationError, EngineError

T = TypeVar("T")
OWN_MEMORY, LEAST_MEMORY = 1 << 30, 2 << 30
"""Bytes for the process that hands out the work, and the fewest for a worker."""
WINDOW = 8
"""Items under way for each that can run at once; more are handed out when half of them are done, in one message."""
LOOK_AGAIN = 1.0
"""Seconds after which workers are counted anew."""
R = TypeVar("R")


@contextmanager
def _scheduled() -> Iterator[None]:
    """A scheduler that went away is an EngineError; what the function itself raises passes."""
    from distributed import CancelledError
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise EngineError("the Dask scheduler is gone: start one and give the same command again, it goes on from here") from error


@dataclass(frozen=True)
class Distributed:
    """A connected Dask client, with the cluster if it was started here."""

    client: Any
    cluster: Any = None
    workers: int = 1

    @property
    def address(self) -> str:
        """Where others connect to the same scheduler."""
        return str(self.client.scheduler.address)

    @property
    def dashboard(self) -> str:
        """Where a person can watch the workers."""
        return str(self.client.dashboard_link)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        suspects: list[T] = []
        for item, result in self._side_by_side(function, items):
            if isinstance(result, Lost):
                suspects.append(item)
            else:
                yield item, result
        # Who was beside an item that kills its workers came to the same end: alone, each has its own.
        for suspect in suspects:
            yield from self._side_by_side(function, [suspect])

    def _side_by_side(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        waiting = iter(items)
        running: dict[Any, T] = {}
        done: SimpleQueue[Any] = SimpleQueue()  # Dask's `as_completed` polls
        slots, counted = self.workers, time.monotonic()
        while True:
            if time.monotonic() > counted + LOOK_AGAIN:
                slots, counted = self._slots(), time.monotonic()
            room = WINDOW * slots - len(running)
            more = list(islice(waiting, room)) if 2 * room >= WINDOW * slots else []
            for future, item in zip(self._submit(function, more), more, strict=True):
                running[future] = item
                future.add_done_callback(done.put)
            if not running:
                return
            finished = [done.get()]
            while not done.empty():
                finished.append(done.get())
            yield from zip([running.pop(f) for f in finished], self._results(finished), strict=True)

    def _slots(self) -> int:
        """How many items can run at once now; an adaptive cluster that let all workers go brings one back for the first item."""
        with _scheduled():
            slots: int = sum(self.client.nthreads().values())
        return max(1, slots)

    def _submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Any]:
        """A future an item, in one message."""
        with _scheduled():
            return list(self.client.map(partial(single_threaded, function), items, pure=False)) if items else []

    def _results(self, futures: Sequence[Any]) -> list[Any]:
        """What became of finished futures, fetched together unless one of them failed."""
        from distributed import KilledWorker

        try:
            with _scheduled():
                return list(self.client.gather(futures))
        except KilledWorker as error:
            if len(futures) == 1:
                return [Lost(f"the workers that tried it died ({error})")]
            return [result for future in futures for result in self._results([future])]
        finally:
            for future in futures:
                future.release()

    def wait_for_a_worker(self, patience: float) -> None:
        """Return once there is one.  It is given something to do, since an adaptive cluster starts none for nothing."""
        if self.client.nthreads():
            return
        logging.getLogger(__name__).warning("%s has no workers yet; waiting up to %.0f s for the first", self.address, patience)
        asked = self.client.submit(int, pure=False)
        try:
            asked.result(timeout=patience)
        except TimeoutError as error:
            raise EngineError(
                f"the Dask scheduler at {self.address} has no workers: start one with `dask worker {self.address}`"
            ) from error

    def close(self) -> None:
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()

    def __enter__(self) -> Distributed:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def local(workers: int | None = None, memory: int | None = None) -> Distributed:
    """Start workers on this machine, one process and one thread a core, or as many as have enough of the `memory` (bytes) for all."""
    import dask
    from distributed import Client, LocalCluster

    count = workers or len(os.sched_getaffinity(0))
    limit: int | str = "auto"
    if memory is not None:
        count, limit = shared_out(memory, count)
    # Workers log their coming and going, and a traceback when the scheduler leaves; what fails in a task is raised here anyway.
    spawned = dask.config.get("distributed.nanny.pre-spawn-environ") | {"DASK_LOGGING__DISTRIBUTED": "critical"}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": spawned}):
        cluster = LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=limit, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
        )
    return Distributed(Client(cluster, set_as_default=False), cluster, workers=count)


def shared_out(memory: int, workers: int) -> tuple[int, int]:
    """How many workers there can be, and the bytes of each; what this process itself needs is taken off first."""
    left = memory - OWN_MEMORY
    count = min(workers, left // LEAST_MEMORY)
    if count < 1:
        raise ConfigurationError(f"max_memory must be {(OWN_MEMORY + LEAST_MEMORY) / 2**30:.0f}GiB or more, got {memory / 2**30:.1f}GiB")
    return count, left // count


def connect(address: str, timeout: float = 15.0, patience: float = 120.0) -> Distributed:
    """Use a scheduler that is already running, as `tcp://host:port`, and wait `patience` seconds for its first worker."""
    from distributed import Client

    # A scheduler that goes away is an EngineError of ours; its client would log a traceback beside it.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (TypeError, RuntimeError) as error:  # what Dask raises where its security settings and the address do not go together
        raise EngineError(f"{address} cannot be connected to as Dask's TLS settings are: {error}") from error
    except (OSError, ValueError) as error:
        raise EngineError(f"no Dask scheduler answers at {address} within {timeout:.0f} s: start one with `dask scheduler`") from error
    engine = Distributed(client)
    try:
        engine.wait_for_a_worker(patience)
    except EngineError:
        engine.close()
        raise
    return replace(engine, workers=sum(client.nthreads().values()))
