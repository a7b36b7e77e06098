"""The command line of a suite: runs the cells that have no result yet, and shows the table."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataaudit.discovery import units
from dataaudit.store.records import write_json
from tests.benchmarks import table
from tests.benchmarks.suite import SEEDS, Cell, Missing, Suite

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


HELP = """Runs the cells of the {0} benchmark that have no result yet, and shows the table.

python -m tests.benchmarks.{0}                               the headline cells
python -m tests.benchmarks.{0} --set broad --only 0.01       what has `0.01` in its id
python -m tests.benchmarks.{0} --seeds 7 8 9                 the headline cells with seeds that nobody has looked at
python -m tests.benchmarks.{0} --set baselines               the headline cells of seed 1, with the baselines
python -m tests.benchmarks.{0} --set all --table             only write and print the tables
"""


def arguments(given: Sequence[str] | None, name: str) -> argparse.Namespace:
    """What was asked of a suite of this name."""
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    parser = argparse.ArgumentParser(
        prog=f"tests.benchmarks.{name}", description=HELP.format(name), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", default="headline", choices=["headline", "broad", "baselines", "all"])
    parser.add_argument(
        "--only", action="append", default=[], metavar="SUBSTRING", help="cells whose id has this in it; may be repeated, all must"
    )
    parser.add_argument("--limit", type=int, help="no more samples than this a data set: for trying things, these are other cells")
    parser.add_argument("--seeds", type=int, nargs="+", help="these seeds in place of the headline's: for figures nobody has looked at yet")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--cache", type=Path, default=cache, help="clean features (default: $DATAAUDIT_BENCH_CACHE or /tmp/dataaudit-bench)"
    )
    parser.add_argument("--results", type=Path, help="one JSON file a cell, and the tables (default: results/NAME in the cache)")
    parser.add_argument("--baselines", action="store_true", help="run the baselines too, in cells of seed 1")
    parser.add_argument("--again", action="store_true", help="run finished cells again")
    parser.add_argument("--stale", action="store_true", help="show results of other code in the table")
    parser.add_argument("--table", action="store_true", help="run nothing, write and print the table")
    parser.add_argument("--list", action="store_true", help="only list the cells")
    asked = parser.parse_args(given)
    asked.results = asked.results or asked.cache / "results" / name
    return asked


def chosen(asked: argparse.Namespace, suite: Suite) -> list[Cell]:
    """The cells asked for."""
    found = suite.wanted(asked.set)
    if asked.limit:
        found = [replace(c, limit=min(c.limit, asked.limit)) for c in found]
    if asked.seeds:
        found = [replace(c, seed=seed) for seed in asked.seeds for c in found if c.seed == SEEDS[0]]
    return [c for c in dict.fromkeys(found) if all(part in c.id for part in asked.only)]


def todo(wanted: Sequence[Cell], asked: argparse.Namespace, suite: Suite) -> Iterator[tuple[Cell, str]]:
    """The parts of cells that have no result of this code."""
    for cell in wanted:
        known = table.read(cell, asked.results)
        if asked.again or known is None or known.get("code") != suite.code() or "ours" not in known:
            yield cell, "ours"
        compared = (asked.baselines or asked.set == "baselines") and cell.seed == 1
        if compared and (asked.again or known is None or known.get("baselines_code") != suite.baselines_code()):
            yield cell, "baselines"


def prepare_all(pool: ProcessPoolExecutor, wanted: Sequence[Cell], cache: Path, suite: Suite) -> None:
    """The clean features of all data sets that are there, before any cell needs them."""
    for name, limit in sorted({(c.dataset, c.limit) for c in wanted}):
        say(f"{name}, {limit:,} samples: looking for clean features")
        try:
            numbers = suite.unprepared(name, limit, cache)
        except Missing as missing:
            say(f"{name}: missing: {missing}")
            continue
        waiting = [pool.submit(suite.prepare, name, limit, n, cache) for n in numbers]
        for done, future in enumerate(as_completed(waiting), 1):
            future.result()
            say(f"{name}: {done} of {len(waiting)} chunks of clean features")


def run_all(pool: ProcessPoolExecutor, work: Sequence[tuple[Cell, str]], asked: argparse.Namespace, suite: Suite) -> None:
    """Run what is to be done and write each result when it is there."""
    waiting: dict[Future[dict[str, Any]], tuple[Cell, str]] = {pool.submit(suite.run, *item, asked.cache): item for item in work}
    started = time.monotonic()
    for done, future in enumerate(as_completed(waiting), 1):
        cell, part = waiting[future]
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            raise error
        if error is not None:
            traceback.print_exception(error)
            result = suite.about(cell) | {"missing": f"failed: {type(error).__name__}: {error}"}
        else:
            result = future.result()
        keep(cell, part, result, asked.results)
        say(f"{done} of {len(waiting)}, {time.monotonic() - started:.0f} s: {cell.id} ({part}): {figures(result)}")


def keep(cell: Cell, part: str, result: dict[str, Any], results: Path) -> None:
    """Write one part of a cell's result beside the other part, where that is of the same code."""
    known = table.read(cell, results) or {}
    if part == "baselines":
        if "missing" in result and "ours" in known:
            return
        # What baselines say does not depend on our detectors: the digest of ours stays with ours.
        result = result | {key: known[key] for key in ("ours", "code", "versions") if key in known and "ours" in known}
    else:
        result = result | {key: known[key] for key in ("baselines", "baselines_code") if key in known}
    write_json(table.path(cell, results), result)


def figures(result: dict[str, Any]) -> str:
    """The key figures of a result in a line."""
    if "missing" in result:
        return f"missing: {result['missing']}"
    if "ours" not in result:
        best = sorted(((v.get("tpr_at_0.001") or 0, k) for k, v in result["baselines"].items()), reverse=True)[:3]
        return "best baselines' TPR at FPR 0.1 %: " + ", ".join(f"{name} {value:.3f}" for value, name in best)
    own = result["ours"]
    ranked = [own[k] for k in ("auroc", "tpr_at_0.001", "precision_at_n")]
    said = "no poison" if ranked[0] is None else "AUROC {:.4f}, TPR at FPR 0.1 % {:.3f}, precision at n {:.3f}".format(*ranked)
    hit = sum(e["found"] for e in own["expected"])
    found = f"found {hit} of {len(own['expected'])}, {own['false_campaigns']} false campaigns, {own['flagged_clean']} clean flagged"
    slow = ", ".join(f"{name} {s:.0f} s" for name, s in list(own["seconds"]["units"].items())[:2])
    return f"{said}; {result['poisons']} poisons; {found}; {own['seconds']['ours']:.0f} s ({slow})"


def obey(code: Callable[[], str]) -> None:
    """Let a worker process die at Ctrl-C without a word, and fix what code it measures before anyone edits it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in ("features", "aggregates", "detectors"):
        units(f"dataaudit.{name}")
    code()


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def main(given: Sequence[str] | None, suite: Suite) -> int:
    """Run and show; 1 where a worker died."""
    asked = arguments(given, suite.NAME)
    wanted = chosen(asked, suite)
    if asked.list:
        print("\n".join(c.id for c in wanted))
        return 0
    died = 0
    work = [] if asked.table else list(todo(wanted, asked, suite))
    if work:
        say(f"{len(wanted)} cells, {len(work)} parts to run, {asked.workers} workers")
        os.environ.update(dict.fromkeys(THREADS, "1"))
        pool = ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn"), obey, (suite.code,))
        try:
            prepare_all(pool, [cell for cell, _ in work], asked.cache, suite)
            run_all(pool, work, asked, suite)
        except BrokenProcessPool as error:
            say(f"a worker died ({error}); finished cells are kept, run the same command again")
            died = 1
        except KeyboardInterrupt:
            say("stopped; finished cells are kept, run the same command again")
            died = 130
        finally:
            stop(pool)
    print(table.write(wanted, asked.results, suite, asked.stale))
    return died


def stop(pool: ProcessPoolExecutor) -> None:
    """End the workers, whatever they are at."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()


def command(suite: Suite) -> None:
    """Run a suite as a program; ended by another process, it ends its workers too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(None, suite))
