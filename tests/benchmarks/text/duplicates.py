"""How many edited copies are found among many documents, beside datasketch's LSH on the same documents in the same run.

    python -m tests.benchmarks.text.duplicates                        200,000 documents, a tenth of them edited copies
    python -m tests.benchmarks.text.duplicates --documents 20000      another number

Nine in ten documents of 100 to 200 words are made of the corpora's sentences (`documents.py`); each of the others is a copy of one of them
with 2 to 10 % of its words replaced.  Both sides read the same file in a process of its own, with 128 permutations, shingles of 5 words and
one thread; seconds and memory are of the whole process.  datasketch has 32 bands of 4 (what 128 values allow) and the same threshold on the
estimated similarity.

*Recall*: the share of copies with a true Jaccard similarity of 0.5 or more that are joined with their original.  *Precision*: the share of
joined pairs (of ours: all pairs within a cluster; at most 100,000, drawn at random) that are copy and original, copies of one original,
or have a true similarity of 0.5 or more; `strict` counts only the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataaudit.aggregates import PART_ROWS
from dataaudit.aggregates.near_duplicates import NearDuplicates, NearDuplicatesState
from dataaudit.aggregates.targets import Targets
from dataaudit.features import Batch
from dataaudit.features.minhash import PERMUTATIONS, Minhash, shingles
from dataaudit.features.table import tabulate
from dataaudit.model import Columns, Plan, Sample
from dataaudit.stages.aggregate import Tally
from dataaudit.store import records
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import documents

WORDS = (100, 200)
COPIES = 0.1
EDITS = (0.02, 0.10)
MOST_PAIRS = 100_000
LARGEST = 50
UNIT = NearDuplicates()
Pairs = NDArray[np.int64]


def plant(root: Path, count: int, cache: Path) -> tuple[Path, NDArray[np.int64]]:
    """A folder of documents, copies last, and the original of each copy."""
    honest = round(count * (1 - COPIES))
    known = documents.sentences(cache)
    texts = [text for batch in documents.read(documents.write(root, honest, WORDS, cache)) for text in batch]
    rng = np.random.default_rng(12)
    originals = rng.choice(honest, count - honest, replace=False)
    texts += [documents.edited(texts[i], rng.uniform(*EDITS), known, rng) for i in originals.tolist()]
    folder = root / f"duplicates-{count}"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": texts}), folder / "all.parquet", row_group_size=4096)
    return folder, originals


def ours(folder: Path, scratch: Path) -> Pairs:
    """The feature, the aggregate's parts on disk, and the pairs within clusters, as a scan does it."""
    plan = Plan("text", Columns("text"), "none", "hashed", "17" * 16)
    views = {"plan": plan}
    pending, ranks, done = Tally(UNIT), [], 0
    for number, texts in enumerate(documents.read(folder), 1):
        batch = Batch([Sample("", "", text, None, 0, 0) for text in texts], plan)
        table = tabulate(batch, {"minhash": Minhash()})
        if number == 1:
            views["targets"] = Targets().finish(Targets().start(table, views), views)
        ranks.append(table.select(["rank"]))
        pending.add(UNIT.start(table, views))
        done += len(texts)
        if done >= PART_ROWS:
            records.save(pending.taken(), scratch / f"{number:06d}.npz")
            done = 0
    if pending:
        records.save(pending.taken(), scratch / "last.npz")
    parts = records.MappedParts(NearDuplicatesState, tuple(sorted(scratch.glob("*.npz"))))
    started = time.perf_counter()
    view = UNIT.finish_parts(parts, views)
    print(f"ours: joined in {time.perf_counter() - started:.1f} s, largest clusters {view.size[:5].tolist()}", file=sys.stderr)
    place = view.place(pa.concat_tables(ranks))
    rows = np.flatnonzero(place >= 0)
    rows = rows[np.argsort(view.cluster[place[rows]], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(view.cluster[place[rows]])) + 1)
    pairs = [pair for g in groups if len(g) for pair in combinations(np.sort(g)[:LARGEST].tolist(), 2)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def datasketchs(folder: Path, _: Path) -> Pairs:
    """datasketch's LSH: every text put in, every text asked for, candidates verified by the estimate."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=PERMUTATIONS, params=(32, 4))
    feature = Minhash()
    kept: list[MinHash] = []
    for texts in documents.read(folder):
        sets = (shingles(text, feature.words, feature.short, feature.characters) for text in texts)
        for signature in MinHash.generator(sets, num_perm=PERMUTATIONS):
            index.insert(len(kept), signature, check_duplication=False)
            kept.append(signature)
    least = UNIT.jaccard - UNIT.error
    pairs = [(i, j) for i, signature in enumerate(kept) for j in index.query(signature) if i < j and signature.jaccard(kept[j]) >= least]
    return np.array(pairs, np.int64).reshape(-1, 2)


CONTENDERS = {"dataaudit": ours, "datasketch": datasketchs}


def run(name: str, folder: Path, out: Path) -> None:
    """One contender in this process."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pairs = CONTENDERS[name](folder, Path(scratch))
    # The kernel's ru_maxrss would be that of the process which started this one.
    highest = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    told = [time.perf_counter() - started, time.process_time(), int(highest[1]) * 1024 if highest else 0]
    np.savez(out, pairs=pairs, told=np.array(told))


def judged(pairs: Pairs, texts: Sequence[str], origin: NDArray[np.int64], copied: NDArray[np.bool_]) -> dict[str, float]:
    """Recall over copies whose true similarity is 0.5 or more; precision over the pairs."""
    found = {(a, b) for a, b in np.sort(pairs, axis=1).tolist()}
    hit = [(int(origin[i]), i) in found for i in np.flatnonzero(copied).tolist()]
    alike = [similarity(texts[i], texts[origin[i]]) for i in np.flatnonzero(copied).tolist()]
    near = np.array(alike) >= UNIT.jaccard
    drawn = np.random.default_rng(13).permutation(np.array(sorted(found), np.int64).reshape(-1, 2))[:MOST_PAIRS]
    strict = np.array([similarity(texts[a], texts[b]) >= UNIT.jaccard for a, b in drawn.tolist()], bool)
    planted = origin[drawn[:, 0]] == origin[drawn[:, 1]]
    return {
        "copies_at_0.5": int(near.sum()),
        "recall": round(float(np.mean(np.array(hit)[near])), 4),
        "recall_of_all_copies": round(float(np.mean(hit)), 4),
        "pairs": len(found),
        "precision": round(float(np.mean(strict | planted)), 4),
        "strict": round(float(np.mean(strict)), 4),
    }


def similarity(one: str, other: str) -> float:
    """The Jaccard similarity of the shingle sets."""
    a, b = (shingles(text, 5, 40, 5) for text in (one, other))
    return len(a & b) / max(1, len(a | b))


def main(given: Sequence[str] | None = None) -> None:
    """Write, run every contender in a process of its own, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--only", choices=list(CONTENDERS), nargs="+", default=list(CONTENDERS))
    parser.add_argument("--run", nargs=3, metavar=("CONTENDER", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    asked = parser.parse_args(given)
    if asked.run:
        return run(asked.run[0], Path(asked.run[1]), Path(asked.run[2]))
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    try:
        folder, originals = plant(cache / "scale-text", asked.documents, cache)
    except Missing as missing:
        raise SystemExit(f"missing: {missing}") from missing
    texts = [text for batch in documents.read(folder) for text in batch]
    honest = len(texts) - len(originals)
    origin, copied = np.r_[np.arange(honest), originals], np.arange(len(texts)) >= honest
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    for name in asked.only:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            out = f"{scratch}/found.npz"
            command = [sys.executable, "-m", "tests.benchmarks.text.duplicates", "--run", name, str(folder), out]
            subprocess.run(command, check=True, env=os.environ | single)
            with np.load(out) as stored:
                pairs, (seconds, cpu, memory) = stored["pairs"], stored["told"].tolist()
        cost = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "memory_gb": round(memory / 1e9, 2)}
        told = {"documents": len(texts), "by": name, **judged(pairs, texts, origin, copied), **cost}
        print(json.dumps(told), flush=True)
    return None


if __name__ == "__main__":
    main()
