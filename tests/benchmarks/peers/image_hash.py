"""ImageHash's 64-bit perceptual hash of encoded pictures: INPUT OUT."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import imagehash
import numpy as np
import pyarrow.parquet as pq
from measuring import tell, timed
from PIL import Image


def hashed(pictures: list[bytes]) -> list[int]:
    """Decoded and hashed one by one, as the library does it."""
    hashes = [imagehash.phash(Image.open(io.BytesIO(content))) for content in pictures]
    return [int.from_bytes(np.packbits(one.hash.ravel()).tobytes(), "big") for one in hashes]


def main(given: str, out: str) -> None:
    """The pictures are in memory before the clock starts."""
    pictures = pq.read_table(Path(given, "pictures.parquet"), columns=["image"]).column(0).to_pylist()
    hashed(pictures[:10])
    hashes, cost = timed(lambda: hashed(pictures))
    tell(out, cost, hashes=np.array(hashes, np.uint64))


if __name__ == "__main__":
    main(*sys.argv[1:])
