"""The Dask engine: one future an item, a bounded window of them, collected as they finish.

The only door to `distributed`.  A worker that dies takes its items with it; Dask runs them again, and
after `allowed-failures` deaths an item comes back as `Lost`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from dataaudit.engine import Lost, single_threaded
from dataaudit.errors import ConfigurationError, EngineError

T = TypeVar("T")
OWN_MEMORY, LEAST_MEMORY = 1 << 30, 2 << 30
"""Bytes for the process that hands out the work, and the fewest for a worker."""
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
    window: int = 2
    workers: int = field(default=1)

    @property
    def address(self) -> str:
        """Where others connect to the same scheduler."""
        return str(self.client.scheduler.address)

    @property
    def dashboard(self) -> str:
        """Where a person can watch the workers."""
        return str(self.client.dashboard_link)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        from distributed import as_completed

        waiting = iter(items)
        running: dict[Any, T] = {}
        for item in islice(waiting, self.window * self.workers):
            running[self._submit(function, item)] = item
        done = as_completed(list(running), loop=self.client.loop)
        for future in done:
            item = running.pop(future)
            yield item, self._result(future)
            for following in islice(waiting, 1):
                submitted = self._submit(function, following)
                running[submitted] = following
                done.add(submitted)

    def _submit(self, function: Callable[[T], R], item: T) -> Any:
        with _scheduled():
            return self.client.submit(single_threaded, function, item, pure=False)

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker

        try:
            with _scheduled():
                return future.result()
        except KilledWorker as error:
            return Lost(f"the workers that tried it died ({error})")
        finally:
            future.release()

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


def connect(address: str, timeout: float = 15.0) -> Distributed:
    """Use a scheduler that is already running, as `tcp://host:port`."""
    from distributed import Client

    # A scheduler that goes away is an EngineError of ours; its client would log a traceback beside it.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (TypeError, RuntimeError) as error:  # what Dask raises where its security settings and the address do not go together
        raise EngineError(f"{address} cannot be connected to as Dask's TLS settings are: {error}") from error
    except (OSError, ValueError) as error:
        raise EngineError(f"no Dask scheduler answers at {address} within {timeout:.0f} s: start one with `dask scheduler`") from error
    slots = sum(client.nthreads().values())
    if not slots:
        client.close()
        raise EngineError(f"the Dask scheduler at {address} has no workers: start one with `dask worker {address}`")
    return Distributed(client, workers=slots)
