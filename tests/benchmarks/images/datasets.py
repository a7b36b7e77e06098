"""The clean data sets that attacks are planted in; one that is not installed raises `Missing` with the reason.

    cifar10           $DATAAUDIT_BENCH_DATA/cifar10/*.tar
    cifar10-jpeg      the same, each image re-encoded as JPEG at a quality drawn from its own bytes, after it was poisoned
    fashion-mnist     Debian's dataset-fashion-mnist, grey
    openclipart       Debian's openclipart-png: first-level directory as label, original sizes and modes
    openclipart-jpeg  the same, re-encoded likewise

Debian's files are looked for under /usr/share, or where DATAAUDIT_BENCH_DEBIAN points to (without root: `apt-get download`,
then `dpkg -x FILE DIRECTORY`, and DIRECTORY/usr/share).  Every data set is shuffled once with a fixed seed, so that the first n
images are a random n, and a smaller part lies within a larger one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataaudit.features.decode import Limits, decode_image
from dataaudit.model import fingerprint
from dataaudit.store.records import atomic
from tests.benchmarks.suite import Missing

Pixels = NDArray[np.uint8]
SHUFFLE = 20
CLIPART_LIMITS = Limits()
QUALITIES = (50, 95)


@dataclass(frozen=True)
class Decoded(Sequence[Pixels]):
    """Image files, decoded when asked for: all of them would fill the memory."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> Pixels: ...
    @overload
    def __getitem__(self, at: slice) -> Decoded: ...
    def __getitem__(self, at: int | slice) -> Pixels | Decoded:
        if isinstance(at, slice):
            return Decoded(self.paths[at])
        decoded = decode_image(self.paths[at].read_bytes(), CLIPART_LIMITS)
        if isinstance(decoded, str):
            raise Missing(f"{self.paths[at]}: {decoded}")
        return decoded


@dataclass(frozen=True)
class Images:
    """`pixels[i]` is uint8 (H, W, C) before any re-encoding, `labels` (n,) number `names`; `version` tells the files they came from."""

    name: str
    pixels: Sequence[Pixels]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    version: str
    jpeg: bool = False

    def shown(self, image: Pixels) -> Pixels:
        """What an auditor gets to see of an image, poisoned or not: RGB, after the data set's re-encoding."""
        rgb = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
        return recompress(rgb) if self.jpeg else rgb

    def first(self, limit: int | None) -> Images:
        """A random part of `limit` images."""
        return replace(self, pixels=self.pixels[:limit], labels=self.labels[:limit])


def recompress(image: Pixels) -> Pixels:
    """The image (H, W, 3) after JPEG at a quality between 50 and 95 that depends on its bytes alone."""
    low, high = QUALITIES
    digest = hashlib.blake2b(image.tobytes(), digest_size=4).digest()
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="JPEG", quality=low + int.from_bytes(digest, "little") % (high - low + 1))
    return np.asarray(Image.open(encoded, formats=["JPEG"]).convert("RGB"))


def load(name: str, limit: int | None, cache: Path) -> Images:
    """A data set, or a random part of it; `cache` keeps what is slow to read."""
    if name not in READERS:
        raise Missing(f"no data set {name!r}; there are {', '.join(READERS)}")
    return _whole(name, cache).first(limit)


@lru_cache(maxsize=4)
def _whole(name: str, cache: Path) -> Images:
    return READERS[name](cache)


def cifar10(cache: Path) -> Images:
    """CIFAR-10 (Krizhevsky 2009) from webdataset shards."""
    data = os.environ.get("DATAAUDIT_BENCH_DATA")
    if not data:
        raise Missing("DATAAUDIT_BENCH_DATA is not set; it names a directory with cifar10/*.tar")
    shards = sorted((Path(data) / "cifar10").glob("*.tar"))
    if not shards:
        raise Missing(f"there is no {data}/cifar10/*.tar")
    version = fingerprint(*((s.name, s.stat().st_size, s.stat().st_mtime_ns) for s in shards))
    pixels, labels = (cache / f"cifar10-{version}-{what}.npy" for what in ("pixels", "labels"))
    if not (pixels.exists() and labels.exists()):
        _keep(pixels, labels, *_read_tars(shards))
    classes = Path(data) / "cifar10" / "classes.json"
    names = tuple(json.loads(classes.read_text())) if classes.exists() else tuple(str(i) for i in range(10))
    return Images("cifar10", np.load(pixels, mmap_mode="r"), np.load(labels), names, version)


def cifar10_jpeg(cache: Path) -> Images:
    """CIFAR-10 after JPEG at mixed qualities: a stamp on a decoded picture, as in `cifar10`, lacks the traces of its shard's JPEG."""
    return replace(cifar10(cache), name="cifar10-jpeg", jpeg=True)


def _read_tars(shards: Sequence[Path]) -> tuple[Pixels, NDArray[np.int64]]:
    pixels: dict[str, Pixels] = {}
    labels: dict[str, int] = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                opened = tar.extractfile(member)
                key, _, extension = f"{shard.name}/{member.name}".rpartition(".")
                if opened is not None and extension == "jpg":
                    pixels[key] = np.asarray(Image.open(io.BytesIO(opened.read()), formats=["JPEG"]).convert("RGB"))
                elif opened is not None and extension == "cls":
                    labels[key] = int(opened.read())
    return np.stack(list(pixels.values())), np.array([labels[key] for key in pixels], np.int64)


def _keep(pixels_path: Path, labels_path: Path, pixels: Pixels, labels: NDArray[np.int64]) -> None:
    order = shuffled(len(labels))
    for path, values in ((pixels_path, pixels[order]), (labels_path, labels[order])):
        with atomic(path) as out:
            np.save(out, values)


def shuffled(count: int) -> NDArray[np.int64]:
    """The fixed random order of a data set of this size."""
    return np.random.default_rng(SHUFFLE).permutation(count)


def debian() -> Path:
    """Where Debian's packages put their shared files."""
    return Path(os.environ.get("DATAAUDIT_BENCH_DEBIAN") or "/usr/share")


def fashion_mnist(cache: Path) -> Images:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), the 60,000 training pictures."""
    root = debian() / "datasets" / "fashion-mnist"
    pictures, labels = root / "train-images-idx3-ubyte.gz", root / "train-labels-idx1-ubyte.gz"
    if not (pictures.exists() and labels.exists()):
        raise Missing(f"{root} has no training files; apt-get install dataset-fashion-mnist")
    shown = np.frombuffer(gzip.decompress(pictures.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    said = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8).astype(np.int64)
    order = shuffled(len(said))
    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    return Images("fashion-mnist", shown[order], said[order], names, fingerprint(len(said), pictures.stat().st_size))  # type: ignore[arg-type]


def openclipart(cache: Path) -> Images:
    """Open Clip Art: pictures of all sizes and modes, many of them nearly alike, 22 labels from 3 to 2,158 pictures."""
    return gallery("openclipart", debian() / "openclipart" / "png", "openclipart-png", cache)


def gallery(name: str, root: Path, package: str, cache: Path) -> Images:
    """The pictures of a Debian package that can be decoded, labelled with their first-level directory."""
    paths = [p for p in sorted(root.rglob("*.png")) if p.is_file()]
    if not paths:
        raise Missing(f"there are no pictures in {root}; apt-get install {package}")
    version = fingerprint(*((str(p.relative_to(root)), p.stat().st_size) for p in paths))
    whole = cache / f"{name}-{version}.json"
    if not whole.exists():
        with atomic(whole) as out:
            out.write(json.dumps([str(p.relative_to(root)) for p in paths if _decodes(p)]).encode())
    kept = [Path(p) for p in json.loads(whole.read_text())]
    names = tuple(sorted({p.parts[0] for p in kept}))
    order = shuffled(len(kept))
    labels = np.array([names.index(kept[i].parts[0]) for i in order], np.int64)
    return Images(name, Decoded(tuple(root / kept[i] for i in order)), labels, names, version)


def _decodes(path: Path) -> bool:
    return not isinstance(decode_image(path.read_bytes(), CLIPART_LIMITS), str)


def openclipart_jpeg(cache: Path) -> Images:
    """Open Clip Art after JPEG at mixed qualities."""
    return replace(openclipart(cache), name="openclipart-jpeg", jpeg=True)


READERS: dict[str, Callable[[Path], Images]] = {
    "cifar10": cifar10,
    "cifar10-jpeg": cifar10_jpeg,
    "fashion-mnist": fashion_mnist,
    "openclipart": openclipart,
    "openclipart-jpeg": openclipart_jpeg,
}
