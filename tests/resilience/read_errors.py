"""Reading fails, bits flip and files are cut off, at random places in every format: readers say so, and never raise."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from PIL import Image

from dataaudit import sources
from dataaudit.features.decode import Limits as ImageLimits
from dataaudit.features.decode import decode_image
from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import Digest, paths
from tests.planted import corpus
from tests.resilience.scans import ROOT, environment

Record = dict[str, object]
LONGEST = 20.0
"""Seconds that a damaged file of this size may take at the most."""
SAMPLES = 60
TEXTS, IMAGES, FOLDER = Columns("text", "label", "id"), Columns("png", "cls"), Columns("image", "directory")


def picture(seed: int, side: int = 12, kind: str = "PNG") -> bytes:
    """A small picture of noise."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def tar(count: int = SAMPLES) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i in range(count):
            for extension, data in (("png", picture(i)), ("cls", b"ab"[i % 2 : i % 2 + 1])):
                info = tarfile.TarInfo(f"a/{i:04}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def jsonl(count: int = SAMPLES) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in corpus(count)).encode()


def parquet(count: int = SAMPLES) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(corpus(count)), out, row_group_size=count // 3)
    return out.getvalue()


FORMATS: dict[str, tuple[str, Columns, Callable[[], bytes]]] = {
    "x.tar": ("tar", IMAGES, tar),
    "x.tar.gz": ("tar", IMAGES, lambda: gzip.compress(tar())),
    "x.tar.zst": ("tar", IMAGES, lambda: zstandard.ZstdCompressor(write_checksum=True).compress(tar())),
    "x.parquet": ("parquet", TEXTS, parquet),
    "x.jsonl": ("jsonl", TEXTS, jsonl),
    "x.jsonl.gz": ("jsonl", TEXTS, lambda: gzip.compress(jsonl())),
    "folder": ("folder", FOLDER, lambda: picture(7)),
}


class Failing(io.BytesIO):
    """A file whose storage fails from a byte on."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data)
        self._good = good

    def read(self, size: int | None = -1) -> bytes:
        size = len(self.getbuffer()) - self.tell() if size is None or size < 0 else size
        if self.tell() + size > self._good and self.tell() < len(self.getbuffer()):
            raise OSError(5, "Input/output error")
        return super().read(size)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One to eight bits the other way round."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The beginning of it."""
    return data[: rng.randrange(len(data))]


@contextmanager
def failing(data: bytes, rng: random.Random, victim: str) -> Iterator[None]:
    """Reading the file called `victim` fails at a random byte; others are well."""
    good, opened = rng.randrange(len(data)), paths.open_raw

    def open_raw(uri: str) -> IO[bytes]:
        return Failing(data, good) if uri.endswith(victim) else opened(uri)

    with patch.object(paths, "open_raw", open_raw):
        yield


def read_damaged(name: str, trials: int, folder: Path, seed: int) -> Record:
    """Damage one format `trials` times in each of three ways."""
    started, rng = time.monotonic(), random.Random(seed)
    failures: list[str] = []
    slowest = 0.0
    for way in ("error", "flip", "cut"):
        for trial in range(trials):
            began = time.monotonic()
            told = _damaged(name, way, rng, folder)
            slowest = max(slowest, time.monotonic() - began)
            if told:
                failures.append(f"{way} {trial} of seed {seed}: {told}")
    if slowest > LONGEST:
        failures.append(f"{slowest:.1f} s for a file of {SAMPLES} samples")
    return {
        "trials": 3 * trials,
        "seed": seed,
        "slowest": round(slowest, 3),
        "seconds": round(time.monotonic() - started, 1),
        "failure": "; ".join(failures[:5]) + (f"; {len(failures)} in all" if len(failures) > 5 else ""),
    }


def _damaged(name: str, way: str, rng: random.Random, folder: Path) -> str:
    """Read one damaged file; what was wrong with that, in words."""
    kind, columns, make = FORMATS[name]
    data = _made(name, make)
    shutil.rmtree(folder, ignore_errors=True)
    if kind == "folder":
        (folder / "cat").mkdir(parents=True)
        for i in range(5):
            (folder / "cat" / f"{i}.png").write_bytes(data)
        victim, shard, expected = folder / "cat" / "3.png", Shard(f"{folder / 'cat'}#1of1", "cat", "folder", 0, ""), 5
    else:
        folder.mkdir(parents=True)
        victim, expected = folder / name, SAMPLES
        shard = Shard(str(victim), name, kind, len(data), "")  # type: ignore[arg-type]
    if way == "error":
        victim.write_bytes(data)
        with failing(data, rng, victim.name):
            return complaint(shard, columns, expected, whole=False)
    left = flipped(data, rng) if way == "flip" else cut(data, rng)
    victim.write_bytes(left)
    if name == "x.jsonl" and way == "cut":
        expected = len(left.splitlines())  # a file that ends with a whole line looks whole
    return complaint(shard, columns, expected, whole=True)


_KEPT: dict[str, bytes] = {}


def _made(name: str, make: Callable[[], bytes]) -> bytes:
    if name not in _KEPT:
        _KEPT[name] = make()
    return _KEPT[name]


def complaint(shard: Shard, columns: Columns, expected: int, *, whole: bool) -> str:
    """What a reader did that it must not; `whole` where all bytes of the file could be read."""
    try:
        items = list(sources.read(shard, columns))
    except Exception as error:  # noqa: BLE001 - this is what must never happen
        return f"raised {type(error).__name__}: {error}"
    if not items or not isinstance(items[-1], Digest) or sum(isinstance(i, Digest) for i in items) != 1:
        return "the digest is not the last item, or not the only one"
    if whole and not items[-1].sha256:
        return "no digest, although the file can be read"
    samples = [i for i in items if isinstance(i, Sample)]
    if len({s.id for s in samples}) < len(samples):
        return "two samples have one id"
    unreadable = [decode_image(s.content, ImageLimits()) for s in samples if isinstance(s.content, bytes)]
    if any(isinstance(why, str) and not why for why in unreadable):
        return "a picture is refused and nothing says why"
    if len(samples) < expected and not any(isinstance(i, Skipped) for i in items):
        return f"{expected - len(samples)} samples are missing and nothing says so"
    return ""


def alone(name: str, trials: int, folder: Path, seed: int) -> Record:
    """The same in a process of its own, which a decoder may take along; the file that did it stays in the folder."""
    asked = [sys.executable, "-m", "tests.resilience.read_errors", name, str(trials), str(folder), str(seed)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60 + trials, cwd=ROOT, env=environment())
    if done.returncode:
        return {"trials": 0, "seed": seed, "failure": f"the process ended with {done.returncode}: {done.stderr[-1000:]}"}
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(read_damaged(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
