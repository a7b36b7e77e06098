"""Documents by the million: sentences of the corpora, drawn at random and put one after another.

The sentences (4 to 40 words) are those of `packages`, `glosses`, `chat` and `instructions`, prompts and responses; a corpus that is not
there is left out, and the folder's name tells by a digest.  A document goes on until it has the number of words that was drawn for it.  It
makes no sense as a whole, but its words, their frequencies and the sentences that many documents share are real.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.model import fingerprint
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import corpora

CORPORA = ("packages", "glosses", "chat", "instructions")
SHARD = 10_000
END = re.compile(r"(?<=[.!?;:])\s+")


def sentences(cache: Path) -> list[str]:
    """Every sentence once, in corpus order."""
    found: dict[str, None] = {}
    for name in CORPORA:
        try:
            corpus = corpora.load(name, None, cache)
        except Missing:
            continue
        for text in (*corpus.contents, *(t for t in corpus.targets if t)):
            found |= {s: None for s in END.split(text) if 4 <= s.count(" ") + 1 <= 40}
    if not found:
        raise Missing(f"none of the corpora {', '.join(CORPORA)} is here")
    return list(found)


def made(number: int, rows: int, known: list[str], words: tuple[int, int]) -> list[str]:
    """The documents of one shard."""
    rng = np.random.default_rng([11, number])
    documents = []
    for length in rng.integers(words[0], words[1] + 1, rows).tolist():
        said: list[str] = []
        have = 0
        while have < length:
            said.append(known[rng.integers(len(known))])
            have += said[-1].count(" ") + 1
        documents.append(" ".join(said))
    return documents


def edited(text: str, share: float, known: list[str], rng: np.random.Generator) -> str:
    """The text with a share of its words replaced by words of other sentences."""
    words = text.split()
    for at in rng.choice(len(words), max(1, round(share * len(words))), replace=False):
        other = known[rng.integers(len(known))].split()
        words[at] = other[rng.integers(len(other))]
    return " ".join(words)


def write(root: Path, count: int, words: tuple[int, int], cache: Path) -> Path:
    """The folder of shards of 10,000 documents; those that are not there yet are written."""
    known = sentences(cache)
    folder = root / f"documents-{count}-{words[0]}-{words[1]}-{fingerprint(len(known), known[0], known[-1])[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, count, SHARD)):
        path = folder / f"{number:04d}.parquet"
        if not path.exists():
            table = pa.table({"text": made(number, min(SHARD, count - start), known, words)})
            pq.write_table(table, path.with_suffix(".new"), row_group_size=1000)
            path.with_suffix(".new").rename(path)
    return folder


def read(folder: Path, rows: int = 4096) -> Iterator[list[str]]:
    """The documents of all shards, in batches."""
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as stored:
            for batch in stored.iter_batches(rows, columns=["text"]):
                yield batch.column(0).to_pylist()
