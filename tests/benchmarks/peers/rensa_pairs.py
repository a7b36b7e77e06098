"""rensa's full-set R-MinHash and LSH, end to end: FOLDER OUT LEAST.  Runs in the peers' environment, one thread.

Words in lower case, shingles of five of them, 128 values, 32 bands of four; every text is asked for, and what is proposed is verified by
the estimated similarity, as the others are.
"""

import re
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rensa import RMinHash, RMinHashLSH

WORD = re.compile(r"\w+")


def shingled(text: str) -> list[str]:
    """A text's runs of five words."""
    found = WORD.findall(text.lower())
    return [" ".join(run) for run in zip(*(found[i:] for i in range(5)), strict=False)]


def main(folder: str, out: str, least: float) -> None:
    """Read, sketch, index, ask, verify."""
    started = time.perf_counter()
    sketches = []
    for path in sorted(Path(folder).glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["text"]):
            sketches += RMinHash.from_token_sets([shingled(text) for text in batch.column(0).to_pylist()], 128, 42)
    index = RMinHashLSH(0.5, 128, 32)
    index.insert_many(sketches)
    pairs = []
    for start in range(0, len(sketches), 4096):
        for at, found in enumerate(index.query_all(sketches[start : start + 4096]), start):
            pairs += [(at, other) for other in found if other > at and sketches[at].jaccard(sketches[other]) >= least]
    highest = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    told = [time.perf_counter() - started, time.process_time(), int(highest[1]) * 1024 if highest else 0]
    np.savez(out, pairs=np.array(pairs, np.int64).reshape(-1, 2), told=np.array(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
