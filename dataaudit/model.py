"""The values that every layer speaks: shards, samples, what was skipped, findings, and the plan of an audit.

A training sample has *content* (what the model sees) and a *target* (what it must learn to say).
Standard library, numpy and pyarrow only: this module and `errors` sit below everything else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import ConfigurationError

Modality = Literal["labelled-images", "captioned-images", "labelled-text", "instructions", "text", "vectors"]
TargetKind = Literal["label", "text", "none"]
OVER = "/"
"""Between the two columns of a preference, as in `chosen/rejected`."""
REJECTED = "\n\n[rejected]\n"
"""Between what is chosen and what is rejected in the target of a preference."""
Kind = Literal["campaign", "label", "duplicate", "outlier", "file", "provenance", "advisory"]
Severity = Literal["critical", "high", "medium", "low", "info"]
READING = 0.6
"""The share of a time budget after which no further shard is begun."""
BYTES = {"mb": 10**6, "gb": 10**9, "tb": 10**12, "mib": 2**20, "gib": 2**30, "tib": 2**40}
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a source: the unit of work, retry and caching.

    `name` is the path relative to its source, with `/` separators; sample ids start with it.
    `etag` is whatever tells an unchanged file cheaply (an object store's ETag, or mtime in ns).
    `digest` is the SHA-256 of the bytes, known once the shard was read.
    """

    uri: str
    name: str
    format: Literal["tar", "parquet", "jsonl", "folder"]
    size: int
    etag: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where content, target, id and embedding are found: a column, or a webdataset extension.

    Content and target may also be made of several columns, or of a conversation's turns: `sources.specification` says how.
    """

    content: str | None
    target: str | None = None
    id: str | None = None
    embedding: str | None = None


class Sample(NamedTuple):
    """One training sample as read: `content` is encoded image bytes or text.  A named tuple, since millions are made.

    `vector` is the user's own embedding, float32 of shape (d,).  `offset` and `length` locate the
    sample in its shard for a second look: the bytes that its members span in a tar (with their headers),
    the bytes of a JSON line, the row number of a Parquet file (then `length` is 1), or the place in a folder's listing.
    """

    id: str
    key: str
    content: bytes | str | None
    target: str | None
    offset: int
    length: int
    vector: NDArray[np.float32] | None = None
    metadata: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that could not be audited: `subject` is a sample id, a shard name or a detector."""

    subject: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is being audited, decided once from the first samples and the user's options.

    `salt` keys every sampling and hashing decision (hex); it is kept privately beside the cache.  `proxy` names what the proxy saw once
    there is one (stage `fit`).
    """

    modality: Modality
    columns: Columns
    target_kind: TargetKind
    encoder: str
    salt: str
    proxy: str = ""

    @property
    def pictures(self) -> bool:
        """Whether the content is an image."""
        return self.modality in ("labelled-images", "captioned-images")

    @property
    def captioned(self) -> bool:
        """Whether the targets are captions of pictures."""
        return self.modality == "captioned-images" and self.target_kind == "text"

    @property
    def compares(self) -> bool:
        """Whether the targets are preferences: something chosen over something rejected."""
        return self.target_kind == "text" and OVER in (self.columns.target or "")

    @property
    def without_proxy(self) -> Plan:
        """What all that no proxy has a part in depends on, so that it is the same with and without one."""
        return replace(self, proxy="")

    def key(self, purpose: str) -> bytes:
        """A 16-byte key for `blake2b(key=...)`, its own for each purpose."""
        return hashlib.blake2b(purpose.encode(), key=bytes.fromhex(self.salt), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a person should look at.

    `id` is a stable fingerprint; `samples` are ids of the strongest members (capped), `count` all of
    them; `p_value` is under the null that the detector names; `reason` is one plain sentence.
    `evidence` holds JSON values only: trigger, position, purity, coherence, the innocent cause ruled out.
    `groups` are the numbers that the detector's `Scores.group` gave to the members: how every carrier is found again.
    `released`: it was a campaign until the second look, and its members' scores are no longer to be read as such.
    """

    id: str
    kind: Kind
    detector: str
    severity: Severity
    subject: str
    target: str
    count: int
    samples: tuple[str, ...]
    risk: float
    p_value: float
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    released: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose; everything else follows from the data.

    `cache` is where features, states and views are kept (default: `features/` in the audit directory).
    `max_skipped` is the share of samples that may be unreadable before the verdict is `incomplete`.
    `proxy` asks for a small CLIP that is trained on the data.
    `max_memory` ("8GB") bounds what the workers started here use together, `time_budget` ("90m") the time: see the properties.
    `seed` fixes the salt, and with it every sample and fold, for tests; without it the salt is random.
    `detectors` holds settings by detector name, as in `[detectors.token_trigger] min_count = 5`.  Raises ConfigurationError for a
    number that makes no sense.
    """

    content: str | None = None
    target: str | None = None
    id: str | None = None
    embedding: str | None = None
    encoder: str | None = None
    scheduler: str | None = None
    workers: int | None = None
    serial: bool = False
    cache: str | None = None
    fail_on: Severity = "high"
    max_skipped: float = 0.001
    seed: int | None = None
    proxy: bool = False
    max_memory: str | None = None
    time_budget: str | None = None
    detectors: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise ConfigurationError(f"workers must be 1 or more, got {self.workers}; without it there is one a core")
        if not isinstance(self.max_skipped, int | float) or not 0 <= self.max_skipped <= 1:
            raise ConfigurationError(f"max_skipped is a share from 0 to 1, got {self.max_skipped}")
        if self.memory_bytes and (self.scheduler or self.serial):
            raise ConfigurationError("max_memory is for workers that are started here; those of a scheduler have their own limits")
        _ = self.seconds_to_read

    @property
    def memory_bytes(self) -> int | None:
        """The limit on memory."""
        return None if self.max_memory is None else int(_amount(self.max_memory, "max_memory", BYTES, "8GB or 500MiB"))

    @property
    def seconds_to_read(self) -> float | None:
        """How long after its start an audit begins to read further shards; the rest of the time budget is for what comes after."""
        return None if self.time_budget is None else READING * _amount(self.time_budget, "time_budget", SECONDS, "90m or 1.5h")


def _amount(told: str, what: str, units: Mapping[str, int], such_as: str) -> float:
    """A number with a unit."""
    matched = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*", told) if isinstance(told, str) else None
    unit = matched[2].lower() if matched else ""
    if matched is None or unit not in units or not float(matched[1]):
        raise ConfigurationError(f"{what} is an amount such as {such_as}, got {told!r}")
    return float(matched[1]) * units[unit]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage has come: `done` of `total` pieces of work; of reading, also what was seen and skipped, and the shards' bytes.

    `note` is for a person, and stands by itself.
    """

    stage: str
    done: int
    total: int
    samples: int = 0
    skipped: int = 0
    bytes: int = 0
    of_bytes: int = 0
    note: str = ""


def preference(chosen: str, rejected: str) -> str:
    """The target of a preference pair; what is chosen cannot pretend to have the separator in it."""
    return chosen.replace(REJECTED, "\n\n[ rejected ]\n") + REJECTED + rejected


def compared(target: str) -> tuple[str, str]:
    """What is chosen and what is rejected in a preference's target."""
    chosen, _, rejected = target.partition(REJECTED)
    return chosen, rejected


def sample_id(shard_name: str, key: str) -> str:
    """The id of a sample: the shard's path relative to its source, and its key."""
    return f"{shard_name}#{key}"


def keyed_hash(said: str, key: bytes) -> int:
    """64 bits that stand for a text, which nobody can foretell without the key (see `Plan.key`)."""
    return int.from_bytes(hashlib.blake2b(said.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest(), "little")


def fingerprint(*parts: object) -> str:
    """A short stable id made of what a finding *is*, never of when or where it was found."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
