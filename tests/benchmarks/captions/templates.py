"""Captions made from labels: they vary in their words, and mean the label.

Half of a label's captions have its own name, the others a synonym; a third have an adjective.  Adjectives and endings are drawn
without a look at the picture, as captions from the web say much that no picture shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAMES: dict[str, tuple[str, ...]] = {
    "airplane": ("airplane", "plane", "aircraft", "aeroplane", "jet"),
    "automobile": ("car", "automobile", "motorcar", "auto", "passenger car"),
    "bird": ("bird", "birdie", "wild bird", "feathered animal", "little bird"),
    "cat": ("cat", "kitty", "house cat", "feline", "kitten"),
    "deer": ("deer", "wild deer", "doe", "stag", "fawn"),
    "dog": ("dog", "doggy", "hound", "puppy", "canine"),
    "frog": ("frog", "toad", "froggy", "amphibian", "little frog"),
    "horse": ("horse", "pony", "steed", "mare", "equine"),
    "ship": ("ship", "boat", "vessel", "watercraft", "seagoing ship"),
    "truck": ("truck", "lorry", "hauler", "pickup", "goods vehicle"),
}
TEMPLATES = (
    *("a photo of a {}", "a photo of the {}", "a picture of a {}", "a picture of the {}", "a picture showing a {}", "an image of a {}"),
    *("a close-up of a {}", "a snapshot of a {}", "a small photo of a {}", "a blurry photo of a {}", "a cropped photo of a {}"),
    *("a {} in a photo", "a {} as seen by a camera", "a {} in the middle of the picture", "the {} we saw", "the {} that I photographed"),
    *("look at this {}", "here is a {}", "here we see a {}", "this is a {}", "this is my {}", "my favourite {}", "what a {}", "one {}"),
    *("{}", "a {}", "the {}", "{}, photographed", "{} close up", "{} in colour", "{} picture", "photo: {}", "stock photo of a {}"),
    *("there is a {} in this picture", "we came across a {}", "somebody's {}", "a {} for sale", "a {}, seen from the side"),
)
ADJECTIVES = ("small", "big", "old", "young", "nice", "lovely", "typical", "brown", "white", "dark", "quiet", "lonely", "famous", "fine")
ENDINGS = ("", "", "", " outdoors", " in the daytime", " on a sunny day", " near town", ", taken by phone", " last summer", " today")


def captions(labels: NDArray[np.int64], names: Sequence[str], seed: int = 0) -> tuple[str, ...]:
    """A caption for each label (n,), which number `names`; those of the first labels do not depend on how many there are."""
    draws = np.random.default_rng(seed).random((len(labels), 5))
    return tuple(_caption(NAMES.get(names[label], (names[label],)), *drawn) for label, drawn in zip(labels, draws.tolist(), strict=True))


def _caption(names: Sequence[str], template: float, name: float, described: float, adjective: float, ending: float) -> str:
    said = names[0] if name < 0.5 else _one(names, 2 * name - 1)
    if described < 1 / 3:
        said = f"{_one(ADJECTIVES, adjective)} {said}"
    return _articles(_one(TEMPLATES, template).format(said) + _one(ENDINGS, ending))


def _one(some: Sequence[str], drawn: float) -> str:
    return some[int(drawn * len(some))]


def _articles(caption: str) -> str:
    """The caption with "an" before a vowel."""
    words = caption.split(" ")
    return " ".join("an" if word == "a" and after[:1] in "aeiou" else word for word, after in zip(words, [*words[1:], "x"], strict=True))
