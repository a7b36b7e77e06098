"""Scans as a user runs them, in processes of their own, and how two of them are compared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset as ds

from tests.planted import contents, corpus, poison, write_shards

ROOT = Path(__file__).parents[2]
LONGEST = 900.0
"""Seconds that one scan may take, however often it is disturbed."""


def environment() -> dict[str, str]:
    """This process's, so that a child imports the same code whatever its working directory is."""
    return os.environ | {"PYTHONPATH": str(ROOT), "DASK_LOGGING__DISTRIBUTED": "error"}


@dataclass(frozen=True)
class Data:
    """Mails in shards, some of them poisoned, and the keys that every complete audit has scores for."""

    folder: Path
    keys: frozenset[str]

    @staticmethod
    def made(folder: Path, samples: int, shards: int) -> Data:
        rows = poison(corpus(samples), n=min(25, samples // 8))
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            write_shards(rows, unfinished, shards)
            unfinished.rename(folder)
        return Data(folder, frozenset(str(r["id"]) for r in rows))

    @property
    def shards(self) -> int:
        return len(list(self.folder.glob("*.parquet")))


def command(data: Data, out: Path, *more: str) -> list[str]:
    """One and the same audit, wherever it runs."""
    return [sys.executable, "-m", "dataaudit.cli", "scan", str(data.folder), "--out", str(out), "--seed", "7", "--encoder", "hashed", *more]


def scanned(data: Data, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(data, out, *more), capture_output=True, text=True, timeout=LONGEST, env=environment(), stdin=subprocess.DEVNULL
    )


def undisturbed(data: Data, out: Path) -> dict[str, object]:
    """What the audit says if nothing happens; made once."""
    if not (out / "audit.json").exists():
        done = scanned(data, out, "--serial")
        assert done.returncode == 1, f"the scan without disturbance ended with {done.returncode}: {done.stderr[-2000:]}"
    assert not losses(data, out)
    return contents(out)


def markers(out: Path) -> dict[str, int]:
    """When each finished shard was finished."""
    return {p.name: p.stat().st_mtime_ns for p in (out / "features" / "markers").glob("[!.]*.json")}


def losses(data: Data, out: Path) -> str:
    """Which samples have no score or several, in words; empty where each has one."""
    seen = Counter(map(str, ds.dataset(out / "scores", format="parquet").to_table(columns=["key"]).column("key").to_pylist()))
    lost, double = data.keys - set(seen), [k for k, n in seen.items() if n > 1]
    return f"{len(lost)} samples lost, {len(double)} double" if lost or double else ""


def difference(straight: Mapping[str, object], out: Path) -> str:
    """What of an audit differs from the one that was not disturbed, row by row; empty where nothing does."""
    found = contents(out)
    if set(found) != set(straight):
        return f"other files: {sorted(set(found) ^ set(straight))}"
    return "; ".join(filter(None, (_rows(name, straight[name], found[name]) for name in straight)))


def _rows(name: str, expected: object, found: object) -> str:
    if expected == found:
        return ""
    if isinstance(expected, list) and isinstance(found, list):
        rows = [i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b]
        return f"{name}: {len(expected)} rows expected, {len(found)} found, other ones at {rows[:5]}"
    return f"{name} differs"


def left_behind(out: Path) -> dict[str, int]:
    """Temporary files that a killed process could not take away any more."""
    found = [p for p in (out / "features").rglob(".*") if p.is_file()]
    return {"files": len(found), "bytes": sum(p.stat().st_size for p in found)}
