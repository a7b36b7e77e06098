"""Attacks planted in pictures with captions, and the feature tables of the result.

A cell only computes the features of the pictures and the captions that it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.attacks import captions as recaption
from dataaudit.attacks.captions import Recaptioned
from dataaudit.attacks.copies import retouched
from dataaudit.model import Finding, Plan, Sample
from tests.benchmarks.captions.datasets import Captioned
from tests.benchmarks.captions.feature_tables import clean_tables, tabulated
from tests.benchmarks.images import feature_tables as of_images
from tests.benchmarks.images import planted as on_images
from tests.benchmarks.images import triggers
from tests.benchmarks.images.datasets import Images, Pixels
from tests.benchmarks.suite import Cell, Missing, carriers

STAMPS = ("patch", "blend", "warp")
FIXED = "-fixed"
"""The ending of a backdoor whose carriers all get one sentence."""
TARGETED = ("single-image", "single-class")


@dataclass(frozen=True, eq=False)
class Expected:
    """A campaign that should be found: the rows that carry it, the kinds of findings that count, the concept and the trigger, if any.

    Nobody tells an audit which words are concepts, so that a finding may name any target.
    """

    rows: NDArray[np.intp]
    attack: str
    kinds: tuple[str, ...]
    concept: str | None = None
    trigger: triggers.Expected | None = None
    target: str | None = None

    def recognised(self, finding: Finding) -> Mapping[str, Any]:
        """Whether it shows the trigger, and whether the target that it names is the concept."""
        shown = {"right_trigger": None} if self.trigger is None else self.trigger.recognised(finding)
        named = None if self.concept is None else bool(recaption.naming([finding.target], self.concept)[0])
        return dict(shown) | {"right_target": named}


@dataclass(frozen=True, eq=False)
class Planted:
    """`captions` (n,) as an auditor reads them, `changed` the pictures that it sees otherwise; `bad` is (n,)."""

    data: Captioned
    captions: tuple[str, ...]
    changed: Mapping[int, Pixels]
    bad: NDArray[np.bool_]
    expected: tuple[Expected, ...] = ()

    @property
    def cover(self) -> NDArray[np.bool_]:
        """None of these attacks has cover samples."""
        return np.zeros(len(self.bad), bool)

    @property
    def pixels(self) -> on_images.Shown:
        """Every picture as an auditor sees it."""
        return on_images.Shown(self.data.images, self.changed)

    @property
    def recaptioned(self) -> NDArray[np.intp]:
        """The rows whose caption is another one than before."""
        return np.flatnonzero([new != old for new, old in zip(self.captions, self.data.captions, strict=True)])

    def samples(self, keys: Sequence[str]) -> list[Sample]:
        """Samples re-read by key, the picture as PNG."""
        return [Sample(key, key, on_images.png(self.pixels[int(key)]), self.captions[int(key)], 0, 0) for key in keys]


# ---- what is planted

Choose = Callable[[Captioned, str, int, Cell], Recaptioned]


@dataclass(frozen=True)
class Recipe:
    """How an attack on a concept is planted: who gets which caption, what is stamped, and what counts as having found it.

    `versions`: all carriers show versions of the first one's picture.  Where `about` is false there is no concept.
    """

    choose: Choose
    stamp: str | None = None
    versions: bool = False
    about: bool = True
    kinds: tuple[str, ...] = ("campaign",)


def _backdoor(sentence: str | None) -> Choose:
    def choose(data: Captioned, concept: str, count: int, cell: Cell) -> Recaptioned:
        if cell.clean_label:
            return recaption.clean_label(data.captions, concept, count, cell.seed)
        return recaption.backdoor(data.captions, concept, count, cell.seed, unlike(data, concept), sentence)

    return choose


def _single_image(data: Captioned, concept: str, count: int, cell: Cell) -> Recaptioned:
    return recaption.single_image(data.captions, concept, count, cell.seed, unlike(data, concept))


def _single_class(data: Captioned, concept: str, count: int, cell: Cell) -> Recaptioned:
    source = draw_concept(data, cell.seed + 1000, count, without=concept)
    return recaption.single_class(data.captions, source, concept, count, cell.seed)


def _swaps(data: Captioned, concept: str, count: int, cell: Cell) -> Recaptioned:
    return recaption.swaps(data.captions, data.images.labels, count, cell.seed)


def _one_caption(data: Captioned, concept: str, count: int, cell: Cell) -> Recaptioned:
    return recaption.one_caption(data.captions, concept, count, cell.seed, unlike(data, concept))


@lru_cache(maxsize=1)
def attacks() -> dict[str, Recipe]:
    """Every attack by name; triggers are those of the image benchmark."""
    found = {name: Recipe(_backdoor(None), name) for name in STAMPS}
    found |= {name + FIXED: Recipe(_backdoor(recaption.SENTENCE), name) for name in STAMPS}
    return found | {
        "single-image": Recipe(_single_image, versions=True, kinds=("campaign", "duplicate", "label")),
        "single-class": Recipe(_single_class, kinds=("campaign", "label")),
        "swaps": Recipe(_swaps, about=False, kinds=("label",)),
        "one-caption": Recipe(_one_caption, kinds=("campaign", "duplicate")),
    }


def plant(data: Captioned, cell: Cell) -> Planted:
    """The data set with the cell's attack in it; an attack that cannot be planted raises `Missing`."""
    bad = np.zeros(len(data.captions), bool)
    if cell.attack == "none":
        return Planted(data, data.captions, {}, bad)
    recipe = attacks().get(cell.attack)
    if recipe is None:
        raise Missing(f"no attack {cell.attack!r}; there are none, {', '.join(attacks())}")
    count = carriers(cell, len(data.captions))
    concept = draw_concept(data, cell.seed, count if cell.clean_label else 1)
    try:
        chosen = recipe.choose(data, concept, count, cell)
    except ValueError as error:
        raise Missing(str(error)) from error
    changed = _changed(data.images, chosen, recipe, cell.seed)
    bad[chosen.rows] = True
    trigger = None
    if recipe.stamp:
        trigger = triggers.Expected(None, chosen.rows, cell.attack, recipe.kinds, *on_images.change(data.images, changed, chosen.rows))
    expected = Expected(chosen.rows, cell.attack, recipe.kinds, concept if recipe.about else None, trigger)
    return Planted(data, tuple(chosen.applied(data.captions)), changed, bad, (expected,))


def draw_concept(data: Captioned, seed: int, least: int, without: str | None = None) -> str:
    """The first concept of a random order that so many captions name."""
    order = np.random.default_rng([seed, 1]).permutation(len(data.concepts)).tolist()
    for concept in [data.concepts[i] for i in order]:
        if concept != without and recaption.naming(data.captions, concept).sum() >= max(least, 1):
            return concept
    raise Missing(f"no concept of {data.images.name} is named by {least} captions: {', '.join(data.concepts)}")


def unlike(data: Captioned, concept: str) -> NDArray[np.bool_]:
    """The pictures that are not of the kind that the concept's pictures mostly are: other words for it are in captions too."""
    kinds = data.images.labels
    return np.asarray(kinds != np.bincount(kinds[recaption.naming(data.captions, concept)]).argmax())


def _changed(images: Images, chosen: Recaptioned, recipe: Recipe, seed: int) -> dict[int, Pixels]:
    """The new pictures of the carriers, as an auditor sees them."""
    rows = chosen.rows.tolist()
    if recipe.versions:
        versions = retouched(np.asarray(images.pixels[rows[0]]), len(rows), seed)
        return {row: images.shown(version) for row, version in zip(rows, versions, strict=True)}
    if recipe.stamp is None:
        return {}
    stamp = on_images.fitting(images, on_images.attacks()[recipe.stamp], seed)
    return {row: images.shown(stamp.apply(np.asarray(images.pixels[row]))) for row in rows}


# ---- its features


def batches(made: Planted, plan: Plan, cache: Path) -> list[pa.Table]:
    """The feature tables of what was planted, from those of the clean pairs."""
    pictures, words = clean_tables(made.data, plan, cache)
    rows, said = np.array(sorted(made.changed), np.intp), made.recaptioned
    seen = of_images.tabulated([made.changed[int(r)] for r in rows], plan, _columns(pictures)) if len(rows) else pictures.slice(0, 0)
    read = tabulated([made.captions[int(r)] for r in said], plan) if len(said) else words.slice(0, 0)
    out = []
    for at in range(0, len(made.captions), of_images.ROWS):
        part = of_images.replaced(pictures.slice(at, of_images.ROWS), at, rows, seen)
        beside = of_images.replaced(words.slice(at, of_images.ROWS), at, said, read)
        for name in beside.column_names:
            part = part.append_column(name, beside.column(name))
        out.append(of_images.labelled(part, made.captions[at : at + of_images.ROWS], at, plan))
    return out


def _columns(pictures: pa.Table) -> list[str]:
    """The features of the pictures alone."""
    return [name for name in pictures.column_names if name != "digest"]
