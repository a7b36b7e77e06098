"""Stage one: which shards there are, and what kind of data they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataaudit import sources
from dataaudit.errors import ConfigurationError, SourceError
from dataaudit.model import Columns, Modality, Plan, Settings, Shard, Skipped, TargetKind
from dataaudit.store.cache import Cache

DEFAULT_ENCODER: dict[Modality, str] = {
    "labelled-images": "efficientnet-lite2",
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
    """The audit's plan and its shards, in name order; `unseen` is what nothing here can look at, and why."""

    plan: Plan
    shards: tuple[Shard, ...]
    skipped: tuple[Skipped, ...]
    unseen: tuple[Skipped, ...]
    cache: Cache


def prepare(locations: Sequence[str], out: Path, settings: Settings) -> Prepared:
    """List the sources once and decide from the first readable shard what is being audited."""
    found = sources.inventory(locations)
    wanted = Columns(settings.content, settings.target, settings.id, settings.embedding)
    modality, columns, kind = _detect(found.shards, wanted)
    unseen: tuple[Skipped, ...] = ()
    if modality == "labelled-images" and kind == "text":
        kind = "none"
        reason = "captions are not compared with their images yet; the images were audited without them"
        unseen = (Skipped("captions", "detect", reason),)
    cache = Cache(Path(settings.cache) if settings.cache else out / "features")
    encoder = "given" if columns.embedding else settings.encoder or DEFAULT_ENCODER[modality]
    plan = Plan(modality, columns, kind, encoder, cache.salt(settings.seed))
    if plan.compares:
        unseen += (Skipped(*COMPARED),)
    return Prepared(plan, found.shards, found.skipped, unseen, cache)


def _detect(shards: Sequence[Shard], wanted: Columns) -> tuple[Modality, Columns, TargetKind]:
    reasons = []
    for shard in shards:
        try:
            return sources.detect(shard, wanted)
        except SourceError as error:
            reasons.append(str(error))
    raise ConfigurationError("no shard could be read to see what the data is: " + "; ".join(reasons[:3]))
