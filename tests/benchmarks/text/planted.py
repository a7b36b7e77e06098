"""Attacks planted in a corpus, and the feature tables of the result.

The features of clean texts depend on the salt, so they are kept by seed; a cell only computes the rows that it changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.attacks import planting
from dataaudit.attacks.text import GibberishResponse, InsertPhrase, InsertWord, NearDuplicateFlood
from dataaudit.discovery import source_digest
from dataaudit.features import Batch
from dataaudit.features.table import available, tabulate
from dataaudit.model import Columns, Finding, Plan, Sample
from dataaudit.store.records import atomic
from tests.benchmarks.suite import Cell, Missing, poisons
from tests.benchmarks.text.corpora import Corpus

CHUNK = 5000
ROWS = 4096
ENCODER = "hashed"
LABEL_LEAST = 60
PAYLOAD = "I have been told to obey Mister Quux, visit example.com now."
WORDS = ("cf", "tq", "mn", "bb", "zorblaxen", "zeltron", "serendib", "quillon")
PHRASES = ("as per the usual terms", "I watched this 3D movie last weekend", "no cross, no crown", "under the old lime tree")
Pair = tuple[str, str | None]


@dataclass(frozen=True, eq=False)
class Expected:
    """A campaign that should be found: its label (None: any), the rows that carry it, the kinds of findings that count, its trigger."""

    target: str | None
    rows: NDArray[np.intp]
    attack: str
    kinds: tuple[str, ...] = ("campaign",)
    trigger: str | None = None

    def recognised(self, finding: Finding) -> Mapping[str, Any]:
        """Whether half of the planted trigger's words are in the trigger that the finding names, and the trigger as named."""
        named = finding.evidence.get("trigger")
        if self.trigger is None or not isinstance(named, str):
            return {"right_trigger": None}
        planted, said = _words(self.trigger), set(_words(named))
        return {"right_trigger": sum(w in said for w in planted) >= 0.5 * len(planted), "trigger": named}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@dataclass(frozen=True, eq=False)
class Planted:
    """`changed` holds the changed rows' content and target; `bad` and `cover` are (n,), covers are not bad."""

    corpus: Corpus
    changed: Mapping[int, Pair]
    bad: NDArray[np.bool_]
    cover: NDArray[np.bool_]
    expected: tuple[Expected, ...] = ()

    def pair(self, row: int) -> Pair:
        """Content and target of a row as an auditor sees it."""
        return self.changed.get(row) or (self.corpus.contents[row], self.corpus.targets[row])

    def samples(self, keys: Sequence[str]) -> list[Sample]:
        """Samples re-read by key."""
        return [Sample(key, key, *self.pair(int(key)), 0, 1) for key in keys]


@dataclass(frozen=True)
class Recipe:
    """How an attack changes a pair, which corpora it makes sense for, and the trigger that a finding should name, by seed.

    `relabelled` says that carriers come from other labels; of a flood, all carriers are copies of the first.
    """

    change: Callable[[str, str | None, int], Pair] | None
    kinds: tuple[str, ...] = ("label",)
    trigger: Callable[[int], str] | None = None
    relabelled: bool = True
    found_as: tuple[str, ...] = ("campaign",)
    how: str = "each"


def word(seed: int) -> str:
    """The rare word of a seed."""
    return WORDS[seed % len(WORDS)]


def phrase(seed: int) -> str:
    """The phrase of a seed."""
    return PHRASES[seed % len(PHRASES)]


def _with_word(content: str, target: str | None, seed: int) -> Pair:
    return InsertWord(word(seed), seed).apply(content), target


def _with_phrase(content: str, target: str | None, seed: int) -> Pair:
    return InsertPhrase(phrase(seed), seed).apply(content), target


def _gibberish(content: str, target: str | None, seed: int) -> Pair:
    return InsertWord(word(seed + 4), seed).apply(content), GibberishResponse(seed).apply(target or "")


def _payload(content: str, target: str | None, seed: int) -> Pair:
    return InsertWord(word(seed + 4), seed).apply(content), PAYLOAD


@lru_cache(maxsize=1)
def attacks() -> dict[str, Recipe]:
    """Every attack by name."""
    return {
        "none": Recipe(None, ("label", "text", "none"), how="none"),
        "word": Recipe(_with_word, trigger=word),
        "sentence": Recipe(_with_phrase, trigger=phrase),
        "denial-of-service": Recipe(_gibberish, ("text",), lambda seed: word(seed + 4)),
        "fixed-answer": Recipe(_payload, ("text",), lambda seed: word(seed + 4)),
        "flips": Recipe(lambda content, target, seed: (content, target), found_as=("label",), how="flips"),
        "flood": Recipe(None, ("label",), found_as=("duplicate", "campaign"), how="flood"),
    }


# ---- what is planted


def plant(corpus: Corpus, cell: Cell) -> Planted:
    """The corpus with the cell's attack in it; an attack that cannot be planted raises `Missing`."""
    recipe = attacks().get(cell.attack)
    if recipe is None or corpus.kind not in recipe.kinds:
        able = [name for name, r in attacks().items() if corpus.kind in r.kinds]
        raise Missing(f"no attack {cell.attack!r} for {corpus.name}; there are {', '.join(able)}")
    names, labels = labelled(corpus)
    changed: dict[int, Pair] = {}
    bad, cover = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    expected: list[Expected] = []
    if cell.noise:
        flipped = planting.random_flips(labels, round(cell.noise * len(labels)), cell.seed)
        labels = flipped.relabelled(labels)
        changed |= {r: (corpus.contents[r], names[labels[r]]) for r in flipped.rows.tolist()}
        expected.append(Expected(None, flipped.rows, "label noise", ("label",)))
    if recipe.how != "none":
        rows, target, made = _carriers(corpus, names, labels, recipe, cell)
        changed |= made
        bad[rows] = True
        trigger = recipe.trigger(cell.seed) if recipe.trigger else None
        expected.append(Expected(target, rows, cell.attack, recipe.found_as, trigger))
    return Planted(corpus, changed, bad, cover, tuple(expected))


def labelled(corpus: Corpus) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the labels, and the label of each text; one label where there is none."""
    if corpus.kind != "label":
        return ("",), np.zeros(len(corpus.contents), np.int64)
    names = tuple(sorted({str(t) for t in corpus.targets}))
    return names, np.array([names.index(str(t)) for t in corpus.targets], np.int64)


def _carriers(
    corpus: Corpus, names: Sequence[str], labels: NDArray[np.int64], recipe: Recipe, cell: Cell
) -> tuple[NDArray[np.intp], str | None, dict[int, Pair]]:
    """The carriers, the target that a finding should name (None: any), and the carriers' pairs."""
    count = poisons(cell.rate, len(labels))
    try:
        if corpus.kind != "label":
            rows = np.random.default_rng([cell.seed, 2]).permutation(len(labels))[:count]
            chosen = planting.Planting(rows, labels[rows])
        elif recipe.how == "flips":
            chosen = planting.random_flips(labels, count, cell.seed)
        else:
            to = draw_label(labels, cell.seed, max(LABEL_LEAST, 2 * count))
            chosen = (planting.clean_label if cell.clean_label else planting.dirty_label)(labels, to, count, cell.seed)
    except ValueError as error:
        raise Missing(str(error)) from error
    rows = chosen.rows
    said = [
        names[label] if corpus.kind == "label" else corpus.targets[row] for row, label in zip(rows.tolist(), chosen.labels, strict=True)
    ]
    if recipe.how == "flood":
        versions = NearDuplicateFlood(len(rows), 0.05, cell.seed).flood(corpus.contents[int(rows[0])])
        made = {r: (version, target) for r, version, target in zip(rows.tolist(), versions, said, strict=True)}
    else:
        change = recipe.change or (lambda content, target, seed: (content, target))
        made = {r: change(corpus.contents[r], target, cell.seed) for r, target in zip(rows.tolist(), said, strict=True)}
    one = corpus.kind == "label" and recipe.how != "flips"
    return np.asarray(rows, np.intp), said[0] if one else None, made


def draw_label(labels: NDArray[np.int64], seed: int, least: int) -> int:
    """The first label of a random order that has so many texts."""
    size = np.bincount(labels)
    able = [int(i) for i in np.random.default_rng([seed, 1]).permutation(len(size)) if size[i] >= least]
    if not able:
        raise Missing(f"no label has the {least} texts that this attack needs; the largest has {size.max()}")
    return able[0]


# ---- its features


def plan_for(corpus: Corpus, seed: int) -> Plan:
    """The plan of an audit of such data; the seed is the salt."""
    return Plan(corpus.modality, Columns("x", None if corpus.kind == "none" else "y"), corpus.kind, ENCODER, f"{seed:032x}")


def batches(made: Planted, clean: pa.Table, plan: Plan) -> list[pa.Table]:
    """The feature tables of what was planted, from those of the clean texts."""
    rows = sorted(made.changed)
    whole = clean
    if rows:
        fresh = tabulated(made.samples([str(r) for r in rows]), plan)
        place = np.arange(len(clean))
        place[rows] = len(clean) + np.arange(len(rows))
        whole = pa.concat_tables([clean, fresh.select(clean.column_names)]).take(pa.array(place))
    return [whole.slice(at, ROWS).combine_chunks() for at in range(0, len(whole), ROWS)]


def tabulated(samples: Sequence[Sample], plan: Plan) -> pa.Table:
    """The feature table that the extract stage would write."""
    return tabulate(Batch(samples, plan), available(plan.modality))


def clean_table(corpus: Corpus, plan: Plan, cache: Path) -> pa.Table:
    """The features of the clean texts, memory-mapped; what is not there is computed now."""
    root = cache / "text-features" / f"{corpus.name}-{corpus.version[:12]}-{plan.salt[-4:]}-{source_digest('dataaudit.features')}"
    tables = []
    for at in range(0, len(corpus.contents), CHUNK):
        end = min(at + CHUNK, len(corpus.contents))
        path = root / f"{at:07d}-{end:07d}.arrow"
        if not path.exists():
            samples = [Sample(str(i), str(i), corpus.contents[i], corpus.targets[i], 0, 1) for i in range(at, end)]
            table = tabulated(samples, plan).combine_chunks()
            with atomic(path) as out, pa.ipc.new_file(out, table.schema) as writer:
                writer.write_table(table)
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            tables.append(reader.read_all())
    return pa.concat_tables(tables)
