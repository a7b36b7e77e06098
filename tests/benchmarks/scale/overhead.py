"""What starting, Dask and bookkeeping add to the kernels of a scan, how soon the first shard is done, and what empty shards cost.

    python -m tests.benchmarks.scale.overhead                         100,000 documents, and 1,000 empty shards
    python -m tests.benchmarks.scale.overhead --documents 20000 --repeat 1

`kernels` are the seconds inside the functions that an engine is handed, summed over the stages, in a scan that runs in one process;
`wall` is `dataaudit scan --workers 1` from its start to its end, with interpreter, imports, the worker's start and the report.  The two
take turns.  `first` is the time from its start until a first shard of 100 documents was done, `empty` that of a whole scan of shards
without rows behind one of 100 documents, since what has no sample at all is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from dataaudit.audit import Audit
from dataaudit.engine import Lost, Serial, single_threaded
from dataaudit.model import Settings
from dataaudit.stages.extract import extract
from tests.benchmarks.images.scale import DATAAUDIT
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import documents
from tests.benchmarks.text.scale import WORDS

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Timed(Serial):
    """In this process, in order; remembers the seconds spent in what it was handed."""

    seconds: list[float] = field(default_factory=list)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        for item in items:
            started = time.perf_counter()
            result = single_threaded(function, item)
            self.seconds.append(time.perf_counter() - started)
            yield item, result


def kernels(pattern: str, out: Path) -> float:
    """Seconds inside the functions of all stages, of a scan in this process."""
    audit = Audit.begin([pattern], out, Settings(content="text", encoder="hashed", serial=True, seed=1))
    engine = Timed()
    shards = extract(audit.prepared.shards, audit.prepared.plan, audit.prepared.cache, engine)
    audit.conclude(shards, engine)
    return sum(engine.seconds)


def wall(pattern: str, out: Path, workers: int = 1) -> tuple[float, float]:
    """Seconds of a scan by command, and until its first shard was done."""
    options = ["--content", "text", "--encoder", "hashed", "--seed", "1", "--workers", str(workers), "--fail-on", "critical"]
    command = [DATAAUDIT, "scan", pattern, "--out", str(out), "--log", f"{out}.log", *options]
    begun, started = time.time(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # many empty shards are a verdict, with an exit code of its own
    seconds = time.perf_counter() - started
    events = [json.loads(line) for line in Path(f"{out}.log").read_text().splitlines()]
    if events[-1]["event"] != "finished":
        raise SystemExit("the scan failed")
    first = next(e["time"] for e in events if e.get("stage") == "extract" and e["done"])
    return seconds, datetime.fromisoformat(first).timestamp() - begun


def cut(source: Path, target: Path, shards: int, rows: int) -> str:
    """The first documents of a file as many shards of a few rows each; the pattern of their names."""
    table = pq.read_table(source)
    target.mkdir()
    for number in range(shards):
        pq.write_table(table.slice(number * rows, rows), target / f"{number:04d}.parquet")
    return f"{target}/*.parquet"


def spread(values: Sequence[float]) -> dict[str, list[float] | float]:
    """Median and range."""
    return {"median": round(statistics.median(values), 2), "range": [round(min(values), 2), round(max(values), 2)]}


def main(given: Sequence[str] | None = None) -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--empty", type=int, default=1_000, metavar="SHARDS")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kernels", nargs=2, metavar=("PATTERN", "OUT"), help="only scan in this process, and print the kernels' seconds")
    asked = parser.parse_args(given)
    if asked.kernels:
        print(kernels(asked.kernels[0], Path(asked.kernels[1])))
        return
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    try:
        folder = documents.write(cache / "scale-text", asked.documents, WORDS, cache)
    except Missing as missing:
        raise SystemExit(f"missing: {missing}") from missing
    seen: dict[str, list[float]] = {"kernels": [], "wall": [], "ratio": [], "first": [], "empty": []}
    with tempfile.TemporaryDirectory(dir=cache) as passing:
        root = Path(passing)
        few = cut(next(iter(sorted(folder.glob("*.parquet")))), root / "few", 10, 100)
        none = cut(next(iter(sorted(folder.glob("*.parquet")))), root / "none", asked.empty, 0)
        shutil.copy(root / "few" / "0000.parquet", root / "none" / "filled.parquet")
        for turn in range(asked.repeat):
            alone = [
                sys.executable,
                "-m",
                "tests.benchmarks.scale.overhead",
                "--kernels",
                f"{folder}/*.parquet",
                str(root / f"serial-{turn}"),
            ]
            seen["kernels"].append(float(subprocess.run(alone, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]))
            seen["wall"].append(wall(f"{folder}/*.parquet", root / f"wall-{turn}")[0])
            seen["ratio"].append(seen["wall"][-1] / seen["kernels"][-1])
            seen["first"].append(wall(few, root / f"few-{turn}")[1])
            seen["empty"].append(wall(none, root / f"none-{turn}", workers=2)[0])
            print(json.dumps({name: round(values[-1], 2) for name, values in seen.items()}), flush=True)
    print(json.dumps({"documents": asked.documents, "empty_shards": asked.empty} | {name: spread(v) for name, v in seen.items()}))


if __name__ == "__main__":
    main()
