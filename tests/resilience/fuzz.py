"""Fuzzing: atheris guides it by coverage where it is installed, random mutation of whole files does without.

    python -m tests.resilience.fuzz tar FOLDER --executions 10000 --seconds 60
    python -m tests.resilience.fuzz tar FOLDER --input FILE          one saved input again

`run` starts this in a process of its own, with a limit to memory and to the time of one input; an input that breaks a limit, crashes
the process or makes a reader break its word is kept.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.resilience.scans import ROOT, environment

Record = dict[str, object]
MEMORY = 2 << 30
LONGEST = 10
"""Seconds for one input."""
NOTED = 256
"""How often, in executions, the mutating fuzzer looks at the clock and at its memory."""


def run(name: str, folder: Path, executions: int, seconds: int, seed: int, engine: str = "") -> Record:
    """Fuzz one reader; `failure` says what was found, and the input lies in the folder."""
    engine = engine or ("atheris" if importlib.util.find_spec("atheris") else "mutation")
    folder.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "tests.resilience.fuzz", name, str(folder), "--engine", engine, "--seed", str(seed)]
    asked += ["--executions", str(executions), "--seconds", str(seconds)]
    started = time.monotonic()
    with (folder / "log").open("wb") as log:
        done = subprocess.run(asked, stdout=log, stderr=log, cwd=ROOT, env=environment(), timeout=seconds + 240)
    said = (folder / "log").read_text(errors="replace")
    took = round(time.monotonic() - started, 1)
    saved = [p.name for p in folder.iterdir() if p.name.startswith(("crash-", "timeout-", "oom-"))]
    failed = f"ended with {done.returncode}, inputs {saved}: {said[-1500:]}" if done.returncode or saved else ""
    return {"engine": engine, "seed": seed, "target": executions, "seconds": took, **figures(said), "inputs": saved, "failure": failed}


def figures(said: str) -> Record:
    """Executions and peak memory (MB), of either engine, from the log."""
    ran = [int(n) for n in re.findall(r"^#(\d+)\t|number_of_executed_units: +(\d+)", said, re.M) for n in n if n]
    peak = [int(n) for n in re.findall(r"peak_rss_mb: +(\d+)|rss: (\d+)Mb", said) for n in n if n]
    return {"executions": max(ran, default=0), "peak_mb": max(peak, default=0)}


def by_coverage(target: Any, name: str, asked: argparse.Namespace) -> None:
    """Let libFuzzer do it; it does not return."""
    import atheris

    corpus = asked.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    options = {
        "runs": asked.executions,
        "max_total_time": asked.seconds,
        "seed": asked.seed,
        "timeout": LONGEST,
        "rss_limit_mb": MEMORY >> 20,
        "max_len": target.longest,
        "print_final_stats": 1,
        "artifact_prefix": f"{asked.folder}/",
    }
    seeds = write_seeds(name, asked.folder / "seeds")
    atheris.Setup([name, *(f"-{k}={v}" for k, v in options.items()), str(corpus), str(seeds)], target.check)
    atheris.Fuzz()


def by_mutation(check: Callable[[bytes], None], seeds: list[bytes], longest: int, asked: argparse.Namespace) -> None:
    """Change whole files at random; the input under test always lies in the folder, so that it is there after a crash."""
    rng, current = random.Random(asked.seed), asked.folder / "crash-current"
    began, done = time.monotonic(), 0
    while done < asked.executions and time.monotonic() - began < asked.seconds:
        data = mutated(rng, seeds)[:longest]
        current.write_bytes(data)
        if done % NOTED == 0:
            faulthandler.dump_traceback_later(LONGEST + NOTED / 20, exit=True)
        check(data)
        done += 1
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY >> 10:
            raise MemoryError(f"more than {MEMORY >> 20} MB")
    faulthandler.cancel_dump_traceback_later()
    current.unlink(missing_ok=True)
    print(f"stat::number_of_executed_units: {done}\nstat::peak_rss_mb: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}")


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with some bytes changed, taken out, put in, repeated, or exchanged for those of another seed."""
    out = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, span = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + span] = rng.randbytes(span)
            case 2:
                del out[at : at + span]
            case 3:
                out[at:at] = out[at : at + span] * rng.choice((1, 2, 100))
            case 4:
                out[at : at + span] = rng.choice((b"\0", b"\xff", b"\x7f", b"9", b"-")) * span
            case _:
                other = rng.choice(seeds)
                start = rng.randrange(len(other))
                out[at : at + span] = other[start : start + span]
    return bytes(out)


def main() -> None:
    """One fuzzer in this process."""
    parser = argparse.ArgumentParser(prog="tests.resilience.fuzz", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="mutation", choices=["atheris", "mutation"])
    parser.add_argument("--input", type=Path, help="only this file")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.engine == "atheris" and not asked.input:
        import atheris

        with atheris.instrument_imports(include=MODULES[asked.name], exclude=COMPILED):
            target = load(asked.name)
        by_coverage(target, asked.name, asked)
    target = load(asked.name)
    if asked.input:
        target.check(asked.input.read_bytes())
        return
    by_mutation(target.check, target.seeds(), target.longest, asked)


MODULES = {
    "tar": ["dataaudit.sources", "tarfile"],
    "parquet": ["dataaudit.sources"],
    "jsonl": ["dataaudit.sources", "json"],
    "npy": ["dataaudit.sources"],
    "image": ["dataaudit.features.decode", "PIL"],
}
"""The readers, and the modules whose branches guide the fuzzer."""
COMPILED = ["dataaudit.sources.plain"]
"""Left as they are: numba does not compile what atheris has changed."""


def load(name: str) -> Any:
    """A target, imported late so that its modules can be instrumented, and with readers that find its bytes in memory."""
    from dataaudit.sources import folder, jsonl, parquet, tar  # noqa: F401 - or they would be imported, bare, at the first input
    from tests.resilience import fuzz_targets

    fuzz_targets.from_memory()
    return fuzz_targets.TARGETS[name]


def write_seeds(name: str, folder: Path) -> Path:
    """The target's seeds as files."""
    from tests.resilience import fuzz_targets

    return fuzz_targets.write_seeds(name, folder)


if __name__ == "__main__":
    main()
