"""Stage five: risk for every sample, the flagged ones, the verdict, and everything into the audit directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataaudit.engine import Engine, Lost
from dataaudit.errors import EngineError
from dataaudit.features.encoders.attestation import Attested
from dataaudit.findings import reading
from dataaudit.findings.risk import THRESHOLD, fuse
from dataaudit.findings.verdict import Coverage, Verdict, judge
from dataaudit.model import SEVERITIES, Finding, Progress, Settings, Skipped
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.detect import GROUP
from dataaudit.stages.extract import BUDGET, SKIPS, Extracted, feature_recipe
from dataaudit.stages.inventory import Prepared
from dataaudit.store import directory
from dataaudit.store.cache import Cache
from dataaudit.store.records import atomic


def score_risks(
    findings: Sequence[Finding],
    shards: Sequence[Extracted],
    scores: Sequence[str],
    detectors: Sequence[str],
    cache: Cache,
    out: Path,
    engine: Engine,
    watch: Watch = unwatched,
) -> None:
    """Write `scores/`: one part a shard, every sample with its risk, its detectors' scores and the findings it belongs to."""
    read = [(e.shard.name, path) for e, path in zip(shards, scores, strict=True) if path]
    parts = [(number, name, path) for number, (name, path) in enumerate(read)]
    write = partial(risk_shard, findings=tuple(findings), detectors=tuple(detectors), cache=cache, out=out)
    for done, (item, result) in enumerate(engine.map(write, parts), 1):
        if isinstance(result, Lost):
            raise EngineError(f"risk of {item[1]}: {result.reason}")
        watch(Progress("judge", done, len(parts)))
    if not parts:
        empty = dict.fromkeys(directory.SCORES.names, pa.array([], pa.string())) | {"risk": pa.array([], pa.float64())}
        directory.write_scores(
            out, 0, pa.table(empty | {"target": pa.array([], pa.string()), "findings": pa.array([], pa.list_(pa.string()))})
        )
    directory.drop_scores(out, len(parts) or 1)


def risk_shard(part: tuple[int, str, str], findings: Sequence[Finding], detectors: Sequence[str], cache: Cache, out: Path) -> None:
    """One part of `scores/`."""
    number, shard, path = part
    table = pq.read_table(cache.root / path)
    groups = {name: np.asarray(table.column(name + GROUP)) for name in detectors}
    columns = {name: lowered(name, np.asarray(table.column(name)), findings, groups) for name in detectors}
    campaign, own = np.zeros(table.num_rows), np.zeros(table.num_rows)
    for finding in findings:
        if finding.kind == "campaign":
            worse = _members(finding, groups) & (finding.risk > campaign)
            campaign[worse], own[worse] = finding.risk, columns[finding.detector][worse]
    risk = np.round(fuse(columns, campaign, own), 9)
    ids = pc.binary_join_element_wise(pa.scalar(shard), table.column("key"), "#")
    scored = {"sample_id": ids, "shard": pa.array([shard] * table.num_rows), "key": table.column("key"), "risk": pa.array(risk)}
    scored |= {name: pa.array(column) for name, column in columns.items()}
    scored |= {"target": table.column("target"), "findings": _cited(findings, groups, table.num_rows)}
    directory.write_scores(out, number, pa.table(scored))


def lowered(
    detector: str, score: NDArray[np.float32], findings: Sequence[Finding], groups: Mapping[str, NDArray[np.int32]]
) -> NDArray[np.float32]:
    """A detector's scores, halved for the members of the campaigns that its second look let go: in their order, and none above 0.5."""
    let_go = np.zeros(len(score), bool)
    for finding in findings:
        if finding.released and finding.detector == detector:
            let_go |= _members(finding, groups)
    return np.where(let_go, score * np.float32(0.5), score)


def _members(finding: Finding, groups: Mapping[str, NDArray[np.int32]]) -> NDArray[np.bool_]:
    return np.isin(groups[finding.detector], finding.groups)


def _cited(findings: Sequence[Finding], groups: Mapping[str, NDArray[np.int32]], rows: int) -> pa.Array:
    """For each row the ids of the findings it belongs to, in finding order."""
    member = [(f.id, np.flatnonzero(_members(f, groups))) for f in findings if f.groups and f.detector in groups]
    place = np.concatenate([rows_of for _, rows_of in member]) if member else np.empty(0, np.intp)
    names = np.repeat(np.array([i for i, _ in member], dtype=np.str_), [len(r) for _, r in member])
    order = np.argsort(place, kind="stable")
    offsets = np.searchsorted(place[order], np.arange(rows + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(names[order].tolist(), pa.string()))


def write_flagged(findings: Sequence[Finding], out: Path) -> int:
    """Write samples.parquet from the scores, a batch at a time; returns how many were flagged."""
    reasons = {f.id: f.reason for f in findings}
    schema = pa.schema([*directory.SAMPLES])
    flagged = 0
    with atomic(out / "samples.parquet") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        columns = ["sample_id", "shard", "key", "target", "risk", "findings"]
        for batch in ds.dataset(out / "scores", format="parquet").to_batches(columns=columns, filter=pc.field("risk") >= THRESHOLD):
            table = pa.Table.from_batches([batch])
            said = [
                reasons[ids[0]] if ids else "its risk alone is at or above the threshold" for ids in table.column("findings").to_pylist()
            ]
            writer.write_table(directory.conform(table.append_column("reason", pa.array(said, pa.string())), schema, "samples"))
            flagged += table.num_rows
    return flagged


def all_findings(found: Sequence[Finding], shards: Sequence[Extracted]) -> list[Finding]:
    """The detectors' findings and those about the reading, campaigns first, then by severity and risk."""
    lost = {e.shard.name: (e.lost, e.skipped) for e in shards if e.lost}
    about = reading.skips({e.shard.name: e.rows for e in shards}, lost)
    repeated = reading.repeated_keys({e.shard.name: e.repeated for e in shards})
    everything = [*found, *about, *repeated]
    return sorted(everything, key=lambda f: (f.kind != "campaign", -SEVERITIES.index(f.severity), -f.risk, f.id))


def coverage_of(prepared: Prepared, shards: Sequence[Extracted], detectors: Sequence[str], idle: Sequence[Skipped]) -> Coverage:
    """What was looked at and what was not."""
    names = {e.shard.name for e in shards}
    whole = {s.subject for e in shards for s in e.skipped if s.subject in names} | {s.subject for s in prepared.skipped}
    return Coverage(
        samples=sum(e.rows for e in shards),
        shards=len(shards),
        skipped_samples=sum(e.lost for e in shards),
        skipped_shards=len(whole),
        detectors=tuple(detectors),
        idle=tuple(s.subject for s in idle if s.subject not in detectors),
        partly=tuple(s.subject for s in idle if s.subject in detectors),
        unreached=sum(s.stage == BUDGET for e in shards for s in e.skipped),
    )


def summarise(
    verdict: Verdict,
    coverage: Coverage,
    findings: Sequence[Finding],
    flagged: int,
    root: str,
    prepared: Prepared,
    settings: Settings,
    idle: Sequence[Skipped],
) -> dict[str, object]:
    """audit.json but for the times: nothing here depends on the engine, and the salt stays private."""
    plan = prepared.plan
    chosen = {
        "fail_on": settings.fail_on,
        "max_skipped": settings.max_skipped,
        "detectors": {k: dict(v) for k, v in settings.detectors.items()},
    }
    return {
        "verdict": asdict(verdict),
        "samples": coverage.samples,
        "flagged": flagged,
        "campaigns": sum(f.kind == "campaign" for f in findings),
        "skipped": coverage.skipped_samples + coverage.skipped_shards,
        "coverage": asdict(coverage) | {"not_run": {s.subject: s.reason for s in idle}},
        "power": None,
        "settings": chosen | {"modality": plan.modality, "columns": asdict(plan.columns), "encoder": plan.encoder, "threshold": THRESHOLD},
        "versions": {**versions(), "encoders": loaded(prepared.attested)},
        "dataset": {
            "fingerprint": root,
            "shards": len(prepared.shards),
            "bytes": sum(s.size for s in prepared.shards),
            "features": feature_recipe(plan),
        },
    }


def loaded(attested: Sequence[Attested]) -> dict[str, object]:
    """What the encoders were: revision and SHA-256 of their weights where they have any, where they ran and how they behaved."""
    return {f"{a.name} ({a.sees})": {k: v for k, v in asdict(a).items() if v and k not in ("name", "sees")} for a in attested}


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    import platform
    from importlib.metadata import version

    packages = ("dataaudit", "numpy", "pyarrow", "scipy", "faiss-cpu", "datasketch", "onnxruntime", "torch", "pillow")
    return {"python": platform.python_version()} | {p: version(p) for p in packages}


def write_audit(
    prepared: Prepared,
    shards: Sequence[Extracted],
    findings: Sequence[Finding],
    evidence: pa.Table,
    detectors: Sequence[str],
    idle: Sequence[Skipped],
    settings: Settings,
    out: Path,
) -> dict[str, object]:
    """Write everything but scores, report and times; returns the summary."""
    flagged = write_flagged(findings, out)
    more = [Skipped(e.shard.name, "extract", f"{e.lost - SKIPS:,} more samples could not be read") for e in shards if e.lost > SKIPS]
    skipped = [*prepared.skipped, *(s for e in shards for s in e.skipped), *more, *idle]
    directory.write_findings(out, findings)
    directory.write_skipped(out, skipped)
    directory.write_evidence(out, "samples", evidence)
    root = directory.write_manifest(out, [e.shard for e in shards])
    coverage = coverage_of(prepared, shards, detectors, idle)
    verdict = judge(findings, coverage, settings.max_skipped)
    return summarise(verdict, coverage, findings, flagged, root, prepared, settings, idle)
