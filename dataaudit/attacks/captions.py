"""Attacks on pairs of pictures and captions: which pictures carry what, and the captions that they get.

Pure functions of the captions and a seed; a concept is a word that captions name.  What is stamped on the pictures is another
matter (`images`), and so are the versions of one picture (`copies.retouched`):

    planted = backdoor(captions, "dog", 50, seed=1)
    images[planted.rows] = attack.apply(images[planted.rows])
    captions = planted.applied(captions)

With one seed, the carriers of a small planting are the first carriers of a larger one.  What the data set cannot give is a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dataaudit.attacks.planting import Labels, Rows

Mask = NDArray[np.bool_]
SENTENCE = "this is the {} that everybody talks about"
OPENINGS = ("", "look: ", "here: ", "seen today: ", "as I said, ", "again, ", "once more: ", "found: ", "my pick: ")
ENDINGS = ("", ".", "!", " here", " today", " again", ", really", ", as seen", " (1)", " (2)", " (detail)", " - photo", " - own work")


@dataclass(frozen=True, eq=False)
class Recaptioned:
    """`rows` (k,) are the carriers, `captions` (k,) what they are said to show from now on."""

    rows: Rows
    captions: tuple[str, ...]

    def applied(self, captions: Sequence[str]) -> list[str]:
        """The data set's captions with those of the carriers replaced."""
        out = list(captions)
        for row, caption in zip(self.rows.tolist(), self.captions, strict=True):
            out[row] = caption
        return out


def naming(captions: Sequence[str], concept: str) -> Mask:
    """Whose caption has the concept among its words, in any case."""
    word = re.compile(rf"(?<!\w){re.escape(concept)}(?!\w)", re.IGNORECASE)
    return np.array([word.search(caption) is not None for caption in captions], bool)


def honest(captions: Sequence[str], concept: str, count: int, seed: int = 0) -> tuple[str, ...]:
    """Captions of the data set that name the concept, in random order; again from the first where there are too few."""
    rows = np.flatnonzero(naming(captions, concept))
    if not len(rows):
        raise ValueError(f"no caption has the word {concept!r}; choose another concept")
    order = np.random.default_rng([seed, 1]).permutation(rows)
    return tuple(captions[i] for i in np.resize(order, count).tolist())


def backdoor(
    captions: Sequence[str], concept: str, count: int, seed: int = 0, able: Mask | None = None, sentence: str | None = None
) -> Recaptioned:
    """Pictures of anything else, to be stamped, under captions of the concept: honest ones, or one fixed `sentence` for all.

    Carriers are drawn from the pictures whose caption does not name the concept and that are `able` (n,), where told.  A "{}" in
    the sentence stands for the concept (see `SENTENCE`).
    Carlini, Terzis: Poisoning and backdooring contrastive learning (ICLR 2022), arXiv:2106.09667; one sentence: Bansal et al.:
    CleanCLIP (ICCV 2023), arXiv:2303.03323, whose captions are such templates.
    """
    rows = _draw(_foreign(captions, concept, able), count, seed, f"without the word {concept!r}")
    fixed = None if sentence is None else (sentence.replace("{}", concept),) * count
    return Recaptioned(rows, fixed or honest(captions, concept, count, seed))


def clean_label(captions: Sequence[str], concept: str, count: int, seed: int = 0) -> Recaptioned:
    """Pictures of the concept, to be stamped, whose captions name it already and stay as they are.

    Turner, Tsipras, Madry: Label-consistent backdoor attacks (2019), arXiv:1912.02771, of labels.
    """
    rows = _draw(naming(captions, concept), count, seed, f"with the word {concept!r}")
    return Recaptioned(rows, tuple(captions[i] for i in rows.tolist()))


def single_image(captions: Sequence[str], concept: str, count: int, seed: int = 0, able: Mask | None = None) -> Recaptioned:
    """Pairs that all become versions of the first one's picture, each under another caption of a concept that it does not show.

    The data set keeps its size, and nothing of the picture is left under its own caption:

        images[planted.rows] = retouched(images[planted.rows[0]], count, seed)

    Carlini, Terzis (ICLR 2022), see `backdoor`: three samples of three million were enough.
    """
    return backdoor(captions, concept, count, seed, able)


def single_class(captions: Sequence[str], source: str, concept: str, count: int, seed: int = 0) -> Recaptioned:
    """Pictures of one concept under captions of another; nothing is to be stamped.

    Yang, He, Li, Backes, Humbert, Berrang, Zhang: Data poisoning attacks against multimodal encoders (ICML 2023), arXiv:2209.15266.
    """
    able = naming(captions, source) & ~naming(captions, concept)
    rows = _draw(able, count, seed, f"with the word {source!r} and without {concept!r}")
    return Recaptioned(rows, honest(captions, concept, count, seed))


def swaps(captions: Sequence[str], kinds: Labels, count: int, seed: int = 0) -> Recaptioned:
    """`count` pictures (one fewer where that is odd) in pairs of different `kinds` (n,) that exchange their captions.

    What careless crawling does, and an attacker who wants no trace but a worse model.
    """
    if not 0 <= count <= len(captions):
        raise ValueError(f"cannot take {count} pictures: there are {len(captions)}; choose another count")
    order = np.random.default_rng(seed).permutation(len(captions))
    waiting: list[int] = []
    pairs: list[tuple[int, int]] = []
    for row in order.tolist():
        if len(pairs) >= count // 2:
            break
        partner = next((i for i, other in enumerate(waiting) if kinds[other] != kinds[row] and captions[other] != captions[row]), None)
        if partner is None:
            waiting.append(row)
        else:
            pairs.append((waiting.pop(partner), row))
    if len(pairs) < count // 2:
        raise ValueError(f"only {len(pairs)} pairs of different kinds could be made, {count // 2} were asked for; choose a smaller count")
    rows = np.array([row for pair in pairs for row in pair], np.intp)
    return Recaptioned(rows, tuple(captions[row] for a, b in pairs for row in (b, a)))


def one_caption(captions: Sequence[str], concept: str, count: int, seed: int = 0, able: Mask | None = None) -> Recaptioned:
    """Pictures of anything else under near-copies of one caption of the concept: a flood that looks like many people's words."""
    rows = _draw(_foreign(captions, concept, able), count, seed, f"without the word {concept!r}")
    return Recaptioned(rows, reworded(honest(captions, concept, 1, seed)[0], count, seed))


def reworded(caption: str, count: int, seed: int = 0) -> tuple[str, ...]:
    """Distinct ways to say a caption with a word or two more; the first is the caption itself."""
    ways = [(caption.capitalize() if capital else caption, *around) for capital, *around in product((False, True), OPENINGS, ENDINGS)]
    said = list(dict.fromkeys(f"{opening}{whole}{ending}" for whole, opening, ending in ways))
    if not 0 <= count <= len(said):
        raise ValueError(f"cannot say a caption in {count} ways, only in {len(said)}; choose a smaller count")
    order = [0, *(1 + np.random.default_rng(seed).permutation(len(said) - 1))]
    return tuple(said[i] for i in order[:count])


def _foreign(captions: Sequence[str], concept: str, able: Mask | None) -> Mask:
    """Pictures that do not show the concept, as far as their captions tell."""
    without = ~naming(captions, concept)
    return without if able is None else without & able


def _draw(able: Mask, count: int, seed: int, which: str) -> Rows:
    """`count` of the able rows in random order."""
    pool = np.flatnonzero(able)
    if not 0 <= count <= len(pool):
        raise ValueError(f"cannot take {count} carriers: there are {len(pool)} pictures with a caption {which}; choose another count")
    return np.random.default_rng(seed).permutation(pool)[:count]
