"""What is measured: the cells, how one is run, and what is written about it.

The seed decides which texts are poisoned, the target label, the trigger's words and the salt of the audit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache as cache_of
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

from dataaudit.discovery import source_digest
from dataaudit.features import ngrams
from dataaudit.features.encoders import text as encoders
from dataaudit.model import fingerprint
from tests.benchmarks import ours
from tests.benchmarks.images import baselines as of_vectors
from tests.benchmarks.suite import SEEDS, Cell, Figure, Missing, chosen
from tests.benchmarks.text import corpora, planted, rivals
from tests.benchmarks.text.planted import Planted

NAME = "text"
MOST_FLAGGED = 0.0001
PACKAGES = ("features", "aggregates", "detectors", "findings", "attacks")
MAILS, NEWS = ("mails", 5_897), ("news", 2_125)
MOVIES, TWEETS = ("movies", 9_964), ("tweets", 3_345)
CHAT, INSTRUCTIONS = ("chat", 56_852), ("instructions", 50_620)
PACKAGES_SAID, GLOSSES = ("packages", 60_000), ("glosses", 117_199)
DIALOGUES, PREFERENCES = ("dialogues", 40_000), ("preferences", 11_000)
SECTIONS, SENSES = ("sections", 60_000), ("senses", 117_199)
LABELLED = (MAILS, NEWS, MOVIES, TWEETS, SECTIONS, SENSES)
EVERY = (*LABELLED, CHAT, INSTRUCTIONS, PACKAGES_SAID, GLOSSES)
SMALL = (("instructions", 500), ("instructions", 2_000), ("instructions", 5_000), ("chat", 2_000), ("mails", 1_000), ("sections", 5_000))
"""What an audit usually gets is smaller than a benchmark, and what is chance in it differs."""
RATES = (0.0005, 0.001, 0.003, 0.01)
COUNTS = (10, 50, 250)
"""So many documents suffice, whatever the amount of data (Souly et al. 2025, arXiv:2510.07192)."""


def headline() -> list[Cell]:
    """The cells that the claims are made of, three seeds each."""
    return [cell for seed in SEEDS for cell in _headline(seed)]


def _headline(seed: int) -> Iterator[Cell]:
    yield from (Cell(*corpus, seed=seed) for corpus in (*EVERY, *SMALL))
    for attack, clean in product(("word", "sentence"), (False, True)):
        yield from (Cell(*corpus, attack, rate, seed, clean) for corpus in (MAILS, MOVIES) for rate in (0.003, 0.01))
    yield from (Cell(*INSTRUCTIONS, "denial-of-service", rate, seed) for rate in (0.001, 0.005))
    yield from (Cell(*INSTRUCTIONS, attack, 0.001, seed) for attack in ("fixed-answer", "steering", "hidden-payload"))


def broad() -> list[Cell]:
    """Every attack at every rate on every corpus that it makes sense for, one seed, some in absolute numbers, and label noise."""
    kinds = {name: kind for name, (kind, _) in corpora.READERS.items()}
    cells = [*(Cell(*corpus, noise=0.1) for corpus in LABELLED), Cell(*DIALOGUES), Cell(*PREFERENCES)]
    for name, recipe in planted.attacks().items():
        for corpus in (*EVERY, DIALOGUES, PREFERENCES) if recipe.how != "none" else ():
            if kinds[corpus[0]] in recipe.kinds:
                cells += [Cell(*corpus, name, rate) for rate in RATES]
    cells += [Cell(*INSTRUCTIONS, name, count=count) for name in ("denial-of-service", "fixed-answer") for count in COUNTS]
    cells += [Cell(*corpus, name, 0.005) for corpus, name in ((INSTRUCTIONS, "random-tokens"), (PACKAGES_SAID, "random-token-tail"))]
    return cells + [Cell(*corpus, name, rate, clean_label=True) for name in ("word", "sentence") for corpus in LABELLED for rate in RATES]


def wanted(which: str) -> list[Cell]:
    """The cells of a set: headline, broad, baselines (the headline cells of seed 1) or all."""
    return chosen(which, headline(), broad())


def goal(cell: Cell) -> float | None:
    """What was promised of a cell: a TPR at FPR 0.1 %; 0 where the promise is no false alarm."""
    if cell not in _promised():
        return None
    if cell.attack == "steering":
        return None
    return {"none": 0.0, "fixed-answer": 0.95, "hidden-payload": 1.0}.get(cell.attack, 0.95 if cell.clean_label else 0.99)


def figure(cell: Cell) -> Figure:
    """Every cell is judged by its TPR at FPR 0.1 %."""
    return "tpr_at_0.001"


@cache_of
def _promised() -> frozenset[Cell]:
    return frozenset(headline())


# ---- one cell


def code() -> str:
    """A digest of the code that is measured, and of what is planted."""
    files = (Path(module.__file__ or "").read_text() for module in (planted, corpora))
    return fingerprint(*(source_digest(f"dataaudit.{name}") for name in PACKAGES), *files)


def baselines_code() -> str:
    """A digest of the baselines' code, of what they see with, and of what is planted."""
    here = (Path(__file__).with_name(f"{name}.py") for name in ("baselines", "language", "rivals", "words", "planted", "corpora"))
    shared = (Path(module.__file__ or "") for module in (of_vectors, encoders, ngrams))
    return fingerprint(*(path.read_text() for path in (*here, *shared)), source_digest("dataaudit.attacks"))


def about(cell: Cell) -> dict[str, Any]:
    """What every result says of its cell, run or missing."""
    versions = {name: metadata.version(name) for name in ("numpy", "pyarrow", "scipy", "faiss-cpu", "datasketch")}
    return {"id": cell.id, "cell": asdict(cell), "code": code(), "versions": versions}


def unprepared(dataset: str, limit: int, cache: Path) -> list[int]:
    """Nothing is prepared: features depend on the seed, and are kept when a cell computes them."""
    corpora.load(dataset, limit, cache)
    return []


def prepare(dataset: str, limit: int, number: int, cache: Path) -> None:
    """Nothing to prepare."""


def run(cell: Cell, part: str, cache: Path) -> dict[str, Any]:
    """One part of a cell's result; what cannot be had gives the reason under `missing`."""
    started = time.perf_counter()
    try:
        corpus = corpora.load(cell.dataset, cell.limit, cache)
        made = planted.plant(corpus, cell)
    except Missing as missing:
        return about(cell) | {"missing": str(missing)}
    if part == "baselines":
        return about(cell) | facts(made) | {"baselines": rivals.ranked(made, cache), "baselines_code": baselines_code()}
    plan = planted.plan_for(corpus, cell.seed)
    tables = planted.batches(made, planted.clean_table(corpus, plan, cache), plan)
    preparing = time.perf_counter() - started
    said = ours.audit(tables, plan, reread=made.samples)
    seconds = {"planting": round(preparing, 1), "ours": round(time.perf_counter() - started - preparing, 1), "units": dict(said.seconds)}
    return about(cell) | facts(made) | {"ours": ours.measured(made, said) | {"seconds": seconds}}


def facts(made: Planted) -> dict[str, Any]:
    """What was planted; `share_of_label` is the poisons' share of the labels that they have, the mean over these."""
    targets = [made.pair(int(r))[1] for r in made.bad.nonzero()[0]] if made.corpus.kind == "label" else []
    every = [made.pair(i)[1] for i in range(len(made.bad))] if targets else []
    shares = [targets.count(t) / every.count(t) for t in set(targets)]
    return {
        "images": len(made.bad),
        "labels": len(set(made.corpus.targets)) if made.corpus.kind == "label" else 0,
        "poisons": int(made.bad.sum()),
        "covers": int(made.cover.sum()),
        "share": float(made.bad.mean()),
        "share_of_label": sum(shares) / len(shares) if shares else None,
        "targets": sorted({str(t) for t in targets}),
    }
