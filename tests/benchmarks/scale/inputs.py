"""What the contenders of each row get: folders in the cache, made once, the same for both sides.

Where the result must be equal, the folder has the digest that it must have, made by another library than ours.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from dataaudit.model import fingerprint
from tests.benchmarks.peers.measuring import digest
from tests.benchmarks.scale import vectors
from tests.benchmarks.suite import Missing
from tests.benchmarks.text import duplicates

SHARD = 5_000
GROUP = 1_000
QUALITY_LARGE, QUALITY_AGAIN = 90, 50
AGAIN = 2_000
FLIPPED = 0.02
Picture = tuple[str, bytes, str]


@dataclass(frozen=True)
class Wanted:
    """What to make: `size` items below `cache`; `points` is a float32 .npy (n, d) to be used in place of a row's own points."""

    cache: Path
    size: int
    points: Path | None = None

    @property
    def root(self) -> Path:
        """Where the inputs of all rows are."""
        return self.cache / "scale-rows"


Prepare = Callable[[Wanted], Path]


def tars() -> list[Path]:
    """CIFAR-10's shards."""
    data = os.environ.get("DATAAUDIT_BENCH_DATA")
    found = sorted(Path(data, "cifar10").glob("*.tar")) if data else []
    if not found:
        raise Missing("DATAAUDIT_BENCH_DATA names no directory with cifar10/*.tar")
    return found


def members(shard: Path) -> Iterator[Picture]:
    """Key, bytes and label of every sample, by tarfile."""
    with tarfile.open(shard) as opened:
        parts: dict[str, bytes] = {}
        for member in opened:
            key, _, extension = member.name.rpartition(".")
            reader = opened.extractfile(member)
            parts |= {extension: reader.read()} if reader is not None else {}
            if {"jpg", "cls"} <= parts.keys():
                yield key, parts["jpg"], parts["cls"].decode()
                parts = {}


def read_tars(wanted: Wanted) -> Path:
    """The shards, over and over until there are as many samples: a single pass is over too soon to be measured."""
    shards = list(islice(cycle(tars()), -(-wanted.size // SHARD)))
    folder = wanted.root / f"tar-{wanted.size}-{fingerprint(*shards)[:8]}"
    return listed(folder, shards, lambda: digest(sample for shard in shards for sample in members(shard)))


def listed(folder: Path, shards: list[Path], expected: Callable[[], str]) -> Path:
    """A folder that names files to read, and the digest of what is in them."""
    if not (folder / "expected.txt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "shards.txt").write_text("\n".join(map(str, shards)))
        (folder / "expected.txt").write_text(expected())
    return folder


def pictures(wanted: Wanted, side: int = 32) -> Path:
    """Encoded pictures in one Parquet file; above 32 pixels a side they are enlarged and encoded anew."""
    folder = wanted.root / f"jpeg-{side}-{wanted.size}"
    if not (folder / "expected.txt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = islice((sample for shard in tars() for sample in members(shard)), wanted.size)
        kept = [(content if side == 32 else enlarged(content, side), label) for _, content, label in found]
        table = pa.table({"image": pa.array([c for c, _ in kept], pa.binary()), "label": [label for _, label in kept]})
        pq.write_table(table, folder / "pictures.parquet", row_group_size=GROUP)
        whole = hashlib.sha256()
        for content, _ in kept:
            whole.update(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).tobytes())
        (folder / "expected.txt").write_text(whole.hexdigest())
    return folder


def enlarged(content: bytes, side: int) -> bytes:
    """The picture at another size, as JPEG."""
    return encoded(Image.open(io.BytesIO(content)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC), QUALITY_LARGE)


def encoded(picture: Image.Image, quality: int) -> bytes:
    """As JPEG."""
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=quality)
    return out.getvalue()


def hashed_pictures(wanted: Wanted) -> Path:
    """The pictures, and behind them the first of them once more, encoded with less quality: their hashes should be alike."""
    small = pictures(wanted)
    folder = wanted.root / f"hash-{wanted.size}"
    if not (folder / "pictures.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(small / "pictures.parquet", columns=["image"])
        first = table.column(0).slice(0, AGAIN).to_pylist()
        again = [encoded(Image.open(io.BytesIO(content)).convert("RGB"), QUALITY_AGAIN) for content in first]
        pq.write_table(pa.concat_tables([table, pa.table({"image": pa.array(again, pa.binary())})]), folder / "pictures.parquet")
    return folder


def read_parquet(wanted: Wanted) -> Path:
    """The pictures' file, several times over."""
    whole = pictures(Wanted(wanted.cache, min(wanted.size, 50_000))) / "pictures.parquet"
    table = pq.read_table(whole)
    shards = [whole] * -(-wanted.size // len(table))
    rows = list(zip(map(str, range(len(table))), table.column("image").to_pylist(), table.column("label").to_pylist(), strict=True))
    return listed(wanted.root / f"parquet-{wanted.size}", shards, lambda: digest(row for _ in shards for row in rows))


def own_points(wanted: Wanted) -> NDArray[np.float32] | None:
    """The points that the user named."""
    return None if wanted.points is None else np.load(wanted.points)[: wanted.size]


def points_of_pictures(wanted: Wanted) -> Path:
    """CIFAR-10's embeddings on 512 axes."""
    given = own_points(wanted)
    name = "knn" if wanted.points is None else f"knn-{wanted.points.stem}"
    return vectors.folder(vectors.pictures(wanted.cache, 512)[: wanted.size] if given is None else given, wanted.root, name)


def points_of_crops(wanted: Wanted) -> Path:
    """Embeddings of crops on 128 axes."""
    given = own_points(wanted)
    name = "knn" if wanted.points is None else f"knn-{wanted.points.stem}"
    return vectors.folder(vectors.crops(wanted.cache, 128, wanted.size) if given is None else given, wanted.root, name)


def labelled_points(wanted: Wanted) -> Path:
    """CIFAR-10's embeddings on 512 axes with labels, a few of them wrong."""
    from tests.benchmarks.images import datasets

    folder = points_of_pictures(wanted)
    if not (folder / "flipped.npy").exists():
        labels = datasets.load("cifar10", wanted.size, wanted.cache).labels.copy()
        rng = np.random.default_rng(37)
        flipped = rng.random(len(labels)) < FLIPPED
        labels[flipped] = (labels[flipped] + rng.integers(1, 10, int(flipped.sum()))) % 10
        vectors.store(folder / "labels.npy", labels)
        vectors.store(folder / "flipped.npy", flipped)
    return folder


def documents(wanted: Wanted) -> Path:
    """Documents, a tenth of them edited copies."""
    return planted(wanted)[0]


@lru_cache(maxsize=1)
def planted(wanted: Wanted) -> tuple[Path, NDArray[np.int64]]:
    """The documents' folder, and the original of each copy."""
    folder, originals = duplicates.plant(wanted.cache / "scale-text", wanted.size, wanted.cache)
    if not (folder / "originals.npy").exists():
        vectors.store(folder / "originals.npy", originals)
    return folder, originals


def nothing(wanted: Wanted) -> Path:
    """For rows that read the tars as they are."""
    return read_tars(Wanted(wanted.cache, 10 * SHARD))
