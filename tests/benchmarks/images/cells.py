"""What is measured: the cells, how one is run, and what is written about it.

The seed decides which images are poisoned, the target label, the trigger's pattern where it has one, and the salt of the audit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache as cache_of
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.discovery import source_digest
from dataaudit.features import embedding, thumbnail
from dataaudit.model import fingerprint
from tests.benchmarks import ours
from tests.benchmarks.images import datasets, feature_tables, planted
from tests.benchmarks.images.neighbours import Graph
from tests.benchmarks.images.planted import Planted
from tests.benchmarks.suite import SEEDS, Cell, Figure, Missing, chosen

NAME = "images"
MOST_FLAGGED = 0.0005
PACKAGES = ("features", "aggregates", "detectors", "findings", "attacks")
PLANTED = tuple(Path(__file__).with_name(f"{name}.py") for name in ("planted", "feature_tables"))
NEIGHBOURS = 50


CIFAR = ("cifar10", 50_000)
FASHION = ("fashion-mnist", 60_000)
CLIPART = ("openclipart", 8_103)
CLIPART_JPEG = ("openclipart-jpeg", 8_103)


def headline() -> list[Cell]:
    """The cells that the claims are made of, three seeds each."""
    return [cell for seed in SEEDS for cell in _headline(seed)]


def _headline(seed: int) -> Iterator[Cell]:
    for dataset in (CIFAR, FASHION, CLIPART):
        yield Cell(*dataset, seed=seed)
        yield Cell(*dataset, seed=seed, noise=0.1)
    for attack in ("patch", "blend"):
        yield from (Cell(*CIFAR, attack, rate, seed, clean) for clean in (False, True) for rate in (0.001, 0.003, 0.01))
    for attack, clean in (("sig", False), ("sig", True), ("warp", False), ("all-to-all", False), ("patch-random", False)):
        yield from (Cell(*CIFAR, attack, rate, seed, clean) for rate in (0.003, 0.01))
    yield Cell(*CIFAR, "three", 0.003, seed)
    yield Cell(*CLIPART_JPEG, seed=seed)
    yield from (Cell(*CLIPART_JPEG, attack, 0.01, seed) for attack in ("patch", "blend"))


VICTIMS = tuple(
    Cell(*CIFAR, attack, 0.01, 1, clean)
    for attack, clean in (("patch", False), ("patch", True), ("blend", False), ("sig", False), ("warp", False), ("all-to-all", False))
)
"""The six cells in which a victim is trained for the baselines that were made for one."""
RATES = (0.001, 0.003, 0.01, 0.05)
DIRTY = (
    *(f"patch-{size}px{tint}" for size in (1, 3, 5) for tint in ("", "-coloured")),
    "patch-random",
    *(f"blend{picture}-{alpha}" for picture in ("", "-picture") for alpha in (0.05, 0.1, 0.2)),
    *("sig", "warp", "warp-cover", "smooth", "filter", "all-to-all", "tact", "adap-blend", "adap-patch"),
    *("label-consistent", "feature-collision", "hidden-trigger", "flips", "targeted-flips", "flood"),
)
CLEAN = ("sig", "patch", "blend")


def broad() -> list[Cell]:
    """Every attack at every rate on a part of CIFAR-10, a few of them on Fashion-MNIST and on CIFAR-10 compressed again, one seed."""
    small, grey, compressed = ("cifar10", 10_000), ("fashion-mnist", 10_000), ("cifar10-jpeg", 10_000)
    cells = [Cell(*small), Cell(*small, noise=0.1), Cell(*grey), Cell(*grey, noise=0.1)]
    cells += [Cell(*small, attack, rate) for attack in DIRTY for rate in RATES]
    cells += [Cell(*small, attack, rate, clean_label=True) for attack in CLEAN for rate in RATES]
    cells += [Cell(*grey, attack, rate) for attack in ("patch", "blend", "sig", "warp", "patch-random") for rate in (0.003, 0.01)]
    cells += [Cell(*grey, attack, 0.01, clean_label=True) for attack in CLEAN]
    cells += [Cell(*compressed), Cell(*compressed, noise=0.1)]
    cells += [Cell(*compressed, attack, 0.01) for attack in ("patch", "blend", "sig", "warp", "all-to-all", "patch-random")]
    return cells + [Cell(*compressed, attack, 0.01, clean_label=True) for attack in CLEAN]


def wanted(which: str) -> list[Cell]:
    """The cells of a set: headline, broad, baselines (the headline cells of seed 1) or all."""
    return chosen(which, headline(), broad())


def goal(cell: Cell) -> float | None:
    """What was promised of a cell: a TPR at FPR 0.1 %; 0 where the promise is no false alarm, or that each campaign is named."""
    if cell.attack in ("none", "three") and cell in _promised():
        return 0.0
    if cell not in _promised() or (cell.clean_label and cell.rate <= 0.001):
        return None
    if cell.dataset == "openclipart-jpeg" or cell.attack in ("warp", "patch-random"):
        return 0.90
    return 0.99 if cell.attack in ("patch", "blend") and cell.rate > 0.001 else 0.95


def figure(cell: Cell) -> Figure:
    """Every cell is judged by its TPR at FPR 0.1 %."""
    return "tpr_at_0.001"


@cache_of
def _promised() -> frozenset[Cell]:
    return frozenset(headline())


# ---- one cell


def code() -> str:
    """A digest of the code that is measured, and of what is planted."""
    return fingerprint(*(source_digest(f"dataaudit.{name}") for name in PACKAGES), *(path.read_text() for path in PLANTED))


def about(cell: Cell) -> dict[str, Any]:
    """What every result says of its cell, run or missing."""
    packages = ("numpy", "pyarrow", "scipy", "faiss-cpu", "onnxruntime", "pillow")
    return {
        "id": cell.id,
        "cell": asdict(cell),
        "code": code(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def unprepared(dataset: str, limit: int, cache: Path) -> list[int]:
    """The chunks of a data set's clean features that are not there yet."""
    images = datasets.load(dataset, limit, cache)
    return [n for n in range(feature_tables.chunks(images)) if not all(p.exists() for p in feature_tables.chunk_paths(images, n, cache))]


def prepare(dataset: str, limit: int, number: int, cache: Path) -> None:
    """Compute one chunk of a data set's clean features."""
    feature_tables.prepare(datasets.load(dataset, limit, cache), number, cache)


def run(cell: Cell, part: str, cache: Path) -> dict[str, Any]:
    """One part of a cell's result, `ours` or `baselines`; what cannot be had gives the reason under `missing`."""
    started = time.perf_counter()
    try:
        images = datasets.load(cell.dataset, cell.limit, cache)
        made = planted.plant(images, cell, cache)
    except Missing as missing:
        return about(cell) | {"missing": str(missing)}
    plan = feature_tables.plan_for(cell.seed)
    clean = feature_tables.clean_table(images, cache)
    tables = planted.batches(made, clean, plan)
    preparing = time.perf_counter() - started
    if part == "baselines":
        return about(cell) | facts(made) | {"baselines": rivals(cell, made, tables, clean, cache), "baselines_code": baselines_code()}
    said = ours.audit(tables, plan, reread=made.samples)
    seconds = {"planting": round(preparing, 1), "ours": round(time.perf_counter() - started - preparing, 1), "units": dict(said.seconds)}
    return about(cell) | facts(made) | {"ours": ours.measured(made, said) | {"seconds": seconds}}


def facts(made: Planted) -> dict[str, Any]:
    """What was planted; `share_of_label` is the poisons' share of the labels that they have, the mean over these."""
    size = np.bincount(made.labels, minlength=len(made.images.names))
    inside = np.bincount(made.labels[made.bad], minlength=len(size))
    hit = np.flatnonzero(inside)
    return {
        "images": len(made.labels),
        "labels": int((size > 0).sum()),
        "poisons": int(made.bad.sum()),
        "covers": int(made.cover.sum()),
        "share": float(made.bad.mean()),
        "share_of_label": float((inside[hit] / size[hit]).mean()) if len(hit) else None,
        "targets": [made.images.names[i] for i in hit],
    }


# ---- what others say of the same data


def baselines_code() -> str:
    """A digest of the baselines' code, and of what is planted."""
    files = (Path(__file__).with_name(f"{name}.py") for name in ("baselines", "neighbours", "victim"))
    return fingerprint(*(path.read_text() for path in (*files, *PLANTED)), source_digest("dataaudit.attacks"))


def rivals(cell: Cell, made: Planted, tables: Sequence[pa.Table], clean: pa.Table, cache: Path) -> dict[str, Any]:
    """The ranking of every baseline, or why it failed; nothing where there is nothing to rank.  A victim says what it learnt."""
    found: dict[str, Any] = {}
    for name, score in contenders(cell, made, tables, clean, cache) if made.expected else ():
        started = time.perf_counter()
        try:
            said = score()
            figures: dict[str, Any] = dict(said if isinstance(said, dict) else ours.ranking(said, made))
        except Exception as error:  # noqa: BLE001  a baseline that fails must not hide the others
            figures = {"failed": f"{type(error).__name__}: {error}"}
        found[name] = figures | {"seconds": round(time.perf_counter() - started, 1)}
    return found


def contenders(
    cell: Cell, made: Planted, tables: Sequence[pa.Table], clean: pa.Table, cache: Path
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The baselines on the same vectors, labels and thumbnails; no one is told the share of poison or a clean set."""
    from tests.benchmarks.images import baselines

    vectors = np.concatenate([embedding.unit(t) for t in tables])
    labels = made.labels
    yield "activation clustering", lambda: baselines.activation_clustering(vectors, labels)
    yield "spectral signatures", lambda: baselines.spectral_signatures(vectors, labels)
    odds = cache_of(lambda: baselines.out_of_fold(vectors, labels))
    yield "confident learning, self-confidence", lambda: baselines.self_confidence(odds(), labels)
    yield "confident learning, margin", lambda: baselines.normalised_margin(odds(), labels)
    graph = cache_of(lambda: neighbourhood(made, vectors, clean, cache))
    yield "deep k-NN", lambda: baselines.deep_knn(graph(), labels)
    yield "k-dist", lambda: baselines.k_dist(graph())
    yield "SLOF", lambda: baselines.slof(graph())
    yield "DAO", lambda: baselines.dao(graph())
    pictures = cache_of(lambda: np.concatenate([thumbnail.from_column(t.column("thumbnail")) for t in tables]))
    yield "DCT deviation", lambda: baselines.dct_deviation(pictures())
    yield "DCT high frequencies", lambda: baselines.high_frequency(pictures())
    yield "DCT simulated triggers", lambda: baselines.simulated_triggers(pictures())
    if cell in VICTIMS:
        # In their own setting: on the activations of a network trained on the suspect images.
        from tests.benchmarks.images import victim

        trained = cache_of(lambda: victim.train(pictures(), labels))
        yield "activation clustering, victim", lambda: baselines.activation_clustering(trained().activations, labels)
        yield "spectral signatures, victim", lambda: baselines.spectral_signatures(trained().activations, labels)
        yield "victim", lambda: {"accuracy": trained().accuracy, "learnt": float((trained().said == labels)[made.bad].mean())}


def neighbourhood(made: Planted, vectors: NDArray[np.float32], clean: pa.Table, cache: Path) -> Graph:
    """Each row's nearest neighbours, from those of the clean images, which are kept."""
    whole = embedding.unit(clean)
    images = made.images
    kept = cache / "graphs" / f"{images.name}-{images.version}-{len(whole)}-{feature_tables.embedding_code()}-{NEIGHBOURS}.npz"
    graph = Graph.kept(kept, whole, NEIGHBOURS)
    rows = np.array(sorted(made.changed), np.int64)
    return graph.replace(rows, vectors[rows]) if len(rows) else graph
