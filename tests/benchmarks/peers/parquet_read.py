"""Pictures and labels from Parquet by pyarrow's iter_batches: INPUT OUT objects|views.

`objects` makes the bytes and the label that a loop over samples needs; `views` stops at Arrow's columns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import digest, tell, timed

ROWS = 1000
COLUMNS = ["image", "label"]


def batches(shards: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """One after the other, in one thread."""
    for shard in shards:
        with pq.ParquetFile(shard) as opened:
            yield from opened.iter_batches(ROWS, columns=COLUMNS, use_threads=False)


def objects(shards: Sequence[str]) -> Iterator[tuple[bytes, str]]:
    """One pair a row."""
    for batch in batches(shards):
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)


def main(given: str, out: str, name: str) -> None:
    """Read twice, measured once; the key is the number of the row in its file."""
    shards = Path(given, "shards.txt").read_text().split("\n")
    pa.set_cpu_count(1)
    next(objects(shards))
    count, cost = timed(lambda: sum(1 for _ in objects(shards)) if name == "objects" else sum(len(b) for b in batches(shards)))
    samples = ((str(row), content, label) for shard in shards for row, (content, label) in enumerate(objects([shard])))
    tell(out, cost, count=count, digest=digest(samples))


if __name__ == "__main__":
    main(*sys.argv[1:])
