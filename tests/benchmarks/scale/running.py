"""Contenders in turn, each a process of its own with one thread: ours, the first peer, the second, ours again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.scale.rows import PEERS, Contender, Row
from tests.benchmarks.scale.table import kept
from tests.benchmarks.suite import Missing

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
REQUIREMENTS = PEERS / "requirements.txt"
VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"


@dataclass(frozen=True)
class Run:
    """One result: seconds, bytes, and how good it is; `failed` says why there is none."""

    contender: str
    setting: str
    repeat: int
    wall: float = float("nan")
    cpu: float = float("nan")
    memory: float = float("nan")
    accuracy: float = float("nan")
    more: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""


def rounds(row: Row, folder: Path, python: Path | None, repeat: int) -> Iterator[Run]:
    """All contenders, `repeat` times over: all settings at first, then of each contender the cheapest that is good enough.

    Without an interpreter for the peers ours run alone.
    """
    done: list[Run] = []
    present = [c for c in row.contenders if c.ours or python]
    for number in range(repeat):
        own: dict[str, Any] = {}
        for contender in present:
            if number and contender.beside:
                continue
            settings = contender.settings if not number else kept(row, contender, done)
            if number and not settings and all(r.failed for r in done if r.contender == contender.name):
                continue
            for run, found in once(row, contender, folder, python, settings, number):
                if contender.ours and not contender.beside:
                    own = found
                agreed = row.agrees(own, found) if row.agrees and own and not contender.ours and not run.failed else {}
                done.append(Run(**(run.__dict__ | {"more": {**run.more, **{f"agrees_{k}": v for k, v in agreed.items()}}})))
                yield done[-1]


def once(
    row: Row, contender: Contender, folder: Path, python: Path | None, settings: Sequence[str], number: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """One process, and what it found with each setting; a peer that fails is a result, of ours it is an error."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "found.npz")
        filled = [part.format(input=folder, out=out) for part in contender.command]
        command = [sys.executable if contender.ours else str(python), *filled, *settings]
        ended = subprocess.run(command, env=environment(contender, scratch), stderr=subprocess.PIPE, text=True)
        if ended.returncode:
            said = (ended.stderr.strip().splitlines() or ["nothing was said"])[-1][:300]
            if contender.ours:
                raise SystemExit(f"{row.name}: {contender.name} failed with {ended.returncode}: {ended.stderr[-4000:]}")
            yield Run(contender.name, " ".join(settings), number, failed=f"exit {ended.returncode}: {said}"), {}
        for path in sorted(Path(scratch).glob("*.npz"), key=lambda p: p.stat().st_mtime_ns):
            with np.load(path) as stored:
                found = {name: stored[name] for name in stored.files}
            wall, cpu, memory = found.pop("told").tolist()
            judged = row.judge(folder, found)
            setting = "" if path == out else path.stem
            yield Run(contender.name, setting, number, wall, cpu, memory, judged.pop("accuracy"), judged), found


def environment(contender: Contender, scratch: str) -> dict[str, str]:
    """One thread; peers see nothing of this project, and what is called cold finds no compiled code."""
    found = os.environ | dict.fromkeys(THREADS, "1") | {"TOKENIZERS_PARALLELISM": "false"}
    if not contender.ours:
        found.pop("PYTHONPATH", None)
    if "cold" in contender.command:
        found["NUMBA_CACHE_DIR"] = scratch
    return found


def peers(asked: Path | None, cache: Path) -> Path:
    """The interpreter of the peers' environment; the usual one is made on first use."""
    if asked is not None:
        if not asked.exists():
            raise Missing(f"there is no {asked}; without --peers an environment is made in the cache")
        return asked
    found = cache / "peers" / "bin" / "python"
    marker = cache / "peers" / "installed.txt"
    if not marker.exists() or marker.read_text() != REQUIREMENTS.read_text():
        print(f"installing the peers into {cache / 'peers'}, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(cache / "peers")], check=True)
        subprocess.run([str(found), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)], check=True)
        marker.write_text(REQUIREMENTS.read_text())
    return found


def versions(python: Path) -> dict[str, str]:
    """What is installed beside an interpreter."""
    told = subprocess.run([str(python), "-c", VERSIONS], check=True, capture_output=True, text=True, env=environment(Contender("", ()), ""))
    found: dict[str, str] = json.loads(told.stdout)
    return dict(sorted(found.items()))
