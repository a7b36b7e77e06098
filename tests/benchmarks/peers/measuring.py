"""What a contender tells of itself, on either side: seconds, processor seconds and the largest resident memory.

A contender's OUT is an .npz: `told` (wall seconds, processor seconds, bytes), and whatever its accuracy is judged by.  With several
settings there is one beside OUT for each, named like it.
"""

from __future__ import annotations

import hashlib
import re
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What some work took; `memory` is the most that the process ever held until then, in bytes."""

    wall: float
    cpu: float
    memory: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory))


def timed(work: Callable[[], T]) -> tuple[T, Cost]:
    """What the work returns, and its cost: user and system seconds of this process, and of its children that have ended."""
    wall, cpu = time.perf_counter(), spent()
    done = work()
    return done, Cost(time.perf_counter() - wall, spent() - cpu, highest())


def spent() -> float:
    """Processor seconds so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def highest() -> int:
    """The kernel's ru_maxrss would be that of the process which started this one."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def tell(out: str | Path, cost: Cost, **found: Any) -> None:
    """Write it down."""
    np.savez(out, told=np.array([cost.wall, cost.cpu, cost.memory]), **found)


def beside(out: str | Path, setting: str) -> Path:
    """Where a setting's result goes."""
    return Path(out).with_name(f"{setting}.npz")


def digest(samples: Iterable[tuple[str, bytes, str]]) -> str:
    """The SHA-256 of keys, contents and labels, in order."""
    whole = hashlib.sha256()
    for key, content, label in samples:
        whole.update(f"{key}\0{len(content)}\0{label}\0".encode())
        whole.update(content)
    return whole.hexdigest()
