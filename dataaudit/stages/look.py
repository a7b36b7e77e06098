"""The second look: a finding's strongest samples are read again, to name its trigger and to keep evidence."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataaudit import sources
from dataaudit.detectors import Detector
from dataaudit.engine import Engine, Lost
from dataaudit.features.decode import decode
from dataaudit.features.invisible import visible
from dataaudit.model import Finding, Plan, Progress, Sample, Skipped
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.aggregate import load_views
from dataaudit.stages.detect import Detected
from dataaudit.stages.extract import Extracted
from dataaudit.store.cache import Cache
from dataaudit.store.directory import EVIDENCE

SAMPLES = 24
FINDINGS = 200
SNIPPET = 600
THUMBNAIL_SIDE = 96
THUMBNAIL_BYTES = 8 << 10


def look(
    detected: Detected,
    detectors: Mapping[str, Detector],
    shards: Sequence[Extracted],
    views: Mapping[str, str],
    plan: Plan,
    cache: Cache,
    engine: Engine,
    watch: Watch = unwatched,
) -> tuple[list[Finding], pa.Table]:
    """The findings, the first 200 described from re-read samples, and the evidence table of what was re-read."""
    todo = list(enumerate(detected.findings[:FINDINGS]))
    second = partial(
        describe, detectors=dict(detectors), shards=tuple(shards), scores=detected.scores, views=dict(views), plan=plan, cache=cache
    )
    described: dict[int, Finding] = {}
    kept: dict[int, pa.Table] = {}
    for (place, finding), result in engine.map(second, todo):
        described[place], kept[place] = (finding, EVIDENCE.empty_table()) if isinstance(result, Lost) else result
        watch(Progress("look", len(described), len(todo)))
    findings = [described.get(i, f) for i, f in enumerate(detected.findings)]
    return findings, merge_evidence([kept[i] for i in sorted(kept)])


def merge_evidence(tables: Sequence[pa.Table]) -> pa.Table:
    """One row a sample, with all findings that cite it."""
    rows: dict[str, dict[str, object]] = {}
    for row in (r for t in tables for r in t.to_pylist()):
        known = rows.setdefault(row["sample_id"], row | {"findings": []})
        known["findings"] = [*known["findings"], *row["findings"]]  # type: ignore[misc]
    return pa.Table.from_pylist(list(rows.values()), schema=EVIDENCE)


def describe(
    numbered: tuple[int, Finding],
    detectors: Mapping[str, Detector],
    shards: Sequence[Extracted],
    scores: Sequence[str],
    views: Mapping[str, str],
    plan: Plan,
    cache: Cache,
) -> tuple[Finding, pa.Table]:
    """Re-read one finding's first samples, let its detector describe them, and keep a piece of each."""
    _, finding = numbered
    samples = list(fetch(finding.samples[:SAMPLES], shards, scores, plan, cache))
    detector = detectors[finding.detector]
    if samples:
        described = again(detector, finding, samples, load_views(detector.needs, views, plan, cache))
    else:
        described = replace(finding, evidence={**finding.evidence, "second_look": "none of its samples could be read again"})
    batch, _ = decode(samples, plan)
    rows = [
        {
            "sample_id": s.id,
            "findings": [finding.id],
            "snippet": snippet(s),
            "thumbnail": thumbnail(batch.images[i]) if batch.images else None,
            "target": s.target and s.target[:SNIPPET],
        }
        for i, s in enumerate(batch.samples)
    ]
    return described, pa.Table.from_pylist(rows, schema=EVIDENCE)


def again(detector: Detector, finding: Finding, samples: Sequence[Sample], views: Mapping[str, Any]) -> Finding:
    """The finding as its detector describes it; a campaign that it lets go is marked so, for the scores that it had given."""
    described = detector.describe(finding, samples, views)
    return replace(described, released=finding.kind == "campaign" and described.kind != "campaign")


def fetch(ids: Sequence[str], shards: Sequence[Extracted], scores: Sequence[str], plan: Plan, cache: Cache) -> Iterator[Sample]:
    """The samples of these ids, in their order, as far as they can be read again."""
    found: dict[str, Sample] = {}
    for shard, path in zip(shards, scores, strict=True):
        prefix = shard.shard.name + "#"
        keys = [i.removeprefix(prefix) for i in ids if i.startswith(prefix)]
        if keys and path:
            wanted = _places(cache.root / path, keys)
            for item in sources.fetch(shard.shard, plan.columns, wanted):
                if not isinstance(item, Skipped):
                    found[item.id] = item
    yield from (found[i] for i in ids if i in found)


def _places(path: Path, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    table = pq.read_table(path, columns=["key", "offset", "length"], filters=pc.field("key").isin(list(keys)))
    return {row["key"]: (row["offset"], row["length"]) for row in table.to_pylist()}


def snippet(sample: Sample) -> str | None:
    """The beginning of a text, what a reader would not see shown by its code point; of an image or a vector there is none."""
    return "\n".join(map(visible, sample.content[:SNIPPET].split("\n"))) if isinstance(sample.content, str) else None


def thumbnail(image: object) -> bytes | None:
    """A re-encoded PNG of at most 8 KB, or a JPEG where a PNG is larger; never the source's own bytes."""
    from PIL import Image

    picture = Image.fromarray(image)  # type: ignore[arg-type]
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    for options in ({"format": "PNG", "optimize": True}, *({"format": "JPEG", "quality": q} for q in (85, 60, 30))):
        out = io.BytesIO()
        picture.save(out, **options)  # type: ignore[arg-type]
        if out.tell() <= THUMBNAIL_BYTES:
            return out.getvalue()
    return None
