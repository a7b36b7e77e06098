"""Encoders turn decoded content into embeddings; one interface, one module an implementation.

efficientnet-lite2              images, weights from a package (the default)
minilm                          text, weights from a package (the default)
hashed                          text, no model at all
open_clip:MODEL                 images and text, weights from the hub
open_clip:MODEL/TAG             a named set of weights from the hub
open_clip:MODEL/TAG@REVISION    the same, as the hub had it at a commit
open_clip:MODEL/PATH            a local .safetensors file
...@sha256:HEX                  and nothing but these bytes; may follow any open_clip name

A data set whose target is text needs two: `IMAGES+TEXTS` names one for the content and one for the target; a name
alone (a text encoder, or an open_clip model, which has both towers) is both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import ConfigurationError
from dataaudit.model import Plan

# Before huggingface_hub is imported: a download from the hub, if one is asked for, tells nothing else.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

IMAGES = ("efficientnet-lite2",)
TEXTS = ("minilm", "hashed")
BESIDE = "+"
"""Between the encoder of the content and that of the target."""
GIVEN = "given"
"""Instead of an encoder where the data bring their own vectors."""
Sees = Literal["images", "texts"]


class Encoder(Protocol):
    """Images (uint8, H x W x 3) or texts to vectors; a pure function of each item, whatever it was batched with."""

    @property
    def name(self) -> str:
        """What it was loaded as."""
        ...

    @property
    def width(self) -> int:
        """The number of components."""
        ...

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Float32 vectors, shape (n, width)."""
        ...


def of_content(plan: Plan) -> Encoder:
    """The encoder that the plan's content is seen with."""
    return load(plan.encoder.partition(BESIDE)[0], "images" if plan.pictures else "texts")


def of_target(plan: Plan) -> Encoder:
    """The encoder that the plan's targets are read with, where they are text."""
    content, _, target = plan.encoder.partition(BESIDE)
    return load(target or content, "texts")


def joint(plan: Plan) -> bool:
    """Whether content and target are embedded in one space, in which a cosine tells whether they agree."""
    return plan.pictures and plan.encoder.startswith("open_clip:") and BESIDE not in plan.encoder


def roles(plan: Plan) -> list[tuple[str, Sees]]:
    """The encoders that a plan's content and targets take, each with what it sees; none for the user's own vectors."""
    content, _, target = plan.encoder.partition(BESIDE)
    seen: list[tuple[str, Sees]] = [(content, "images" if plan.pictures else "texts")]
    read: list[tuple[str, Sees]] = [(target or content, "texts")] if plan.target_kind == "text" else []
    return [role for role in dict.fromkeys([*seen, *read]) if role[0] != GIVEN]


def pinned(encoder: str) -> str:
    """The same encoder with nothing left open: open_clip's weights by revision and SHA-256.  Fetches them where they are on the hub."""
    from dataaudit.features.encoders import weights

    parts = encoder.split(BESIDE)
    return BESIDE.join(weights.pinned(weights.parse(part)).name if part.startswith(weights.PREFIX) else part for part in parts)


@lru_cache(maxsize=8)
def load(name: str, sees: Sees) -> Encoder:
    """The encoder of this name for images or for texts; loaded once a process."""
    kind, _, rest = name.partition(":")
    images = sees == "images"
    if kind == "open_clip" and rest:
        from dataaudit.features.encoders import open_clip

        return open_clip.load(name, images)
    if images and name == "efficientnet-lite2":
        from dataaudit.features.encoders.image import EfficientNetLite2

        return EfficientNetLite2()
    if not images and name in TEXTS:
        from dataaudit.features.encoders import text

        return text.MiniLM() if name == "minilm" else text.Hashed()
    known = ", ".join([*(IMAGES if images else TEXTS), "open_clip:MODEL[/TAG or /PATH.safetensors][@REVISION][@sha256:HEX]"])
    raise ConfigurationError(f"no encoder {name!r} for {sees}; there are {known}")
