"""What each stage costs beside the libraries that do the same, on one thread, in processor seconds.

    python -m tests.benchmarks.scale                                            every row, three times over
    python -m tests.benchmarks.scale --only tar --only parquet                  some rows
    python -m tests.benchmarks.scale --only near-duplicates --size 1000000      another number of items
    python -m tests.benchmarks.scale --only knn-500k-128 --points VECTORS.npy   your own vectors, float32 (n, d)
    python -m tests.benchmarks.scale --peers ~/peers/bin/python --repeat 1      an environment that you made
    python -m tests.benchmarks.scale --table                                    run nothing, show what is there

Ours and the peers take turns, each run a process of its own.  Processor seconds are user and system of the process and of children that
have ended, measured inside it around the work; memory is the most that the process held, with its input, its imports and the settings that
it ran before.  What has several settings is run with all of them in the first round, and then with the cheapest that is as good as asked
for.  Peers have an environment of their own, which is made in the cache when it is first needed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataaudit.store.records import write_json
from tests.benchmarks.scale import table
from tests.benchmarks.scale.inputs import Wanted
from tests.benchmarks.scale.rows import ROWS, Row
from tests.benchmarks.scale.running import Run, peers, rounds, versions
from tests.benchmarks.suite import Missing


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], metavar="ROW", help=", ".join(r.name for r in ROWS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--size", "--documents", type=int, help="this many items in place of each row's own number")
    parser.add_argument("--points", type=Path, help="float32 .npy (n, d) for the rows knn-50k-512 and knn-500k-128")
    own = os.environ.get("DATAAUDIT_BENCH_PEERS")
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path(own) if own else None,
        metavar="PYTHON",
        help="interpreter of the peers' environment (default: $DATAAUDIT_BENCH_PEERS, else one that is made in the cache)",
    )
    parser.add_argument("--results", type=Path, default=cache / "results" / "scale", help="one JSON file a row, and table.md")
    parser.add_argument("--table", action="store_true", help="run nothing, print the results that are there")
    parser.add_argument("--prepare", action="store_true", help="only make the inputs")
    asked = parser.parse_args(given)
    asked.cache = cache
    return asked


def measured(row: Row, asked: argparse.Namespace) -> list[Run]:
    """Run a row, and keep what is there after every run."""
    size = asked.size or row.size
    folder = row.prepare(Wanted(asked.cache, size, asked.points))
    if asked.prepare:
        return []
    python = peers(asked.peers, asked.cache) if any(not c.ours for c in row.contenders) else None
    about: dict[str, Any] = {
        "row": row.name,
        "size": size,
        "about": row.about,
        "python": platform.python_version(),
        "versions": versions(Path(sys.executable)),
        "peers": versions(python) if python else {},
    }
    runs: list[Run] = []
    for run in rounds(row, folder, python, asked.repeat):
        runs.append(run)
        said = run.failed or f"{run.cpu:.2f} CPU s, {run.memory / 1e9:.2f} GB, accuracy {run.accuracy:.4f}"
        print(f"{row.name} {run.repeat + 1} {run.contender} {run.setting}: {said}", flush=True)
        ratio = table.ratio(row, runs)
        told = {"ratio": ratio.middle if ratio and ratio.peer else None, "runs": [numbered(asdict(run)) for run in runs]}
        write_json(kept_at(row, asked), about | told)
    return runs


def kept_at(row: Row, asked: argparse.Namespace) -> Path:
    """Where a row's result lies; another number of items is another result."""
    size = asked.size or row.size
    found: Path = asked.results / (f"{row.name}.json" if size == row.size else f"{row.name}-{size}.json")
    return found


def numbered(run: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold: without the figures that a failed run does not have."""
    return {name: value for name, value in run.items() if value == value}


def read(path: Path) -> list[Run]:
    """The runs that were kept."""
    return [Run(**run) for run in json.loads(path.read_text())["runs"]] if path.exists() else []


def main(given: Sequence[str] | None = None) -> None:
    """Measure row after row, and tell."""
    asked = arguments(given)
    asked.results.mkdir(parents=True, exist_ok=True)
    done: list[tuple[Row, Sequence[Run]]] = []
    for row in (row for row in ROWS if asked.only is None or row.name in asked.only):
        try:
            runs = read(kept_at(row, asked)) if asked.table else measured(row, asked)
        except Missing as missing:
            print(f"{row.name}: missing: {missing}", flush=True)
            continue
        done += [(row, runs)] if runs else []
    said = table.overview(done) + "\n" + "\n".join(table.told(row, asked.size or row.size, runs) for row, runs in done)
    if done:
        (asked.results / "table.md").write_text(said)
        print("\n" + said)


if __name__ == "__main__":
    main()
