"""What this project does in each row, as a process of its own: `python -m tests.benchmarks.scale.ours ROW INPUT OUT [SETTING...]`.

Compiled code is made before the clock starts, except where the setting is `cold`.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataaudit import sources
from dataaudit.aggregates import Aggregate, knn_graph
from dataaudit.features import Batch, embedding
from dataaudit.features.decode import Limits, decode, decode_image
from dataaudit.features.minhash import Minhash
from dataaudit.features.phash import Phash
from dataaudit.model import Columns, Plan, Sample, Shard
from tests.benchmarks.peers.measuring import Cost, beside, digest, highest, tell, timed
from tests.benchmarks.scale.vectors import K

BATCH = 128
ROWS = 4096
IMAGES = Plan("labelled-images", Columns("image", "label"), "label", "efficientnet-lite2", "17" * 16)
TEXTS = Plan("text", Columns("text"), "none", "hashed", "17" * 16)
TINY = 1000
T = TypeVar("T")


def shards(folder: Path) -> list[Shard]:
    """The files that a folder names, as often as it names them."""
    named = (folder / "shards.txt").read_text().split("\n")
    known = {path: sources.inventory([path]).shards[0] for path in dict.fromkeys(named)}
    return [known[path] for path in named]


def samples(given: Sequence[Shard], columns: Columns) -> Iterator[Sample]:
    """Everything that can be read."""
    for shard in given:
        yield from (item for item in sources.read(shard, columns) if isinstance(item, Sample))


def reading(columns: Columns) -> Callable[[Path, Path], None]:
    """Count the samples, then digest them in a second pass; the reader's own SHA-256 of the shard is within what is measured."""

    def read(folder: Path, out: Path) -> None:
        given = shards(folder)
        next(samples(given, columns))
        count, cost = timed(lambda: sum(isinstance(item, Sample) for shard in given for item in sources.read(shard, columns)))
        tell(out, cost, count=count, digest=digest(map(said, samples(given, columns))))

    return read


def said(sample: Sample) -> tuple[str, bytes, str]:
    """What is compared of a sample."""
    return sample.key, sample.content if isinstance(sample.content, bytes) else b"", sample.target or ""


def pictures(folder: Path) -> list[bytes]:
    """In memory, before the clock starts."""
    found: list[bytes] = pq.read_table(folder / "pictures.parquet", columns=["image"]).column(0).to_pylist()
    return found


def hashes(folder: Path, out: Path) -> None:
    """Decoded and hashed in batches, as the extract stage does it."""
    given = [Sample("", "", content, None, 0, 0) for content in pictures(folder)]

    def work(some: Sequence[Sample]) -> pa.ChunkedArray:
        parts = (decode(some[at : at + BATCH], IMAGES)[0] for at in range(0, len(some), BATCH))
        return pa.chunked_array([Phash().compute(batch) for batch in parts])

    work(given[:BATCH])
    found, cost = timed(lambda: work(given))
    tell(out, cost, hashes=np.asarray(found, np.uint64))


def jpegs(folder: Path, out: Path) -> None:
    """What is measured keeps no picture; a second pass makes the pixels' digest."""
    given, limits = pictures(folder), Limits()
    decode_image(given[0], limits)
    _, cost = timed(lambda: sum(len(decode_image(content, limits)) for content in given))
    whole = hashlib.sha256()
    for content in given:
        whole.update(np.asarray(decode_image(content, limits)).tobytes())
    tell(out, cost, digest=whole.hexdigest())


def graph(folder: Path, out: Path, state: str = "warm", *probes: str) -> None:
    """The graph of points as they are stored, with the effort that an audit makes, or with other numbers of probes."""
    points = np.load(folder / "points.npy")
    if state == "warm":
        compile_graph(points)
    efforts = {beside(out, number): knn_graph.Effort(probes=int(number)) for number in probes} or {out: knn_graph.Effort()}
    for path, effort in efforts.items():
        (_, near), cost = timed(partial(knn_graph.graph, points, K, effort))
        tell(path, cost, near=near)


def compile_graph(points: NDArray[np.int16]) -> None:
    """By as few points as have neighbours."""
    knn_graph.graph(points[:2000], K)


def scores(folder: Path, out: Path) -> None:
    """Labels, outliers and the nearest neighbour: aggregates of batches, merged, and the detectors' scores of every row."""
    from dataaudit.features.table import ranks

    points, labels = np.load(folder / "points.npy"), np.load(folder / "labels.npy")
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in points]
    plan = Plan("vectors", Columns(None, "label", embedding="vector"), "label", "none", "17" * 16)
    targets = [str(label) for label in labels.tolist()]
    order = ranks([Sample("", "", None, target, 0, 0) for target in targets], digests, plan)
    columns = {
        "key": pa.array([str(i) for i in range(len(points))]),
        "target": pa.array(targets),
        "digest": pa.array(digests),
        "rank": pa.array(order, pa.uint64()),
        "embedding": embedding.to_column(points),
    }
    table = pa.table(columns)
    compile_graph(points)
    judged(table.slice(0, 2000), plan)
    (label, outlier, nearest), cost = timed(lambda: judged(table, plan))
    tell(out, cost, label=label, outlier=outlier, near_duplicate=-nearest)


def judged(table: pa.Table, plan: Plan) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The label's and the outlier's score of every row, and the distance to its nearest neighbour."""
    from dataaudit.aggregates.knn import Knn
    from dataaudit.aggregates.moments import Moments
    from dataaudit.aggregates.targets import Targets
    from dataaudit.detectors.label_consistency import LabelConsistency
    from dataaudit.detectors.outlier import Outlier
    from dataaudit.stages.aggregate import Tally

    views: dict[str, Any] = {"plan": plan}
    batches = [table.slice(at, ROWS) for at in range(0, len(table), ROWS)]
    aggregates: dict[str, Aggregate] = {"targets": Targets(), "moments": Moments(), "knn": Knn()}
    for name, unit in aggregates.items():
        tally = Tally(unit)
        for batch in batches:
            tally.add(unit.start(batch, views))
        views[name] = unit.finish(tally.taken(), views)
    found = [
        (LabelConsistency().score(b, views).score, Outlier().score(b, views).score, views["knn"].neighbours(b, 1)[0][:, 0]) for b in batches
    ]
    label, outlier, nearest = (np.concatenate(part) for part in zip(*found, strict=True))
    return label, outlier, nearest


def signatures(folder: Path, out: Path) -> None:
    """The feature of texts in memory, a batch at a time."""
    tables = [pq.read_table(path, columns=["text"]) for path in sorted(folder.glob("*.parquet"))]
    texts = list(chain.from_iterable(table.column(0).to_pylist() for table in tables))
    batches = [Batch([Sample("", "", t, None, 0, 0) for t in texts[at : at + ROWS]], TEXTS) for at in range(0, len(texts), ROWS)]
    Minhash().compute(Batch(batches[0].samples[:10], TEXTS))
    found, cost = timed(lambda: [Minhash().compute(batch) for batch in batches])
    tell(out, cost, signatures=np.concatenate([np.asarray(part.flatten()).reshape(len(part), -1) for part in found]))


def read_shard(shard: Shard) -> int:
    """One shard's number of samples."""
    return sum(1 for _ in samples([shard], Columns("jpg", "cls")))


def tiny(number: int) -> int:
    """As good as no work."""
    return number + 1


def dask(folder: Path, out: Path) -> None:
    """Two workers are started, do a thousand tiny tasks, and read ten shards; seconds of all processes."""
    from dataaudit.engine import distributed

    given = shards(folder)
    engine, cost = with_children(lambda: distributed.local(2))
    with engine:
        tell(beside(out, "start"), cost)
        done, cost = with_children(lambda: sum(1 for _ in engine.map(tiny, range(TINY))))
        tell(beside(out, "1000 tiny tasks"), cost, count=done)
        for setting in ("ten shards", "ten shards again"):
            read, cost = with_children(lambda: sum(int(str(found)) for _, found in engine.map(read_shard, given)))
            tell(beside(out, setting), cost, count=read)


def with_children(work: Callable[[], T]) -> tuple[T, Cost]:
    """As `timed`, with children that are still running, and the memory of all together at the end."""
    before = spent_by_all()
    done, cost = timed(work)
    held = highest() + sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    return done, Cost(cost.wall, spent_by_all() - before, held)


def spent_by_all() -> float:
    """Processor seconds of this process and those below it."""
    every = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return float(sum(times.user + times.system for times in (one.cpu_times() for one in every)))


ROWS_OF_OURS: dict[str, Callable[..., None]] = {
    "tar": reading(Columns("jpg", "cls")),
    "image-hash": hashes,
    "jpeg": jpegs,
    "knn": graph,
    "datalab": scores,
    "signatures": signatures,
    "parquet": reading(Columns("image", "label")),
    "dask": dask,
}


def main(row: str, folder: str, out: str, *settings: str) -> None:
    """One row."""
    ROWS_OF_OURS[row](Path(folder), Path(out), *settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
