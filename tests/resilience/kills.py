"""Random kills: workers, the scanning client and the scheduler die at random times, and the report is the same in the end."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.resilience.cluster import Cluster
from tests.resilience.scans import LONGEST, Data, command, difference, environment, left_behind, losses, markers, scanned

Record = dict[str, object]
NOT_RUN = ("not run:", "the workers that tried it died")
"""How a scan says that Dask gave a shard, or a later piece of work, up after too many deaths."""
MOST_RUNS = 5


def killed_workers(data: Data, straight: dict[str, object], folder: Path, kills: int, seed: int, mean: float = 4.0) -> Record:
    """One scan, during which random workers die at random times, up to `kills` of them; given again where Dask gave something up."""
    rng = random.Random(seed)
    out, started = folder / "audit", time.monotonic()
    done = runs = given_up = 0
    with Cluster(folder / "cluster") as cluster:
        while True:
            runs += 1
            code, said, more = _disturbed(cluster, command(data, out, "--scheduler", cluster.address), rng, kills - done, mean)
            done += more
            if not _incomplete(out, code, said) or runs == MOST_RUNS:
                break
            given_up += 1
            cluster.ready()
    failure = f"ended with {code}: {said[-1500:]}" if code != 1 else losses(data, out) or difference(straight, out)
    return {
        "kills": done,
        "runs": runs,
        "given_up": given_up,
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "samples": len(data.keys),
        "left_behind": left_behind(out),
        "failure": failure,
    }


def _disturbed(cluster: Cluster, asked: list[str], rng: random.Random, kills: int, mean: float) -> tuple[int, str, int]:
    """Run a command and kill workers meanwhile: exit code, what it said, and how many died."""
    done, deadline = 0, time.monotonic() + LONGEST
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    try:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                process.wait(rng.expovariate(1 / mean))
            except subprocess.TimeoutExpired:
                if done < kills:
                    cluster.kill_worker(rng.randrange(len(cluster.workers)))
                    done += 1
        said, _ = process.communicate(timeout=1)
    except subprocess.TimeoutExpired:
        said = f"still running after {LONGEST:.0f} s"
    finally:
        process.kill()
        process.wait()
    return process.returncode, said, done


def _incomplete(out: Path, code: int, said: str) -> bool:
    """Whether work was given up, and the scan or its report says so: the one thing that the same command must mend."""
    if code not in (1, 2):
        return False
    if (out / "audit.json").exists():
        import pyarrow.parquet as pq

        said = "\n".join(map(str, pq.read_table(out / "skipped.parquet").column("reason").to_pylist()))
    return any(words in said for words in NOT_RUN)


def killed_client(data: Data, straight: dict[str, object], folder: Path, kills: int, seed: int) -> Record:
    """The scanning process itself is killed, several times over; what it had finished stays finished."""
    return _interrupted(data, straight, folder, kills, seed, lambda cluster, process: process.kill())


def killed_scheduler(data: Data, straight: dict[str, object], folder: Path, kills: int, seed: int) -> Record:
    """The scheduler dies under a scan, which must then end by itself and say so; the same command goes on with the next one."""
    return _interrupted(data, straight, folder, kills, seed, lambda cluster, process: cluster.kill_scheduler())


def _interrupted(
    data: Data,
    straight: dict[str, object],
    folder: Path,
    kills: int,
    seed: int,
    interrupt: Callable[[Cluster, subprocess.Popen[str]], None],
) -> Record:
    """Interrupt one audit `kills` times, half of them while shards are read, then let it end."""
    rng, started = random.Random(seed), time.monotonic()
    out, finished, failures, endings, done = folder / "audit", {}, [], [], 0
    with Cluster(folder / "cluster") as cluster:
        asked = command(data, out, "--scheduler", cluster.address)
        for number in range(kills):
            process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
            try:
                wanted = rng.randrange(data.shards) if number % 2 == 0 else data.shards
                _wait_for(process, out, wanted, rng.uniform(0, 1 if wanted < data.shards else 8))
                if process.poll() is not None:
                    break  # it was quicker
                before = {**finished, **markers(out)}
                interrupt(cluster, process)
                done += 1
                endings.append(_ending(process))
                if endings[-1]["code"] == 1:
                    failures.append(losses(data, out) or difference(straight, out))
            finally:
                process.kill()
                process.wait()
            if {name: markers(out).get(name) for name in before} != before:
                failures.append("a finished shard was extracted again")
            finished = before
            cluster.ready()
        last = scanned(data, out, "--scheduler", cluster.address)
    if {name: markers(out).get(name) for name in finished} != finished:
        failures.append("a finished shard was extracted again")
    if last.returncode != 1:
        failures.append(f"the last run ended with {last.returncode}: {last.stderr[-1500:]}")
    failures += [e["failure"] for e in endings if e["failure"]]
    failures += filter(None, [losses(data, out), difference(straight, out)]) if last.returncode == 1 else []
    return {
        "kills": done,
        "seed": seed,
        "endings": endings,
        "finished_before": len(finished),
        "seconds": round(time.monotonic() - started, 1),
        "left_behind": left_behind(out),
        "failure": "; ".join(filter(None, failures)),
    }


def _wait_for(process: subprocess.Popen[str], out: Path, wanted: int, then: float) -> None:
    """Until so many shards are finished and some seconds more have passed, or the process ends."""
    deadline = time.monotonic() + LONGEST
    while len(markers(out)) < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + then
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _ending(process: subprocess.Popen[str], patience: float = 180.0) -> dict[str, object]:
    """How an interrupted scan ended: by the kill itself, or by itself with exit code 2 and one line that says why.

    Where the scheduler was back before it was missed, between two pieces of work, the scan may also just conclude.
    """
    began = time.monotonic()
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return {"code": None, "said": "", "failure": f"it still ran {patience:.0f} s after the scheduler was gone"}
    failure = ""
    clear = process.returncode == 1 or (process.returncode == 2 and "dataaudit: " in said and "Traceback" not in said)
    if process.returncode >= 0 and not clear:
        failure = f"it ended with {process.returncode} and no clear message: {said[-1500:]}"
    return {"code": process.returncode, "said": said[-300:], "after": round(time.monotonic() - began, 1), "failure": failure}


def cleared(folder: Path) -> Path:
    """A folder of its own for a piece of work, without what an earlier attempt left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
