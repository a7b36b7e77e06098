"""One function a reader: takes any bytes and raises only where the reader broke its word.  And whole files to begin with."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from PIL import Image

from dataaudit import sources
from dataaudit.errors import ConfigurationError, SourceError
from dataaudit.features.decode import LARGEST, Limits, decode_image
from dataaudit.model import Columns, Sample, Shard, Skipped
from dataaudit.sources import Digest, paths, values
from dataaudit.sources.contract import Limits as ReadingLimits
from dataaudit.sources.contract import UnreadableError
from tests.planted import corpus
from tests.resilience.read_errors import picture, tar

BLOCK = tarfile.BLOCKSIZE
FETCHED = 3
FEW_PIXELS = Limits(pixels=250_000)
"""For all but one picture in 64, so that most of the time goes into decoders rather than into clearing memory."""


@dataclass(frozen=True)
class Target:
    """A reader under test: `longest` is the size of an input in bytes."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int


def from_memory() -> None:
    """Let readers find the bytes under test wherever they open anything."""

    def open_raw(uri: str) -> IO[bytes]:
        return io.BytesIO(_current)

    paths.open_raw = open_raw  # type: ignore[assignment]


_current = b""


def told(data: bytes, name: str, kind: Any, columns: Columns) -> None:
    """Look at a file, read it, and look at some of its samples again."""
    global _current  # noqa: PLW0603 - what `open_raw` opens
    _current = data
    shard = Shard(name, name, kind, len(data), "")
    with contextlib.suppress(ConfigurationError, SourceError):
        sources.detect(shard, Columns(None))
    *items, last = sources.read(shard, columns)
    assert isinstance(last, Digest), "the digest is not last"
    assert last.sha256 == hashlib.sha256(data).hexdigest(), "the digest is not that of the bytes"
    samples = [item for item in items if isinstance(item, Sample)]
    assert all(isinstance(item, Sample | Skipped) for item in items), "another digest"
    assert len({s.id for s in samples}) == len(samples), "two samples have one id"
    for sample in samples:
        json.dumps([sample.id, sample.target]).encode()
        (sample.id + (sample.content if isinstance(sample.content, str) else "") + (sample.target or "")).encode()
    wanted = {s.key: (s.offset, s.length) for s in samples[:FETCHED]}
    for again in sources.fetch(shard, columns, wanted):
        if isinstance(again, Sample):
            (first,) = [s for s in samples[:FETCHED] if s.key == again.key]
            assert (again.content, again.target) == (first.content, first.target), "a second look shows another sample"


# --- tar -------------------------------------------------------------------------------------------------------


def check_tar(data: bytes) -> None:
    """The first byte says how it is packed, and whether checksums are put right before."""
    how, body = data[:1] or b"\0", data[1:]
    if how[0] & 1:
        body = with_checksums(body)
    match how[0] >> 1 & 3:
        case 1:
            told(gzip.compress(body, 1, mtime=0), "x.tar.gz", "tar", TAR)
        case 2:
            told(zstandard.compress(body, 1), "x.tar.zst", "tar", TAR)
        case 3:
            told(body, ("x.tar.gz", "x.tar.zst")[how[0] >> 3 & 1], "tar", TAR)
        case _:
            told(body, "x.tar", "tar", TAR)


TAR = Columns("png;jpg;txt", "cls", None, "npy")


def with_checksums(data: bytes) -> bytes:
    """Every block that claims to be a header gets the checksum that makes it one."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK + 1, BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + BLOCK])
    return bytes(out)


def small_tar(kind: int, *members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()[: -(-out.tell() // BLOCK) * BLOCK]


def npy(numbers: list[float], kind: str = "<f4") -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(numbers, kind))
    return out.getvalue()


def tar_seeds() -> list[bytes]:
    some = [("a/1.png", picture(1, 4)), ("a/1.cls", b"cat"), ("a/1.npy", npy([1, 2])), ("a/2.txt", b"text"), ("a/2.cls", b"7")]
    whole = [small_tar(kind, *some).rstrip(b"\0") + b"\0" * 1024 for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)]
    whole += [small_tar(kind, ("n" * 120 + ".txt", b"x"), ("ü.cls", b"y"))[:4096] for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
    packed = [bytes([6]) + gzip.compress(whole[0]), bytes([14]) + zstandard.compress(whole[0])]
    return [bytes([how]) + body for how in (0, 1, 3, 5) for body in whole] + packed + [b"\1" + tar(3)]


# --- JSON Lines ------------------------------------------------------------------------------------------------


def check_jsonl(data: bytes) -> None:
    """The first byte says what the columns are."""
    how, body = data[:1] or b"\0", data[1:]
    told(body, "x.jsonl", "jsonl", JSONL[how[0] % len(JSONL)])


JSONL = (
    Columns("text", "label", "id"),
    Columns("messages:before", "messages:last"),
    Columns("prompt", "chosen/rejected"),
    Columns("text", "label", None, "vector"),
    Columns("instruction+input", "output"),
)


def jsonl_seeds() -> list[bytes]:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]
    records: list[dict[str, object]] = [
        {"id": 1, "text": "a é \ud83d\ude00", "label": True},
        {"messages": turns},
        {"messages": json.dumps(turns)},
        {"prompt": "p", "chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"text": "t", "label": 1.5, "vector": [1, 2.5, -3e3]},
        {"instruction": "i", "input": None, "output": "o"},
    ]
    lines = [json.dumps(r).encode() for r in records]
    seeds = [bytes([how]) + b"\n".join([line] * 2) + b"\n" for how in range(len(JSONL)) for line in lines]
    return [*seeds, b"\0" + b"\xef\xbb\xbf" + lines[0], b"\0" + b"\n".join(json.dumps(r).encode() for r in corpus(3))]


# --- Parquet ---------------------------------------------------------------------------------------------------


def check_parquet(data: bytes) -> None:
    """A file as it is: Parquet has no checksum that would have to be put right but that of a page, which is not asked for."""
    told(data, "x.parquet", "parquet", PARQUET[len(data) % 2])


PARQUET = (Columns("text", "label"), Columns("messages:before", "messages:last", None, "vector"))


def parquet_seeds() -> list[bytes]:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    plain = pa.table({"text": ["a", "b", "b", None], "label": [1, 2, 2, 3]})
    chats = pa.table(
        {
            "messages": [turns, turns[:1], None],
            "vector": pa.array([[1.0, 2.0], [3.0], None], pa.list_(pa.float32())),
            "text": pa.array([b"a", b"b", None], pa.binary()),
            "label": pa.array(["x", "x", "y"]).dictionary_encode(),
        }
    )
    found = []
    for table in (plain, chats):
        for options in (
            {"compression": "none"},
            {"compression": "snappy", "data_page_version": "2.0"},
            {"compression": "zstd", "use_dictionary": False, "row_group_size": 2},
            {"compression": "gzip", "store_schema": False, "write_statistics": False},
        ):
            out = io.BytesIO()
            pq.write_table(table, out, **options)
            found.append(out.getvalue())
    return found


# --- vectors and pictures --------------------------------------------------------------------------------------


def check_npy(data: bytes) -> None:
    """An .npy member of a tar."""
    try:
        found = values.vector(data, "it", ReadingLimits())
    except UnreadableError:
        return
    assert found.dtype == np.float32, "not float32"
    assert found.ndim == 1, "not one dimension"
    assert len(found), "empty"
    assert np.isfinite(found).all(), "not finite"


def npy_seeds() -> list[bytes]:
    found = [npy([1, 2, 3], kind) for kind in ("<f2", "<f4", "<f8", "<i4", ">f4")]
    for version in ((2, 0), (3, 0)):
        out = io.BytesIO()
        np.lib.format.write_array(out, np.ones(2, "<f4"), version=version)
        found.append(out.getvalue())
    return found


def check_image(data: bytes) -> None:
    """The first byte says which limits hold, and whether a PNG's checksums are put right before."""
    how, body = data[:1] or b"\0", data[1:]
    found = decode_image(with_crcs(body) if how[0] & 1 else body, Limits() if how[0] >= 252 else FEW_PIXELS)
    if isinstance(found, str):
        assert found, "refused, and nothing says why"
        return
    assert found.dtype == np.uint8, "not uint8"
    assert found.ndim == 3, "not (H, W, 3)"
    assert found.shape[2] == 3, "not (H, W, 3)"
    assert 0 < min(found.shape[:2]) <= max(found.shape[:2]) <= LARGEST, "a side of a size that was not promised"
    int(found.sum())


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def with_crcs(data: bytes) -> bytes:
    """The chunks of a PNG with the checksums that make them valid."""
    if not data.startswith(SIGNATURE):
        return data
    out, at = bytearray(data), len(SIGNATURE)
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack_from(">I", out, at)[0]
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def image_seeds() -> list[bytes]:
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    found = []
    for kind, modes in {
        "JPEG": ("RGB", "L", "CMYK"),
        "PNG": ("RGB", "L", "P", "RGBA", "LA", "1", "I;16"),
        "GIF": ("P", "L"),
        "BMP": ("RGB", "P", "1"),
        "WEBP": ("RGB", "RGBA"),
        "TIFF": ("RGB", "L", "I;16", "F", "CMYK", "1"),
    }.items():
        for mode in modes:
            out = io.BytesIO()
            (noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)).save(out, kind)
            found.append(out.getvalue())
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        out = io.BytesIO()
        noise.save(out, "TIFF", compression=compression)
        found.append(out.getvalue())
    out = io.BytesIO()
    noise.save(out, "JPEG", progressive=True)
    found.append(out.getvalue())
    return [bytes([how]) + body for body in found for how in (1, 255)]


TARGETS = {
    "tar": Target(check_tar, tar_seeds, 16 << 10),
    "parquet": Target(check_parquet, parquet_seeds, 8 << 10),
    "jsonl": Target(check_jsonl, jsonl_seeds, 4 << 10),
    "npy": Target(check_npy, npy_seeds, 1 << 10),
    "image": Target(check_image, image_seeds, 4 << 10),
}


def write_seeds(name: str, folder: Path) -> Path:
    """The target's seeds as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(TARGETS[name].seeds()):
        (folder / f"seed-{i:03}").write_bytes(data)
    return folder
