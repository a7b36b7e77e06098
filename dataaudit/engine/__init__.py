"""Runs functions handed to it, one item at a time, and knows nothing of audits.

`Serial` runs in this process (tests, tiny data); `distributed.connect` runs on a cluster.  Both call the same
function with the same thread limits, so their results are the same to the bit.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dataaudit.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""How numeric libraries are told, when they are loaded, how many threads to use."""


@dataclass(frozen=True)
class Lost:
    """What became of an item whose workers kept dying: it was not run, and the reason says so."""

    reason: str


class Engine(Protocol):
    """A way to run a function over items."""

    @property
    def workers(self) -> int:
        """How many items can run at once."""
        ...

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        """Each item with its result, as they are done; an exception of the function is raised here."""
        ...

    def close(self) -> None:
        """Let go of workers that were started for this engine."""
        ...


def single_threaded(function: Callable[[T], R], item: T) -> R:
    """Call with numeric libraries held to one thread: a worker is one core, and results do not depend on how many there are."""
    with _loaded_with_one_thread(), _thread_pools(len(sys.modules)).limit(limits=1):
        return function(item)


@contextmanager
def _loaded_with_one_thread() -> Iterator[None]:
    """For libraries that the function is the first to load: their pools are not there yet to be held.  Dask's nannies set the same."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@functools.lru_cache(maxsize=1)
def _thread_pools(_: int) -> Any:
    """The thread pools of the libraries that are loaded.  Looking for them takes milliseconds: once for each number of loaded modules."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def results(engine: Engine, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of all items, where the work is worth nothing without each of them: a lost one is an EngineError."""
    for item, result in engine.map(function, items):
        if isinstance(result, Lost):
            raise EngineError(f"{str(item)[:200]}: {result.reason}")
        yield result


@dataclass(frozen=True)
class Serial:
    """Everything in this process, in order."""

    workers: int = 1

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        for item in items:
            yield item, single_threaded(function, item)

    def close(self) -> None:
        pass

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
