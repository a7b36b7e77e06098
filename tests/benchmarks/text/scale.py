"""How fast texts are audited without a model, and whether time and memory grow with their number.

    python -m tests.benchmarks.text.scale                        10,000, 100,000 and 1,000,000 documents
    python -m tests.benchmarks.text.scale --documents 20000      other numbers
    python -m tests.benchmarks.text.scale --workers 1 2 --keep DIR      one worker, then two; logs and audits stay, for `scale.measured`

Documents of 60 to 150 words (`documents.py`) lie in Parquet shards of 10,000 and stay in the cache.  `dataaudit scan --encoder hashed`
audits them in processes of its own, whose resident memory is read twice a second: the sum over all of them, and the largest.  `stages` are
seconds by stage, read from the times at which the files in the cache were finished; `cpu_seconds` are of all processes, and tell more than
seconds where something else runs beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.images.scale import DATAAUDIT, watched
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import documents

WORDS = (60, 150)
PARTS = ("features", "states", "views", "scores")


def stages(cache: Path, started: float, ended: float) -> dict[str, float]:
    """Seconds until the last file of each kind: features, aggregates (states and views), scores, and then the report."""
    last = {part: max((p.stat().st_mtime for p in (cache / part).rglob("*") if p.is_file()), default=started) for part in PARTS}
    marks = {"extract": last["features"], "aggregate": max(last["states"], last["views"]), "detect": last["scores"], "report": ended}
    told, before = {}, started
    for name, mark in marks.items():
        told[name] = round(mark - before, 1)
        before = mark
    return told


def main(given: Sequence[str] | None = None) -> None:
    """Write, scan and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep each audit and its log here, as DOCUMENTS-WORKERS and DOCUMENTS-WORKERS.log"
    )
    asked = parser.parse_args(given)
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    for count in asked.documents:
        try:
            folder = documents.write(cache / "scale-text", count, WORDS, cache)
        except Missing as missing:
            raise SystemExit(f"missing: {missing}") from missing
        for workers in asked.workers:
            with tempfile.TemporaryDirectory(dir=folder.parent) as passing:
                out = (asked.keep or Path(passing)).resolve() / f"{count}-{workers}"
                out.parent.mkdir(parents=True, exist_ok=True)
                print(json.dumps({"documents": count, "workers": workers} | scanned(folder, out, workers)), flush=True)


def scanned(folder: Path, out: Path, workers: int) -> dict[str, object]:
    """Seconds and memory of one scan into `out`, which must be new."""
    options = ["--content", "text", "--encoder", "hashed", "--out", str(out), "--log", f"{out}.log", "--fail-on", "critical"]
    options += ["--workers", str(workers), "--seed", "1"]
    started = time.time()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, together, single = watched([DATAAUDIT, "scan", f"{folder}/*.parquet", *options])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    verdict = json.loads((out / "audit.json").read_text()).get("verdict")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "stages": stages(out / "features", started, started + seconds),
        "memory_gb": round(together / 1e9, 2),
        "largest_process_gb": round(single / 1e9, 2),
        "verdict": verdict,
    }


if __name__ == "__main__":
    main()
