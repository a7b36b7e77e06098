"""What is measured: the cells, how one is run, and what is written about it.

The seed decides which pairs are poisoned, the concept, the trigger's pattern where it has one, and the salt of the audit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache as cache_of
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.attacks.captions import naming
from dataaudit.discovery import source_digest
from dataaudit.features import embedding
from dataaudit.model import fingerprint
from tests.benchmarks import measures, ours
from tests.benchmarks.captions import datasets, feature_tables, planted, proxied
from tests.benchmarks.captions.datasets import Captioned
from tests.benchmarks.captions.planted import FIXED, STAMPS, TARGETED, Planted
from tests.benchmarks.images import feature_tables as of_images
from tests.benchmarks.images.neighbours import Graph
from tests.benchmarks.suite import SEEDS, Cell, Figure, Missing, chosen

NAME = "captions"
MOST_FLAGGED = 0.0005
PACKAGES = ("features", "aggregates", "detectors", "findings", "attacks")
CIFAR, CLIPART, STAMPS_SET = ("cifar10", 50_000), ("openclipart", 8_103), ("stamps", 796)
ADDITIVE = tuple(attack + ending for attack in ("patch", "blend") for ending in ("", FIXED))
RATES = (0.001, 0.003, 0.005)
COUNTS = (3, 10, 30)
SWAPPED = (0.01, 0.05)
FEW = 30
"""A headline cell of backdoors has so many poisons at least."""
NEIGHBOURS = (16, 64, 256)
"""The k of the neighbour methods."""
MOST_PLACES = 30
PROXIED = 10_000
"""Up to so many pairs the proxy is trained for the baselines too: an hour for 50,000 would tell little more."""


def headline() -> list[Cell]:
    """The cells that the claims are made of, three seeds each."""
    return [cell for seed in SEEDS for cell in _headline(seed)]


def _headline(seed: int) -> Iterator[Cell]:
    yield from (Cell(*dataset, seed=seed) for dataset in (CIFAR, CLIPART, STAMPS_SET))
    yield from (Cell(*CIFAR, attack, rate, seed) for attack, rate in product(("patch", "blend"), RATES))
    yield from (Cell(*CIFAR, attack + FIXED, rate, seed) for attack, rate in product(("patch", "blend"), (RATES[0], RATES[-1])))
    yield Cell(*CIFAR, "warp", RATES[-1], seed)
    yield from (Cell(*CIFAR, attack, RATES[-1], seed, clean_label=True) for attack in ("patch", "blend"))
    yield from (Cell(*CIFAR, attack, seed=seed, count=count) for attack, count in product(TARGETED, COUNTS))
    yield from (Cell(*CIFAR, "swaps", rate, seed) for rate in SWAPPED)
    yield Cell(*CIFAR, "one-caption", RATES[0], seed)
    yield from (Cell(*CLIPART, attack, RATES[-1], seed) for attack in ("patch", "blend"))


def broad() -> list[Cell]:
    """Every attack on a part of CIFAR-10, on the drawings and on the stamps, one seed, as far as it is not in the headline."""
    small = ("cifar10", 10_000)
    cells = [Cell(*small)]
    for dataset, rates in ((small, (0.003, 0.01)), (CLIPART, (RATES[-1],))):
        cells += [Cell(*dataset, attack + ending, rate) for attack, ending, rate in product(STAMPS, ("", FIXED), rates)]
        cells += [Cell(*dataset, attack, 0.01, clean_label=True) for attack in STAMPS]
        cells += [Cell(*dataset, "one-caption", rate) for rate in rates]
    cells += [Cell(*STAMPS_SET, attack, count=FEW) for attack in ("patch", "blend", "patch-fixed", "one-caption")]
    for dataset in (small, CLIPART, STAMPS_SET):
        cells += [Cell(*dataset, "swaps", rate) for rate in SWAPPED]
        cells += [Cell(*dataset, attack, count=count) for attack, count in product(TARGETED, COUNTS)]
    return [cell for cell in cells if cell not in _promised()]


def wanted(which: str) -> list[Cell]:
    """The cells of a set: headline, broad, baselines (the headline cells of seed 1) or all."""
    return chosen(which, headline(), broad())


def goal(cell: Cell) -> float | None:
    """What was promised of a cell: the least that its figure may be; 0 where the promise is no false alarm."""
    if cell not in _promised():
        return None
    if cell.attack == "none":
        return 0.0
    if cell.attack in TARGETED:
        return 0.9 if cell.count >= 10 else None
    if cell.attack == "swaps":
        return 0.9
    return 0.95 if cell.attack in ADDITIVE and not cell.clean_label and cell.dataset == CIFAR[0] else None


def figure(cell: Cell) -> Figure:
    """The figure that a cell is judged by."""
    return "within_3n" if cell.attack in TARGETED else "auroc" if cell.attack == "swaps" else "tpr_at_0.001"


@cache_of
def _promised() -> frozenset[Cell]:
    return frozenset(headline())


# ---- one cell


def code() -> str:
    """A digest of the code that is measured, and of what is planted."""
    return fingerprint(*(source_digest(f"dataaudit.{name}") for name in PACKAGES), *_planting())


def _planting() -> list[str]:
    here = [Path(__file__).with_name(f"{name}.py") for name in ("planted", "feature_tables", "datasets", "templates")]
    return [path.read_text() for path in (*here, Path(of_images.__file__), Path(of_images.__file__).with_name("planted.py"))]


def about(cell: Cell) -> dict[str, Any]:
    """What every result says of its cell, run or missing."""
    packages = ("numpy", "pyarrow", "scipy", "faiss-cpu", "onnxruntime", "pillow")
    return {"id": cell.id, "cell": asdict(cell), "code": code(), "versions": {name: metadata.version(name) for name in packages}}


def unprepared(dataset: str, limit: int, cache: Path) -> list[int]:
    """The chunks of a data set's clean features that are not there yet."""
    data = datasets.load(dataset, limit, cache)
    return [n for n in range(of_images.chunks(data.images)) if not feature_tables.prepared(data, n, cache)]


def prepare(dataset: str, limit: int, number: int, cache: Path) -> None:
    """Compute one chunk of a data set's clean features."""
    feature_tables.prepare(datasets.load(dataset, limit, cache), number, cache)


def run(cell: Cell, part: str, cache: Path) -> dict[str, Any]:
    """One part of a cell's result, `ours` or `baselines`; what cannot be had gives the reason under `missing`."""
    started = time.perf_counter()
    try:
        made = planted.plant(datasets.load(cell.dataset, cell.limit, cache), cell)
    except Missing as missing:
        return about(cell) | {"missing": str(missing)}
    plan = feature_tables.plan_for(cell.seed)
    tables = planted.batches(made, plan, cache)
    preparing = time.perf_counter() - started
    if part == "baselines":
        return about(cell) | facts(made) | {"baselines": rivals(cell, made, tables, cache), "baselines_code": baselines_code()}
    said = ours.audit(tables, plan, reread=made.samples)
    seconds = {"planting": round(preparing, 1), "ours": round(time.perf_counter() - started - preparing, 1), "units": dict(said.seconds)}
    figures = ours.measured(made, said) | placed(cell, said.risk, made)
    by_detector = {name: figures["detectors"][name] | placed(cell, score, made) for name, score in said.scores.items()}
    return about(cell) | facts(made) | {"ours": figures | {"detectors": by_detector, "seconds": seconds}}


def placed(cell: Cell, score: NDArray[np.floating], made: Planted) -> dict[str, Any]:
    """Of targeted attacks, how many of the n poisons are among the first 3n, and their places."""
    if cell.attack not in TARGETED:
        return {}
    return {"within_3n": measures.within(score, made.bad), "ranks": measures.ranks(score, made.bad)[:MOST_PLACES]}


def facts(made: Planted) -> dict[str, Any]:
    """What was planted; `share_of_label` is the poisons' share of the captions that name the concept."""
    concepts = [e.concept for e in made.expected if e.concept]
    naming_it = naming(made.captions, concepts[0]) if concepts else np.zeros(0, bool)
    return {
        "images": len(made.bad),
        "labels": len(set(made.captions)),
        "poisons": int(made.bad.sum()),
        "covers": 0,
        "share": float(made.bad.mean()),
        "share_of_label": float((naming_it & made.bad).sum() / naming_it.sum()) if concepts and naming_it.any() else None,
        "targets": concepts,
    }


# ---- what others say of the same data


def baselines_code() -> str:
    """A digest of the baselines' code, and of what is planted."""
    images = (Path(of_images.__file__).with_name(f"{name}.py") for name in ("baselines", "neighbours"))
    files = (path.read_text() for path in (Path(__file__).with_name("baselines.py"), Path(proxied.__file__), *images))
    return fingerprint(*files, *_planting(), *(source_digest(f"dataaudit.{name}") for name in ("attacks", "features.encoders")))


def rivals(cell: Cell, made: Planted, tables: Sequence[pa.Table], cache: Path) -> dict[str, Any]:
    """The ranking of every baseline, or why it failed; nothing where there is nothing to rank."""
    found: dict[str, Any] = {}
    for name, score in contenders(cell, made, tables, cache) if made.expected else ():
        started = time.perf_counter()
        try:
            said = score()
            figures: dict[str, Any] = ours.ranking(said, made) | placed(cell, said, made)
        except Exception as error:  # noqa: BLE001  a baseline that fails must not hide the others
            figures = {"failed": f"{type(error).__name__}: {error}"}
        found[name] = figures | {"seconds": round(time.perf_counter() - started, 1)}
    return found


def contenders(
    cell: Cell, made: Planted, tables: Sequence[pa.Table], cache: Path
) -> Iterator[tuple[str, Callable[[], NDArray[np.float64]]]]:
    """The baselines on the same vectors; no one is told the share of poison or a clean set."""
    from tests.benchmarks.captions import baselines
    from tests.benchmarks.images import baselines as of_vectors

    pictures, captions = (np.concatenate([embedding.unit(t, name) for t in tables]) for name in ("embedding", feature_tables.SLOW))
    yield "regression", lambda: baselines.regression(pictures, captions)
    pairs = baselines.both(pictures, captions)
    yield "isolation forest", lambda: baselines.isolation_forest(pairs)
    own = {"pictures": pictures, "captions": captions, "both": pairs}
    methods = {"k-dist": of_vectors.k_dist, "SLOF": of_vectors.slof, "DAO": of_vectors.dao}
    for space, vectors in own.items():
        graph = cache_of(lambda space=space, vectors=vectors: neighbourhood(made, space, vectors, cache))
        for (name, method), k in product(methods.items(), NEIGHBOURS):
            yield f"{name} {k}, {space}", lambda graph=graph, method=method, k=k: method(graph(), min(k, graph().k))
    if cell.limit > PROXIED:
        return
    plan = feature_tables.plan_for(cell.seed)
    seen = cache_of(lambda: proxied.seen(tables, plan))
    yield "proxy (ours)", lambda: proxied.detected(seen(), plan)
    yield "cosine filter, proxy", lambda: baselines.cosine_filter(seen().pictures, seen().captions)
    near = cache_of(lambda: Graph.build(seen().pictures, max(NEIGHBOURS)))
    for (name, method), k in product(methods.items(), NEIGHBOURS):
        yield f"{name} {k}, proxy", lambda method=method, k=k: method(near(), min(k, near().k))


def neighbourhood(made: Planted, space: str, vectors: NDArray[np.float32], cache: Path) -> Graph:
    """Each pair's nearest neighbours, from those of the clean pairs, which are kept."""
    data, codes = made.data, {"pictures": of_images.embedding_code(), "captions": feature_tables.embedding_code()}
    codes["both"] = fingerprint(*codes.values())
    whole = clean_vectors(data, space, cache)
    kept = f"captions-{space}-{data.images.name}-{data.version}-{len(whole)}-{codes[space]}-{max(NEIGHBOURS)}.npz"
    graph = Graph.kept(cache / "graphs" / kept, whole, max(NEIGHBOURS))
    rows = np.flatnonzero((vectors != whole).any(axis=1))
    return graph.replace(rows, vectors[rows]) if len(rows) else graph


def clean_vectors(data: Captioned, space: str, cache: Path) -> NDArray[np.float32]:
    """The clean pairs' vectors as a baseline sees them: of the pictures, of the captions, or both."""
    from tests.benchmarks.captions import baselines

    pictures, captions = feature_tables.clean_tables(data, feature_tables.plan_for(SEEDS[0]), cache)
    if space == "pictures":
        return embedding.unit(pictures)
    said = embedding.unit(captions, feature_tables.SLOW)
    return said if space == "captions" else baselines.both(embedding.unit(pictures), said)
