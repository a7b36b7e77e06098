"""Stage one: which shards there are, and what kind of data they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataaudit import sources
from dataaudit.errors import ConfigurationError, SourceError
from dataaudit.features import encoders
from dataaudit.features.encoders.attestation import Attested, attest_plan
from dataaudit.model import Columns, Modality, Plan, Settings, Shard, Skipped, TargetKind
from dataaudit.store.cache import Cache

DEFAULT_ENCODER: dict[Modality, str] = {
    "labelled-images": "efficientnet-lite2",
    "captioned-images": "efficientnet-lite2+minilm",
    "labelled-text": "hashed",
    "instructions": "hashed",
    "text": "hashed",
    "vectors": "given",
}

COMPARED = (
    "comparison of what chosen and rejected answers mean",
    "detect",
    "they were compared by length, wording and closeness to the prompt only; a flip that none of these shows would be missed",
)


@dataclass(frozen=True)
class Prepared:
    """The audit's plan and its shards, in name order; `unseen` is what nothing here can look at, and why.

    `attested` are the encoders, as they were found to behave before anything was read with them.
    """

    plan: Plan
    shards: tuple[Shard, ...]
    skipped: tuple[Skipped, ...]
    unseen: tuple[Skipped, ...]
    cache: Cache
    attested: tuple[Attested, ...] = ()


def prepare(locations: Sequence[str], out: Path, settings: Settings) -> Prepared:
    """List the sources once, decide from the first readable shard what is being audited, and hold the encoders to what they should do."""
    found = sources.inventory(locations)
    wanted = Columns(settings.content, settings.target, settings.id, settings.embedding)
    modality, columns, kind = _detect(found.shards, wanted)
    if settings.proxy and (modality not in ("labelled-images", "captioned-images") or kind == "none"):
        raise ConfigurationError(f"a proxy learns from pictures with captions or labels; this is {modality}. Leave --proxy out")
    cache = Cache((Path(settings.cache) if settings.cache else out / "features").resolve())
    asked = encoder(modality, kind, columns, settings.encoder)
    plan = Plan(modality, columns, kind, encoders.pinned(asked), cache.salt(settings.seed))
    unseen = (Skipped(*COMPARED),) if plan.compares else ()
    attested = attest_plan(plan, cache.encoders, asked)
    if not settings.serial:
        encoders.load.cache_clear()  # workers load their own; this process needs none any more
    return Prepared(plan, found.shards, found.skipped, unseen, cache, attested)


def encoder(modality: Modality, kind: TargetKind, columns: Columns, asked: str | None) -> str:
    """What content and targets are embedded with: as asked for, completed by what is usual where that is one half only."""
    content, _, target = (asked or DEFAULT_ENCODER[modality]).partition(encoders.BESIDE)
    texts = DEFAULT_ENCODER[modality].rpartition(encoders.BESIDE)[2]
    if columns.embedding:
        return f"given{encoders.BESIDE}{target or (content if asked else texts)}" if kind == "text" else "given"
    if modality == "captioned-images" and content in encoders.IMAGES:
        return f"{content}{encoders.BESIDE}{target or texts}"
    return f"{content}{encoders.BESIDE}{target}" if target else content


def _detect(shards: Sequence[Shard], wanted: Columns) -> tuple[Modality, Columns, TargetKind]:
    reasons = []
    for shard in shards:
        try:
            return sources.detect(shard, wanted)
        except SourceError as error:
            reasons.append(str(error))
    raise ConfigurationError("no shard could be read to see what the data is: " + "; ".join(reasons[:3]))
