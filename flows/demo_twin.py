"""The unpoisoned twin of a demonstration set: same keys, same shards, planted samples replaced by their stored originals.

Also the one reader and writer of such sets, so that writing twice gives the same bytes: times and owners in
tars are fixed, rows keep their order.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.errors import SourceError
from dataaudit.store.records import atomic

ORIGINALS = {"images": "images.tar", "captions": "captions.tar", "mails": "mails.parquet", "chat": "chat.jsonl"}


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a set: `content` is a PNG or a text, `target` a label, caption or response, in a tar with this `ending`."""

    key: str
    content: bytes | str
    target: str
    ending: str = "cls"


def read(path: Path) -> list[Row]:
    """The rows of a shard: tar of KEY.png and KEY.cls or KEY.txt, Parquet of id, text, label, or JSON Lines of id, prompt, response."""
    if path.suffix not in _READERS:
        raise SourceError(f"{path}: expected a shard that ends with one of {', '.join(_READERS)}")
    return list(_READERS[path.suffix](path))


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a shard in the format of its name; the same rows give the same bytes (with the same version of pyarrow)."""
    if path.suffix not in _WRITERS:
        raise SourceError(f"{path}: expected a shard that ends with one of {', '.join(_WRITERS)}")
    content = _WRITERS[path.suffix](rows)
    with atomic(path) as out:
        out.write(content)


def twin(source: Path, originals: Path, destination: Path) -> int:
    """Write the twin of every shard in the folder `source` to `destination`; returns how many samples were substituted."""
    stored = {row.key: row for row in read(originals)}
    used = 0
    for shard in sorted(p for p in source.iterdir() if p.suffix in _READERS):
        rows = read(shard)
        used += sum(row.key in stored for row in rows)
        write(destination / shard.name, [stored.get(row.key, row) for row in rows])
    if used != len(stored):
        raise SourceError(f"{originals}: {len(stored)} originals, but {used} of their keys are in {source}; make the sample data again")
    return used


def twins(sample_data: Path, destination: Path) -> dict[str, Path]:
    """The twins of all sets of `sample_data`: their folders by set name."""
    for name, originals in ORIGINALS.items():
        twin(sample_data / name, sample_data / "originals" / originals, destination / name)
    return {name: destination / name for name in ORIGINALS}


def _read_tar(path: Path) -> Iterator[Row]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            key, _, extension = member.name.partition(".")
            if content is not None:
                found.setdefault(key, {})[extension] = content.read()
    for key, parts in found.items():
        (ending,) = parts.keys() - {"png"}
        yield Row(key, parts["png"], parts[ending].decode(), ending)


def _read_parquet(path: Path) -> Iterator[Row]:
    columns = pq.read_table(path).to_pydict()
    for key, text, label in zip(columns["id"], columns["text"], columns["label"], strict=True):
        yield Row(key, text, label)


def _read_jsonl(path: Path) -> Iterator[Row]:
    for line in path.read_bytes().splitlines():
        row = json.loads(line)
        yield Row(row["id"], row["prompt"], row["response"])


def _tar(rows: Iterable[Row]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            for extension, content in (("png", row.content), (row.ending, row.target)):
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(f"{row.key}.{extension}")  # mtime 0, owner 0, mode 644
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _parquet(rows: Iterable[Row]) -> bytes:
    kept = list(rows)
    table = pa.table({"id": [r.key for r in kept], "text": [r.content for r in kept], "label": [r.target for r in kept]})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _jsonl(rows: Iterable[Row]) -> bytes:
    lines = (json.dumps({"id": r.key, "prompt": r.content, "response": r.target}, ensure_ascii=False) for r in rows)
    return "".join(f"{line}\n" for line in lines).encode()


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {".tar": _read_tar, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
_WRITERS: dict[str, Callable[[Iterable[Row]], bytes]] = {".tar": _tar, ".parquet": _parquet, ".jsonl": _jsonl}
