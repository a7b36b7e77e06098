"""Encoders turn decoded content into embeddings; one interface, one module an implementation.

efficientnet-lite2              images, weights from a package (the default)
minilm                          text, weights from a package (the default)
hashed                          text, no model at all
open_clip:MODEL                 images and text, weights from the hub
open_clip:MODEL/TAG             a named set of weights from the hub
open_clip:MODEL/PATH            a local .safetensors file
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import ConfigurationError
from dataaudit.model import Modality

# Before huggingface_hub is imported: a download from the hub, if one is asked for, tells nothing else.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

IMAGES = ("efficientnet-lite2",)
TEXTS = ("minilm", "hashed")


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


@lru_cache(maxsize=8)
def load(name: str, modality: Modality) -> Encoder:
    """The encoder of this name for such content; loaded once a process."""
    kind, _, rest = name.partition(":")
    images = modality == "labelled-images"
    if kind == "open_clip" and rest:
        from dataaudit.features.encoders import open_clip

        return open_clip.load(rest, images)
    if images and name == "efficientnet-lite2":
        from dataaudit.features.encoders.image import EfficientNetLite2

        return EfficientNetLite2()
    if not images and name in TEXTS:
        from dataaudit.features.encoders import text

        return text.MiniLM() if name == "minilm" else text.Hashed()
    known = ", ".join([*(IMAGES if images else TEXTS), "open_clip:MODEL[/TAG or /PATH.safetensors]"])
    raise ConfigurationError(f"no encoder {name!r} for {modality}; there are {known}")
