"""Pillow decodes JPEG files to RGB arrays: INPUT OUT."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measuring import tell, timed
from PIL import Image


def decoded(content: bytes) -> np.ndarray:
    """One picture, uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def main(given: str, out: str) -> None:
    """What is measured keeps no picture; a second pass makes the pixels' digest."""
    pictures = pq.read_table(Path(given, "pictures.parquet"), columns=["image"]).column(0).to_pylist()
    decoded(pictures[0])
    _, cost = timed(lambda: sum(len(decoded(content)) for content in pictures))
    whole = hashlib.sha256()
    for content in pictures:
        whole.update(decoded(content).tobytes())
    tell(out, cost, digest=whole.hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
