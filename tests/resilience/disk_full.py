"""The disk fills up under a scan: it says so and ends with 2, and goes on once there is space."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.resilience.scans import LONGEST, Data, command, difference, environment, losses, markers, scanned

Record = dict[str, object]
FULL = ("No space left on device", "File too large")


def used(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def largest(folder: Path) -> int:
    """Bytes of the largest file below."""
    return max(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def mountable() -> bool:
    """Whether this process may mount a small file system of its own."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder), 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory that holds `size` bytes."""
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "dataaudit-test", str(folder)]
    subprocess.run(mounted, check=True, capture_output=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True, timeout=30)


def grown(folder: Path, size: int) -> None:
    """More space on it."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True, capture_output=True, timeout=30)


def full_disk(data: Data, straight: dict[str, object], whole: int, folder: Path, seed: int) -> Record:
    """A disk with a random part of the space that the audit needs (`whole` bytes)."""
    rng, started = random.Random(seed), time.monotonic()
    size = int(whole * 10 ** rng.uniform(-3, -0.02))
    with small_disk(folder, size):
        first = scanned(data, folder / "audit", "--serial")
        torn = markers(folder / "audit")
        failure = failed_clearly(first, folder / "audit")
        grown(folder, 4 * whole)
        failure += concluded(data, straight, folder / "audit", torn)
    return told("a disk of its own", size, first, torn, started) | {"failure": failure}


def full_quota(data: Data, straight: dict[str, object], most: int, folder: Path, seed: int) -> Record:
    """No file may grow beyond a random part of the largest (`most` bytes), as where a quota or a limit of the process ends it."""
    rng, started = random.Random(seed), time.monotonic()
    size = int(most * 10 ** rng.uniform(-3, -0.05))
    out = folder / "audit"
    first = subprocess.run(
        command(data, out, "--serial"),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        env=environment() | {"NUMBA_CACHE_DIR": str(folder.parent / "numba")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    torn = markers(out)
    failure = failed_clearly(first, out) + concluded(data, straight, out, torn)
    return told("a limit to the size of a file", size, first, torn, started) | {"failure": failure}


def failed_clearly(first: subprocess.CompletedProcess[str], out: Path) -> str:
    """What is wrong with how the scan ended where there was no space."""
    said = first.stderr
    wrong = []
    if first.returncode != 2:
        wrong.append(f"it ended with {first.returncode}, expected 2; ")
    if "Traceback" in said or not said.startswith("dataaudit: ") or not any(words in said for words in FULL):
        wrong.append(f"no clear message: {said[-1500:]}; ")
    if (out / "audit.json").exists():
        wrong.append("there is an audit.json; ")
    return "".join(wrong)


def concluded(data: Data, straight: dict[str, object], out: Path, torn: dict[str, int]) -> str:
    """What is wrong with how the same command ends where there is space again."""
    last = scanned(data, out, "--serial")
    if last.returncode != 1:
        return f"with space it ended with {last.returncode}: {last.stderr[-1500:]}"
    if {name: markers(out).get(name) for name in torn} != torn:
        return "a finished shard was extracted again"
    return losses(data, out) or difference(straight, out)


def told(how: str, size: int, first: subprocess.CompletedProcess[str], torn: dict[str, int], started: float) -> Record:
    """What a record says beside what was wrong."""
    return {
        "how": how,
        "bytes": size,
        "code": first.returncode,
        "said": first.stderr[-300:],
        "finished_before": len(torn),
        "seconds": round(time.monotonic() - started, 1),
    }


def full(data: Data, straight: dict[str, object], reference: Path, folder: Path, seed: int, mounted: bool) -> Record:
    """One of both ways to run out of space."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if mounted:
        return full_disk(data, straight, used(reference), folder, seed)
    return full_quota(data, straight, largest(reference), folder, seed)
