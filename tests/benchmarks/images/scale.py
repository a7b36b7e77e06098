"""How fast pictures are audited apart from the encoder, and whether memory grows with their number.

    python -m tests.benchmarks.images.scale                     50,000 and 500,000 pictures
    python -m tests.benchmarks.images.scale --images 20000      other numbers

The pictures are CIFAR-10's ($DATAAUDIT_BENCH_DATA), cropped and mirrored at random; each has its original's embedding with a little
noise.  They lie in Parquet shards of 10,000, encoded as PNG, and `dataaudit scan --embedding` audits them in processes of its own, whose
resident memory is read twice a second: the sum over all of them, and the largest.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from dataaudit.features import embedding
from tests.benchmarks.images import datasets, feature_tables
from tests.benchmarks.suite import Missing

SHARD = 10_000
DATAAUDIT = str(Path(sys.executable).with_name("dataaudit"))


def shard(number: int, rows: int, images: datasets.Images, vectors: NDArray[np.float32]) -> pa.Table:
    """Some pictures, their labels and embeddings."""
    rng = np.random.default_rng([7, number])
    chosen = rng.integers(0, len(images.labels), rows)
    noisy = vectors[chosen] + rng.normal(scale=0.1 / np.sqrt(vectors.shape[1]), size=(rows, vectors.shape[1]))
    encoded = []
    for at in chosen.tolist():
        top, left = rng.integers(0, 9, 2)
        picture = np.pad(images.pixels[at], ((4, 4), (4, 4), (0, 0)), mode="reflect")[top : top + 32, left : left + 32]
        out = io.BytesIO()
        Image.fromarray(picture[:, :: rng.choice((-1, 1))]).save(out, format="PNG", compress_level=1)
        encoded.append(out.getvalue())
    flat = pa.array(noisy.astype(np.float32).reshape(-1))
    columns = {
        "image": pa.array(encoded, pa.binary()),
        "label": pa.array([images.names[i] for i in images.labels[chosen]]),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    return pa.table(columns)


def write(root: Path, count: int, cache: Path) -> None:
    """The shards that are not there yet."""
    root.mkdir(parents=True, exist_ok=True)
    images = datasets.load("cifar10", 50_000, cache)
    vectors = embedding.unit(feature_tables.clean_table(images, cache))
    for number, start in enumerate(range(0, count, SHARD)):
        path = root / f"{number:04d}.parquet"
        if not path.exists():
            pq.write_table(shard(number, min(SHARD, count - start), images, vectors), path.with_suffix(".new"), row_group_size=1000)
            path.with_suffix(".new").rename(path)


def watched(command: Sequence[str]) -> tuple[float, int, int]:
    """Seconds, and the largest resident memory of all processes together and of one, in bytes."""
    started, together, single = time.perf_counter(), 0, 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        sizes = []
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            try:
                sizes.append(one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        together, single = max(together, sum(sizes)), max([single, *sizes])
        time.sleep(0.5)
    if process.returncode not in (0, 1):
        raise SystemExit(f"the scan failed with {process.returncode}")
    return time.perf_counter() - started, together, single


def main(given: Sequence[str] | None = None) -> None:
    """Write, scan and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--data", type=Path, help="where the shards are kept (default: scale/ in the cache)")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args(given)
    cache = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    for count in asked.images:
        root = (asked.data or cache / "scale") / str(count)
        try:
            write(root, count, cache)
        except Missing as missing:
            raise SystemExit(f"missing: {missing}") from missing
        with tempfile.TemporaryDirectory(dir=root.parent) as out:
            options = ["--content", "image", "--target", "label", "--embedding", "vector", "--out", f"{out}/audit", "--fail-on", "critical"]
            options += ["--workers", str(asked.workers), "--seed", "1"]
            seconds, together, single = watched([DATAAUDIT, "scan", f"{root}/*.parquet", *options])
            audit = json.loads(Path(out, "audit", "audit.json").read_text())
        told = {"images": count, "seconds": round(seconds, 1), "images_per_second": round(count / seconds, 1)}
        memory = {"memory_gb": round(together / 1e9, 2), "largest_process_gb": round(single / 1e9, 2)}
        print(json.dumps(told | memory | {"verdict": audit.get("verdict")}), flush=True)


if __name__ == "__main__":
    main()
