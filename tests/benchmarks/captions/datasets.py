"""The clean pictures with captions that attacks are planted in; one that is not installed raises `Missing` with the reason.

    cifar10      CIFAR-10, 50,000 pictures of 32 x 32; the captions are made from the labels (`templates`), by no one who saw the picture
    openclipart  Debian's openclipart-png, 8,103 drawings; the captions are the words of the file names, with the authors' names in some
    stamps       Debian's tuxpaint-stamps-default, 796 cut-out photographs and drawings with the English sentence that goes with each

Pictures are read by `tests.benchmarks.images.datasets`, which says where they are looked for, and come in its order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from dataaudit.model import fingerprint
from tests.benchmarks.captions import templates
from tests.benchmarks.images import datasets as pictures
from tests.benchmarks.images.datasets import Decoded, Images
from tests.benchmarks.suite import Missing

MIRRORED = "_mirror"
CLIPART_WORDS = ("arrow", "folder", "flag", "hotel", "tree", "clock", "dog", "hat", "jigsaw", "button")
STAMP_WORDS = ("letter", "sign", "flower", "coin", "christmas", "flag")


@dataclass(frozen=True)
class Captioned:
    """`captions[i]` goes with `images.pixels[i]`; the labels of `images` tell unlike pictures apart and are shown to nobody.

    `concepts` are words that many captions have and that name what is to be seen: what attacks are about.  `version` tells the files
    and the words that they came from.
    """

    images: Images
    captions: tuple[str, ...]
    concepts: tuple[str, ...]
    version: str

    @classmethod
    def of(cls, images: Images, captions: tuple[str, ...], concepts: tuple[str, ...]) -> Captioned:
        """The pictures with these captions."""
        return cls(images, captions, concepts, fingerprint(images.version, *captions))

    def first(self, limit: int | None) -> Captioned:
        """A random part of `limit` pairs."""
        return replace(self, images=self.images.first(limit), captions=self.captions[:limit])


def load(name: str, limit: int | None, cache: Path) -> Captioned:
    """A data set, or a random part of it; `cache` keeps what is slow to read."""
    if name not in READERS:
        raise Missing(f"no data set {name!r}; there are {', '.join(READERS)}")
    return _whole(name, cache).first(limit)


@lru_cache(maxsize=3)
def _whole(name: str, cache: Path) -> Captioned:
    return READERS[name](cache)


def cifar10(cache: Path) -> Captioned:
    """Many captions for one kind of picture, and none that tells two pictures of a kind apart."""
    images = pictures.load("cifar10", None, cache)
    concepts = tuple(templates.NAMES.get(name, (name,))[0] for name in images.names)
    return Captioned.of(images, templates.captions(images.labels, images.names), concepts)


def openclipart(cache: Path) -> Captioned:
    """Few words, which hardly two pictures share, and long series (1,375 stars) under nearly one caption."""
    images = pictures.load("openclipart", None, cache)
    return Captioned.of(images, tuple(file_words(path) for path in _paths(images)), CLIPART_WORDS)


def stamps(cache: Path) -> Captioned:
    """Sentences that people wrote about pictures, few as they are."""
    images = pictures.gallery("stamps", pictures.debian() / "tuxpaint" / "stamps", "tuxpaint-stamps-default", cache)
    return Captioned.of(images, tuple(stamp_words(path) for path in _paths(images)), STAMP_WORDS)


def _paths(images: Images) -> tuple[Path, ...]:
    if not isinstance(images.pixels, Decoded):
        raise TypeError(f"the pictures of {images.name} have no file names")
    return images.pixels.paths


def file_words(path: Path) -> str:
    """The words of a file's name, without what only counts; the whole name where it has no words."""
    said = " ".join(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem))).lower()
    return said or path.stem


def stamp_words(path: Path) -> str:
    """The first line, in English, of the text beside a stamp; the words of its name where there is none."""
    text = path.with_name(path.stem.removesuffix(MIRRORED) + ".txt")
    said = text.read_text("utf-8", "replace").partition("\n")[0].strip() if text.exists() else ""
    return said or file_words(path.with_stem(path.stem.removesuffix(MIRRORED)))


READERS: dict[str, Callable[[Path], Captioned]] = {"cifar10": cifar10, "openclipart": openclipart, "stamps": stamps}
