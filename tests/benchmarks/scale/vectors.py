"""The points whose neighbours are looked for: embeddings of CIFAR-10, or of crops of it, on their principal axes.

    python -m tests.benchmarks.scale.vectors        make both sets in the cache, the larger one in a quarter of an hour of one core

All contenders get the same whole numbers (`embedding.quantise`), so that one truth holds for all of them and rounding is nobody's loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.features import embedding
from dataaudit.store.records import atomic
from tests.benchmarks.images import datasets, feature_tables

K = 20
ASKED = 2000
"""Points whose neighbours are known exactly."""
PICTURES = 50_000
CHUNK = 10_000
SIDE = 64
"""Pixels a side that crops are embedded at: 6 times as many a second as at the encoder's own 160."""
SMALLEST, LARGEST = 24, 32


def reduced(vectors: NDArray[np.float32], centre: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors (n, D) on axes (D, d), of unit length again."""
    narrow = (vectors - centre) @ axes
    return np.asarray(narrow / np.maximum(np.linalg.norm(narrow, axis=1, keepdims=True), 1e-9), np.float32)


def principal(vectors: NDArray[np.float32], width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The centre (D,) and the axes (D, width) along which the vectors vary most."""
    centre = vectors.mean(axis=0)
    moved = vectors - centre
    axes = np.linalg.eigh((moved.T @ moved).astype(np.float64))[1][:, ::-1][:, :width]
    return centre, np.ascontiguousarray(axes, np.float32)


def pictures(cache: Path, width: int) -> NDArray[np.float32]:
    """The embeddings of CIFAR-10, (50000, width); 10 minutes the first time, for the encoder."""
    kept = cache / "scale-rows" / f"pictures-{width}.npy"
    if not kept.exists():
        whole = embedding.unit(feature_tables.clean_table(datasets.load("cifar10", PICTURES, cache), cache))
        store(kept, reduced(whole, *principal(whole, width)))
    return np.asarray(np.load(kept, mmap_mode="r"))


def crops(cache: Path, width: int, count: int) -> NDArray[np.float32]:
    """Embeddings (count, width) of crops of CIFAR-10's pictures, every picture before any for the second time."""
    root = cache / "scale-rows" / f"crops-{SIDE}-{width}"
    axes = root / "axes.npz"
    for number in range(-(-count // CHUNK)):
        path = root / f"{number:03d}.npy"
        if path.exists():
            continue
        whole = embedded(cropped(datasets.load("cifar10", PICTURES, cache), number))
        if not axes.exists():
            centre, found = principal(whole, width)
            with atomic(axes) as out:
                np.savez(out, centre=centre, axes=found)
        with np.load(axes) as stored:
            store(path, reduced(whole, stored["centre"], stored["axes"]))
        print(f"crops: {(number + 1) * CHUNK:,} of {count:,}", flush=True)
    return np.concatenate([np.load(root / f"{number:03d}.npy") for number in range(-(-count // CHUNK))])[:count]


def cropped(images: datasets.Images, number: int) -> list[NDArray[np.uint8]]:
    """One chunk: of each picture a square of 24 to 32 pixels at a random place, every other one mirrored."""
    rng = np.random.default_rng([29, number])
    found = []
    for at in (np.arange(number * CHUNK, (number + 1) * CHUNK) % len(images.labels)).tolist():
        side = int(rng.integers(SMALLEST, LARGEST + 1))
        top, left = rng.integers(0, LARGEST - side + 1, 2).tolist()
        found.append(np.asarray(images.pixels[at])[top : top + side, left : left + side][:, :: int(rng.choice((-1, 1)))])
    return found


def embedded(shown: list[NDArray[np.uint8]], together: int = 8) -> NDArray[np.float32]:
    """Unit vectors of pictures by the project's own network, fed with fewer pixels."""
    from PIL import Image

    session, vectors = small_network(), []
    for at in range(0, len(shown), together):
        sized = [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in shown[at : at + together]]
        batch = (np.stack([np.asarray(one, np.float32) for one in sized]) - 127) / 128
        vectors.append(session.run(None, {"images": np.ascontiguousarray(batch.transpose(0, 3, 1, 2))})[0])
    return np.concatenate(vectors)


def small_network() -> Any:
    """The network for pictures of any size that halves as often as 160 does: padding is then the same."""
    import onnx
    import onnxruntime

    from dataaudit.features.encoders.image import graph_path

    network = onnx.load(str(graph_path()))
    for place in (2, 3):
        network.graph.input[0].type.tensor_type.shape.dim[place].dim_value = SIDE
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])


def folder(vectors: NDArray[np.float32], root: Path, name: str) -> Path:
    """Points in whole numbers, and for some of them how far the k-th nearest other is: `points`, `asked` and `farthest` as .npy."""
    found = root / f"{name}-{vectors.shape[0]}-{vectors.shape[1]}"
    if not (found / "farthest.npy").exists():
        points = embedding.quantise(np.asarray(vectors, np.float32))
        asked = np.sort(np.random.default_rng(31).choice(len(points), min(ASKED, len(points)), replace=False))
        store(found / "points.npy", points)
        store(found / "asked.npy", asked)
        store(found / "farthest.npy", farthest(points, asked))
    return found


def farthest(points: NDArray[np.int16], asked: NDArray[np.int64], rows: int = 100) -> NDArray[np.float64]:
    """The squared distance of the k-th nearest other of each point asked for; sums of whole numbers are exact."""
    every = points.astype(np.float64)
    squares = np.einsum("nd,nd->n", every, every)
    found = np.empty(len(asked))
    for at in range(0, len(asked), rows):
        some = asked[at : at + rows]
        apart = squares[some, None] + squares - 2 * every[some] @ every.T
        apart[np.arange(len(some)), some] = np.inf
        found[at : at + rows] = np.partition(apart, K - 1, axis=1)[:, K - 1]
    return found


def recall(points: NDArray[np.int16], asked: NDArray[np.int64], reach: NDArray[np.float64], near: NDArray[np.integer]) -> float:
    """The share of the k nearest that lists (n, k) hold: distinct others no farther away than the k-th."""
    hits = 0
    for at, most in zip(asked.tolist(), reach.tolist(), strict=True):
        others = np.unique(near[at])
        others = others[(others >= 0) & (others != at)]
        gaps = points[others].astype(np.float64) - points[at]
        hits += min(K, int((np.einsum("nd,nd->n", gaps, gaps) <= most).sum()))
    return hits / (K * len(asked))


def store(path: Path, array: NDArray[Any]) -> None:
    """Keep an array, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as out:
        np.save(out, array)


if __name__ == "__main__":
    import os

    here = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench")
    folder(pictures(here, 512), here / "scale-rows", "knn")
    folder(crops(here, 128, 500_000), here / "scale-rows", "knn")
