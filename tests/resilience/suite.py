"""The command line of the suite: runs what has no record yet, one piece after the other, and says how it went."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from dataaudit.store.records import write_json
from tests.resilience import disk_full, fuzz, kills, read_errors
from tests.resilience.scans import Data, undisturbed

SHARDS, SAMPLES = 100, 1000
A_SCAN = 10
"""Kills in one scan at the most; there are as many scans as it takes to have all kills."""
INTERRUPTED = 4
"""How often the client, or the scheduler, of one audit is killed."""
PARTS = ("kills", "client", "scheduler", "disk-full", "read-errors", "fuzz")
FAILED = 1

Piece = tuple[str, Callable[[], dict[str, Any]]]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for; the defaults are those of `make test-resilience`."""
    parser = argparse.ArgumentParser(prog="tests.resilience", description="Load, fault and fuzz tests; finished pieces are not run again.")
    parser.add_argument("--results", type=Path, required=True, help="one JSON record a piece, and what the pieces work on")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("--kills", type=int, default=200, help="workers to kill")
    parser.add_argument("--interruptions", type=int, default=12, help="clients to kill, and schedulers")
    parser.add_argument("--fills", type=int, default=20, help="scans that run out of space")
    parser.add_argument("--trials", type=int, default=3000, help="damaged files of each format, in each of three ways")
    parser.add_argument("--executions", type=int, default=1_000_000, help="inputs for each reader")
    parser.add_argument("--fuzz-seconds", type=int, default=1500, help="after which a reader has been fuzzed enough")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(given)
    asked.results = asked.results.resolve()
    return asked


def pieces(asked: argparse.Namespace) -> dict[str, list[Piece]]:
    """What there is to do, by part; a piece's name is that of its record."""
    return {
        "kills": [
            (f"kills-{i:03}", partial(disturbed, kills.killed_workers, asked, f"kills-{i:03}", min(A_SCAN, asked.kills), i))
            for i in range(asked.kills)
        ],
        "client": list(interruptions("client", kills.killed_client, asked)),
        "scheduler": list(interruptions("scheduler", kills.killed_scheduler, asked)),
        "disk-full": [(f"disk-full-{i:03}", partial(filled, asked, i)) for i in range(asked.fills)],
        "read-errors": [(f"read-errors-{name}", partial(damaged, asked, name)) for name in read_errors.FORMATS],
        "fuzz": [(f"fuzz-{name}", partial(fuzzed, asked, name)) for name in fuzz.MODULES],
    }


def interruptions(part: str, what: Callable[..., dict[str, Any]], asked: argparse.Namespace) -> Iterator[Piece]:
    """Audits that are interrupted a few times each."""
    for i in range(-(-asked.interruptions // INTERRUPTED)):
        name = f"{part}-{i:03}"
        yield name, partial(disturbed, what, asked, name, min(INTERRUPTED, asked.interruptions - i * INTERRUPTED), i)


def disturbed(what: Callable[..., dict[str, Any]], asked: argparse.Namespace, name: str, count: int, number: int) -> dict[str, Any]:
    """A scan of a hundred shards on a cluster."""
    data = Data.made(asked.results / "data", SAMPLES, SHARDS)
    straight = undisturbed(data, asked.results / "straight")
    return what(data, straight, kills.cleared(asked.results / "work" / name), count, asked.seed * 1000 + number)


def filled(asked: argparse.Namespace, number: int) -> dict[str, Any]:
    """A scan that runs out of space; by turns on a disk of its own and by a limit, where the former can be had."""
    data, reference = Data.made(asked.results / "small-data", 400, 12), asked.results / "small-straight"
    straight = undisturbed(data, reference)
    folder = asked.results / "work" / f"disk-full-{number:03}"
    return disk_full.full(data, straight, reference, folder, asked.seed * 1000 + number, number % 2 == 0 and disk_full.mountable())


def damaged(asked: argparse.Namespace, name: str) -> dict[str, Any]:
    """One format, damaged at random."""
    return read_errors.alone(name, asked.trials, asked.results / "work" / f"read-errors-{name}", asked.seed)


def fuzzed(asked: argparse.Namespace, name: str) -> dict[str, Any]:
    """One reader, fuzzed."""
    return fuzz.run(name, asked.results / "work" / f"fuzz-{name}", asked.executions, asked.fuzz_seconds, asked.seed)


def run_piece(piece: Piece, results: Path) -> dict[str, Any]:
    """Run it if it has no record; one that could not be run has failed."""
    name, run = piece
    path = results / f"{name}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    began = time.monotonic()
    try:
        record = run()
    except Exception as error:  # noqa: BLE001 - the other pieces are run all the same
        record = {"failure": f"{type(error).__name__}: {error}"}
    record = {"piece": name, "took": round(time.monotonic() - began, 1), **record}
    write_json(path, record)
    if not record["failure"]:
        shutil.rmtree(results / "work" / name, ignore_errors=True)
    shown = {k: v for k, v in record.items() if k in ("took", "kills", "runs", "bytes", "trials", "executions", "peak_mb")}
    print(f"{name}: {record['failure'] or 'ok'} {shown}", file=sys.stderr, flush=True)
    return record


def enough(todo: Sequence[Piece], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Scans until so many workers were killed as were asked for, or until one could not be run at all."""
    done: list[dict[str, Any]] = []
    for piece in todo:
        if sum(d.get("kills", 0) for d in done) >= asked.kills or any("kills" not in d for d in done):
            break
        done.append(run_piece(piece, asked.results))
    return done


def main(given: Sequence[str] | None = None) -> int:
    """Run and sum up; 1 where anything failed."""
    asked = arguments(given)
    asked.results.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is None and "fuzz" in (asked.only or PARTS):
        print("atheris is not installed here: readers are fuzzed without the guidance of coverage", file=sys.stderr)
    done: list[dict[str, Any]] = []
    for part, todo in pieces(asked).items():
        if part not in (asked.only or PARTS):
            continue
        if part == "kills":
            done += enough(todo, asked)
            continue
        if part == "fuzz":  # single processes that need nothing of each other
            with ThreadPoolExecutor(2) as pool:
                done += [f.result() for f in as_completed([pool.submit(run_piece, piece, asked.results) for piece in todo])]
        else:
            done += [run_piece(piece, asked.results) for piece in todo]
    failed = [d for d in done if d["failure"]]
    summary = {
        "pieces": len(done),
        "failed": sorted(d["piece"] for d in failed),
        "seconds": round(sum(d["took"] for d in done)),
        "workers_killed": sum(d["kills"] for d in done if d["piece"].startswith("kills") and "kills" in d),
        "clients_killed": sum(d["kills"] for d in done if d["piece"].startswith("client") and "kills" in d),
        "schedulers_killed": sum(d["kills"] for d in done if d["piece"].startswith("scheduler") and "kills" in d),
        "files_damaged": sum(d.get("trials", 0) for d in done),
        "executions": {d["piece"]: d["executions"] for d in done if "executions" in d},
    }
    write_json(asked.results / "summary.json", summary)
    print(json.dumps(summary, indent=1))
    return FAILED if failed else 0
