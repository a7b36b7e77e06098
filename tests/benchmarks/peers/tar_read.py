"""Webdataset tars by the webdataset library or by tarfile: INPUT OUT webdataset|tarfile.

Keys, the bytes of the picture and of the label, nothing decoded.  What is measured counts the samples; a second pass makes their digest.
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from measuring import digest, tell, timed

Sample = tuple[str, bytes, bytes]


def webdatasets(shards: Sequence[str]) -> Iterator[Sample]:
    """The library's own pipeline."""
    import webdataset

    for sample in webdataset.WebDataset(list(shards), shardshuffle=False):
        yield sample["__key__"], sample["jpg"], sample["cls"]


def tarfiles(shards: Sequence[str]) -> Iterator[Sample]:
    """The standard library."""
    for shard in shards:
        with tarfile.open(shard) as opened:
            parts: dict[str, bytes] = {}
            for member in opened:
                key, _, extension = member.name.rpartition(".")
                reader = opened.extractfile(member)
                if reader is not None:
                    parts[extension] = reader.read()
                if len(parts) == 2:
                    yield key, parts.pop("jpg"), parts.pop("cls")


READERS = {"webdataset": webdatasets, "tarfile": tarfiles}


def main(given: str, out: str, name: str) -> None:
    """Read twice, measured once."""
    shards = Path(given, "shards.txt").read_text().split("\n")
    read = READERS[name]
    list(read(shards[:1]))  # imports
    count, cost = timed(lambda: sum(1 for _ in read(shards)))
    tell(out, cost, count=count, digest=digest((key, content, label.decode()) for key, content, label in read(shards)))


if __name__ == "__main__":
    main(*sys.argv[1:])
