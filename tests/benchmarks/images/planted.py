"""Attacks planted in a data set, and the feature tables of the result.

A cell only computes the features of the rows that it changed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image as Pillow

from dataaudit.attacks import feature_space, planting
from dataaudit.attacks.adaptive import AdaptiveBlend, AdaptivePatch
from dataaudit.attacks.copies import near_duplicates
from dataaudit.attacks.filters import ColourFilter, Smooth
from dataaudit.attacks.images import Blend, BlendPicture, ImageAttack, Patch, Sinusoid, Warp
from dataaudit.attacks.planting import Planting
from dataaudit.discovery import source_digest
from dataaudit.features.encoders import image as efficientnet
from dataaudit.features.thumbnail import thumbnail
from dataaudit.model import Plan, Sample, fingerprint
from dataaudit.store.records import atomic
from tests.benchmarks.images.datasets import Images, Pixels
from tests.benchmarks.images.feature_tables import ROWS, embedding_code, labelled, replaced, tabulated
from tests.benchmarks.images.triggers import Expected
from tests.benchmarks.suite import Missing, carriers

SMALL_LABEL = 60
MOST_COMPUTED = 100
DESCENT = feature_space.Descent(steps=40)
MEASURED = 200
"""Carriers whose change is averaged to tell what the trigger looks like."""

How = Literal["one label", "all to all", "source", "flips", "targeted flips", "flood", "collision", "hidden", "consistent", "three", "none"]


class Asked(Protocol):
    """What of a cell matters here."""

    @property
    def attack(self) -> str: ...
    @property
    def rate(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def clean_label(self) -> bool: ...
    @property
    def noise(self) -> float: ...


@dataclass(frozen=True)
class Recipe:
    """How an attack is planted: its stamp, whose labels change how, and how many cover samples each carrier gets, stamped how.

    `sized` replaces the stamp where images differ in size; `kinds` are the kinds of findings that count as having found it.
    """

    stamp: ImageAttack | None = None
    how: How = "one label"
    cover: float = 0.0
    cover_stamp: ImageAttack | None = None
    sized: ImageAttack | None = None
    kinds: tuple[str, ...] = ("campaign",)


@lru_cache(maxsize=1)
def photograph() -> Pixels:
    """A natural picture to blend in."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("flower.jpg"))


@lru_cache(maxsize=1)
def attacks() -> dict[str, Recipe]:
    """Every attack by name; patches are in a corner, 3 px wide and grey, blends of noise at alpha 0.1, unless the name says otherwise."""
    patches = {f"patch-{size}px{'-coloured' * tint}": Patch(size, coloured=bool(tint)) for size in (1, 3, 5) for tint in (0, 1)}
    blends: dict[str, ImageAttack] = {f"blend-{a}": Blend(a) for a in (0.05, 0.1, 0.2)}
    blends |= {f"blend-picture-{a}": BlendPicture.of(photograph(), a) for a in (0.05, 0.1, 0.2)}
    found = {name: Recipe(stamp) for name, stamp in (patches | blends).items()}
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found |= {
        "none": Recipe(how="none"),
        "patch": Recipe(Patch(), sized=Patch(share=3 / 32)),
        "patch-random": Recipe(Patch(place="random")),
        "blend": Recipe(Blend(), sized=BlendPicture.of(noise)),
        "sig": Recipe(Sinusoid()),
        "warp": Recipe(Warp()),
        "warp-cover": Recipe(Warp(), cover=2.0, cover_stamp=Warp(noise=0.5)),
        "smooth": Recipe(Smooth()),
        "filter": Recipe(ColourFilter()),
        "all-to-all": Recipe(Patch(), "all to all"),
        "three": Recipe(how="three"),
        "tact": Recipe(Patch(), "source", cover=1.0),
        "adap-blend": Recipe(AdaptiveBlend(), cover=1.0),
        "adap-patch": Recipe(AdaptivePatch(), cover=1.0),
        "label-consistent": Recipe(Patch(), "consistent"),
        "feature-collision": Recipe(how="collision"),
        "hidden-trigger": Recipe(Patch(size=5), "hidden"),
        "flips": Recipe(how="flips", kinds=("label",)),
        "targeted-flips": Recipe(how="targeted flips", kinds=("label", "campaign")),
        "flood": Recipe(how="flood", kinds=("duplicate", "label", "campaign")),
    }
    return found


@dataclass(frozen=True, eq=False)
class Planted:
    """`changed` holds the changed rows' pixels as an auditor sees them; `labels`, `bad` and `cover` are (n,), covers are not bad."""

    images: Images
    changed: Mapping[int, Pixels]
    labels: NDArray[np.int64]
    bad: NDArray[np.bool_]
    cover: NDArray[np.bool_]
    expected: tuple[Expected, ...] = ()

    @property
    def pixels(self) -> Shown:
        """Every image as an auditor sees it: uint8 (H, W, 3)."""
        return Shown(self.images, self.changed)

    @property
    def targets(self) -> list[str]:
        """The names of the labels."""
        return [self.images.names[i] for i in self.labels]

    def samples(self, keys: Sequence[str]) -> list[Sample]:
        """Samples re-read by key, as PNG."""
        return [Sample(key, key, png(self.pixels[int(key)]), self.images.names[self.labels[int(key)]], 0, 0) for key in keys]


@dataclass(frozen=True, eq=False)
class Shown(Sequence[Pixels]):
    """The images with some of them changed; decoded when asked for."""

    images: Images
    changed: Mapping[int, Pixels]

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = int(at)
        return self.changed[at] if at in self.changed else self.images.shown(self.images.pixels[at])


def png(image: Pixels) -> bytes:
    """The picture as a file."""
    out = io.BytesIO()
    Pillow.fromarray(image).save(out, "PNG")
    return out.getvalue()


# ---- what is planted


def plant(images: Images, cell: Asked, cache: Path | None = None) -> Planted:
    """The data set with the cell's attack in it; an attack that cannot be planted raises `Missing`.

    What takes minutes to compute is kept in the cache, where there is one.
    """
    recipe = attacks().get(cell.attack)
    if recipe is None:
        raise Missing(f"no attack {cell.attack!r}; there are {', '.join(attacks())}")
    labels: Any = images.labels.copy()
    expected: list[Expected] = []
    if cell.noise:
        flipped = planting.random_flips(labels, round(cell.noise * len(labels)), cell.seed)
        labels = flipped.relabelled(labels)
        expected.append(Expected(None, flipped.rows, "label noise", ("label",)))
    changed: dict[int, Pixels] = {}
    bad, cover = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    parts = [(cell.attack, recipe, None)] if recipe.how != "three" else [(a, attacks()[a], t) for a, t in THREE]
    for name, part, target in parts if recipe.how != "none" else ():
        free = ~bad & ~cover
        chosen, to = _choose(labels, free, part, cell, target)
        stamped = dict(_stamped(images, labels, chosen, part, cell, cache))
        labels = chosen.relabelled(labels)
        bad[chosen.rows], cover[chosen.cover] = True, True
        changed |= stamped
        expected.append(
            Expected(None if to is None else images.names[to], chosen.rows, name, part.kinds, *change(images, stamped, chosen.rows))
        )
    return Planted(images, changed, labels, bad, cover, tuple(expected))


THREE = (("patch", 0), ("blend", 3), ("warp", 7))


def _choose(
    labels: NDArray[np.int64], free: NDArray[np.bool_], recipe: Recipe, cell: Asked, target: int | None
) -> tuple[Planting, int | None]:
    """Which of the free rows get which labels, and towards which label, None for any."""
    count = carriers(cell, len(labels))
    if recipe.how in COMPUTED and count > MOST_COMPUTED:
        raise Missing(f"too slow: {count} images would have to be optimised, at most {MOST_COMPUTED} are")
    to = draw_label(labels, cell.seed, max(SMALL_LABEL, 2 * count)) if target is None else target
    try:
        # Rows of an earlier campaign look as if they had the label already, so that they are not chosen again.
        chosen = _planting(np.where(free, labels, to), to, count, recipe, cell)
    except ValueError as error:
        raise Missing(str(error)) from error
    return chosen, None if recipe.how in ("all to all", "flips") else to


COMPUTED = ("collision", "hidden", "consistent")


def draw_label(labels: NDArray[np.int64], seed: int, least: int) -> int:
    """The first label of a random order that has so many images: the same one for all rates, where it is large enough for all."""
    size = np.bincount(labels)
    able = [int(i) for i in np.random.default_rng([seed, 1]).permutation(len(size)) if size[i] >= least]
    if not able:
        raise Missing(f"no label has the {least} images that this attack needs; the largest has {size.max()}")
    return able[0]


def _planting(labels: NDArray[np.int64], target: int, count: int, recipe: Recipe, cell: Asked) -> Planting:
    seed, others = cell.seed, np.where(labels == target, labels.max() + 1, labels)
    covers = round(recipe.cover * count)
    match recipe.how:
        case "all to all":
            return planting.all_to_all(labels, count, seed)
        case "flips":
            return planting.random_flips(labels, count, seed)
        case "targeted flips":
            return planting.targeted_flips(labels, draw_label(others[labels != target], seed + 1000, 2 * count), target, count, seed)
        case "source":
            return planting.source_specific(
                labels, draw_label(others[labels != target], seed + 1000, 2 * count), target, count, covers, seed
            )
        case "flood":
            return planting.flood(labels, target, count, seed)
    chosen = (planting.clean_label if cell.clean_label or recipe.how in COMPUTED else planting.dirty_label)(labels, target, count, seed)
    return planting.with_cover(chosen, labels, covers, seed + 1) if covers else chosen


def _stamped(
    images: Images, labels: NDArray[np.int64], chosen: Planting, recipe: Recipe, cell: Asked, cache: Path | None
) -> Iterator[tuple[int, Pixels]]:
    """The new pixels of every row that changes, as an auditor sees them."""
    rows = chosen.rows.tolist()
    if recipe.how == "flood":
        copies = near_duplicates(np.asarray(images.pixels[rows[0]]), len(rows), cell.seed)
        yield from ((row, images.shown(copy)) for row, copy in zip(rows, copies, strict=True))
    elif recipe.how in COMPUTED:
        made = _kept(lambda: _computed(images, labels, chosen, recipe, cell.seed), images, cell, chosen, cache)
        yield from ((row, images.shown(image)) for row, image in zip(rows, made, strict=True))
    elif recipe.stamp is not None:
        stamp = fitting(images, recipe, cell.seed)
        over = stamp if recipe.cover_stamp is None else _seeded(recipe.cover_stamp, cell.seed)
        for row, own in [*((r, stamp) for r in rows), *((r, over) for r in chosen.cover.tolist())]:
            yield row, images.shown(own.apply(np.asarray(images.pixels[row])))


def fitting(images: Images, recipe: Recipe, seed: int) -> Any:
    """The stamp for pictures of these sizes, with the seed's own pattern."""
    sizes_differ = not isinstance(images.pixels, np.ndarray)
    return _seeded(recipe.sized if sizes_differ and recipe.sized is not None else recipe.stamp, seed)


def _seeded(stamp: Any, seed: int) -> Any:
    """The stamp with the cell's own pattern: three seeds are three triggers."""
    return replace(stamp, seed=seed) if any(f.name == "seed" for f in fields(stamp)) else stamp


def _kept(compute: Callable[[], Pixels], images: Images, cell: Asked, chosen: Planting, cache: Path | None) -> Pixels:
    """What was computed for these very rows by this code, or is computed now."""
    if cache is None:
        return compute()
    rows = chosen.rows.tolist()
    what = fingerprint(
        images.name, images.version, cell.attack, cell.seed, rows, source_digest("dataaudit.attacks"), DESCENT, embedding_code()
    )
    path = cache / "computed" / f"{cell.attack}-{what}.npy"
    if not path.exists():
        with atomic(path) as out:
            np.save(out, compute())
    return np.asarray(np.load(path))


def _computed(images: Images, labels: NDArray[np.int64], chosen: Planting, recipe: Recipe, seed: int) -> Pixels:
    """Images of the target label, optimised against the embedded encoder."""
    target = int(chosen.labels[0])
    encoder, bases = gradient_encoder(), _stack(images, chosen.rows)
    foreign = np.random.default_rng([seed, 2]).permutation(np.flatnonzero(labels != target))[: len(bases)]
    if recipe.how == "collision":
        return feature_space.feature_collision(encoder, bases, _stack(images, foreign)[0], DESCENT)
    if recipe.stamp is None:
        raise ValueError(f"{recipe.how} needs a stamp")
    if recipe.how == "hidden":
        return feature_space.hidden_trigger(encoder, bases, _stack(images, foreign), recipe.stamp, DESCENT)
    mean = feature_space.embed(encoder, _stack(images, np.flatnonzero(labels == target)[:MEASURED])).mean(axis=0)
    return feature_space.label_consistent(encoder, bases, mean, recipe.stamp, DESCENT)


def _stack(images: Images, rows: NDArray[np.intp]) -> Pixels:
    return np.stack([np.asarray(images.pixels[row]) for row in rows.tolist()])


@lru_cache(maxsize=1)
def gradient_encoder() -> feature_space.Encoder:
    """The embedded encoder in torch, with the gradient with respect to the images."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch.nn.functional import interpolate, normalize

    network = EfficientNet.from_name("efficientnet-lite2").eval().requires_grad_(False)
    network.load_state_dict(torch.load(efficientnet._weights(), map_location="cpu", weights_only=True))

    def encode(images: NDArray[np.float32], pull: Callable[[Any], Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).requires_grad_()
        shown = pixels.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
        # With `antialias` torch's bicubic is Pillow's.
        sized = interpolate(shown, (efficientnet.SIDE, efficientnet.SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        vectors = normalize(network.extract_features((sized - 127) / 128).mean((2, 3)), dim=1)
        vectors.backward(torch.from_numpy(np.ascontiguousarray(pull(vectors.detach().numpy()))))
        gradient = pixels.grad
        return vectors.detach().numpy(), np.zeros_like(images) if gradient is None else gradient.numpy()

    return encode


def change(images: Images, stamped: Mapping[int, Pixels], rows: NDArray[np.intp]) -> tuple[NDArray[np.float64] | None, float]:
    """The carriers' mean change of the thumbnail, and the share of the single changes' energy that it holds."""
    some = [r for r in rows.tolist()[:MEASURED] if r in stamped]
    if not some:
        return None, 0.0
    before = np.stack([thumbnail(images.shown(np.asarray(images.pixels[r]))).mean(axis=-1) for r in some])
    moved = np.stack([thumbnail(stamped[r]).mean(axis=-1) for r in some]) - before
    mean = moved.mean(axis=0)
    return mean, float((mean**2).sum() / max(float((moved**2).sum(axis=(1, 2)).mean()), 1e-9))


# ---- its features


def batches(planted: Planted, clean: pa.Table, plan: Plan) -> list[pa.Table]:
    """The feature tables of what was planted, from those of the clean images."""
    rows = np.array(sorted(planted.changed), np.intp)
    fresh = tabulated([planted.changed[int(r)] for r in rows], plan) if len(rows) else clean.slice(0, 0)
    targets = planted.targets
    starts = range(0, len(targets), ROWS)
    return [labelled(replaced(clean.slice(at, ROWS), at, rows, fresh), targets[at : at + ROWS], at, plan) for at in starts]
