"""MinHash signatures of texts, 128 values, shingles of five words: INPUT OUT datasketch|rensa|rensa-ready.

datasketch hashes with SHA-1, its default.  `rensa-ready` has the lists of shingles before the clock starts: the permutations alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measuring import tell, timed

WORD = re.compile(r"\w+")
PERMUTATIONS = 128


def shingled(text: str) -> list[str]:
    """A text's runs of five words."""
    found = WORD.findall(text.lower())
    return [" ".join(run) for run in zip(*(found[i:] for i in range(5)), strict=False)]


def datasketchs(texts: list[str]) -> np.ndarray:
    """One set of bytes a text."""
    from datasketch import MinHash

    sets = ({shingle.encode() for shingle in shingled(text)} for text in texts)
    return np.array([made.hashvalues for made in MinHash.generator(sets, num_perm=PERMUTATIONS)], np.uint64)


def rensas(tokens: list[list[str]]) -> np.ndarray:
    """One list of shingles a text."""
    from rensa import RMinHash

    return np.array(RMinHash.digests_from_token_sets(tokens, PERMUTATIONS, 42), np.uint64)


def main(given: str, out: str, name: str) -> None:
    """The texts are in memory before the clock starts."""
    tables = [pq.read_table(path, columns=["text"]) for path in sorted(Path(given).glob("*.parquet"))]
    texts = [text for table in tables for text in table.column(0).to_pylist()]
    ready = [shingled(text) for text in texts] if name == "rensa-ready" else []
    work = {
        "datasketch": lambda: datasketchs(texts),
        "rensa": lambda: np.concatenate([rensas([shingled(t) for t in texts[at : at + 4096]]) for at in range(0, len(texts), 4096)]),
        "rensa-ready": lambda: rensas(ready),
    }[name]
    (datasketchs(texts[:10]) if name == "datasketch" else rensas([shingled(texts[0])]))
    values, cost = timed(work)
    tell(out, cost, signatures=values)


if __name__ == "__main__":
    main(*sys.argv[1:])
