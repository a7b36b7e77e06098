"""The feature tables of images, as the extract stage would write them.

The features of clean images are computed once (`prepare`) and read from memory-mapped files of 1,000 rows each; those of
changed images are computed anew.  `tests.benchmarks.captions` reads the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit import features
from dataaudit.features import Batch
from dataaudit.features.table import available, content_digest, ranks
from dataaudit.model import Columns, Plan, Sample, fingerprint
from dataaudit.store.records import atomic
from tests.benchmarks.images.datasets import Images, Pixels

CHUNK = 1000
ROWS = 4096
ENCODER = "efficientnet-lite2"
SLOW = "embedding"


def plan_for(seed: int) -> Plan:
    """The plan of an audit of such data; the seed is the salt."""
    return Plan("labelled-images", Columns("png", "cls"), "label", ENCODER, f"{seed:032x}")


def tabulated(shown: Sequence[Pixels], plan: Plan, only: Sequence[str] | None = None) -> pa.Table:
    """Digest and features of images."""
    samples = [Sample("", "", image.tobytes(), None, 0, 0) for image in shown]
    batch = Batch(samples, plan, shown)
    known = {name: f for name, f in available(plan.modality).items() if only is None or name in only}
    columns = {"digest": pa.array([content_digest(s) for s in samples], pa.string())}
    return pa.table(columns | {name: feature.compute(batch) for name, feature in known.items()})


def replaced(part: pa.Table, at: int, rows: NDArray[np.intp], fresh: pa.Table) -> pa.Table:
    """Rows `at` and on of a table, with those of the ascending `rows` (of the whole) taken from `fresh`, which has one row for each."""
    low, high = np.searchsorted(rows, (at, at + len(part)))
    if high > low:
        place = np.arange(len(part))
        place[rows[low:high] - at] = len(part) + np.arange(high - low)
        part = pa.concat_tables([part, fresh.slice(low, high - low).select(part.column_names)]).combine_chunks().take(pa.array(place))
    return part.combine_chunks()


def labelled(part: pa.Table, targets: Sequence[str], at: int, plan: Plan) -> pa.Table:
    """A batch of features with the columns that depend on the target or the place."""
    said = [Sample("", "", None, target, 0, 0) for target in targets]
    rank = ranks(said, part.column("digest").to_pylist(), plan)
    part = part.append_column("key", pa.array([str(at + i) for i in range(len(targets))]))
    return part.append_column("target", pa.array(list(targets), pa.string())).append_column("rank", pa.array(rank, pa.uint64()))


def clean_table(images: Images, cache: Path) -> pa.Table:
    """Digest and features of the clean images, memory-mapped; what was not prepared is computed now."""
    tables = []
    for number in range(chunks(images)):
        slow, quick = (mapped(path) for path in prepare(images, number, cache))
        tables.append(quick.append_column(SLOW, slow.column(SLOW)))
    return pa.concat_tables(tables).slice(0, len(images.labels))


def chunks(images: Images) -> int:
    """How many files the features of these images take."""
    return -(-len(images.labels) // CHUNK)


def chunk_rows(images: Images, number: int) -> range:
    """The rows of one chunk: 1,000; only a part of the data set that ends within one has a last chunk of its own."""
    return range(number * CHUNK, min((number + 1) * CHUNK, len(images.labels)))


def chunk_paths(images: Images, number: int, cache: Path) -> tuple[Path, Path]:
    """Where one chunk's features lie: the embedding, and all others."""
    root = cache / "features" / f"{images.name}-{images.version}"
    rows = chunk_rows(images, number)
    said = f"{rows.start:06d}-{rows.stop:06d}"
    return root / f"{said}-{SLOW}-{embedding_code()}.arrow", root / f"{said}-quick-{quick_code()}.arrow"


def prepare(images: Images, number: int, cache: Path) -> tuple[Path, Path]:
    """Compute one chunk's features where they are not there yet; where they lie."""
    paths = chunk_paths(images, number, cache)
    if not all(path.exists() for path in paths):
        plan = plan_for(0)
        shown = [images.shown(np.asarray(images.pixels[i])) for i in chunk_rows(images, number)]
        for path, only in zip(paths, ((SLOW,), [n for n in available(plan.modality) if n != SLOW]), strict=True):
            if not path.exists():
                write(tabulated(shown, plan, only), path)
    return paths


@lru_cache(maxsize=1)
def embedding_code() -> str:
    """A digest of the code that makes an embedding: other features may change without making it anew."""
    root = Path(features.__path__[0])
    return fingerprint(ENCODER, *((root / name).read_text() for name in ("embedding.py", "encoders/image.py", "decode.py")))


@lru_cache(maxsize=1)
def quick_code() -> str:
    """A digest of the code that makes all other features of images: those of texts may change without making them anew."""
    names = ("__init__", "table", "decode", *(name for name in available("labelled-images") if name != SLOW))
    return fingerprint(*((Path(features.__path__[0]) / f"{name}.py").read_text() for name in names))


def write(table: pa.Table, path: Path) -> None:
    """Keep a table as an Arrow file, all or nothing."""
    with atomic(path) as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def mapped(path: Path) -> pa.Table:
    """A kept table, memory-mapped."""
    with pa.memory_map(str(path)) as opened, pa.ipc.open_file(opened) as reader:
        return reader.read_all()
