"""A Dask scheduler and its workers as real processes on loopback, of which any may be killed and is started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.resilience.scans import environment

PATIENCE = 120.0
"""Seconds that processes may take to come up."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """`folder` holds a working directory and a log for each process; only processes started here are ever signalled."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.started = 0
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker() for _ in range(workers)]

    def __enter__(self) -> Cluster:
        self.ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()

    def kill_worker(self, number: int) -> None:
        """SIGKILL, as the kernel does where memory runs out, and another one in its place."""
        self._killed(self.workers[number])
        self.workers[number] = self._start_worker()

    def kill_scheduler(self) -> None:
        """SIGKILL; its workers leave by themselves, and all are started again at the same address."""
        self._killed(self.scheduler)
        for worker in self.workers:
            self._killed(worker)
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker() for _ in self.workers]

    def revive(self) -> int:
        """Start again what ended by itself; says how many workers had."""
        dead = [i for i, w in enumerate(self.workers) if w.poll() is not None]
        for i in dead:
            self.workers[i] = self._start_worker()
        return len(dead)

    def ready(self) -> None:
        """Wait until the scheduler knows all workers."""
        from distributed import Client

        deadline = time.monotonic() + PATIENCE
        while True:
            self.revive()
            try:
                with Client(self.address, timeout=5, set_as_default=False) as client:
                    client.wait_for_workers(len(self.workers), timeout=20)
                    return
            except (OSError, TimeoutError):
                if time.monotonic() > deadline:
                    raise

    def _killed(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show")

    def _start_worker(self) -> subprocess.Popen[bytes]:
        options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self._start("worker", self.address, *options, "--local-directory", ".")

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        self.started += 1
        own = self.folder / f"{what}-{self.started:04d}"
        own.mkdir(parents=True, exist_ok=True)
        with (own / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
                cwd=own,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
