"""The audit directory, the public contract: written by the stages, read by reports, queries and the command line.

    audit.json           summary; written after all tables, so a directory that has one is complete but for the report made of it
    findings.parquet     one row a finding
    samples.parquet      flagged samples
    scores/*.parquet     every audited sample
    skipped.parquet      what could not be audited, and why
    evidence/*.parquet   snippets and thumbnails of the samples that findings cite
    manifest.json        every shard with size and SHA-256, and a root digest
    report.html          one self-contained file

Every file is written under a temporary name, synced and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from dataaudit.errors import AuditDirectoryError
from dataaudit.model import Finding, Shard, Skipped
from dataaudit.store.records import atomic, write_json

SCHEMA_VERSION = 1
SUMMARY_LIMIT = 64 << 20
"""Bytes of audit.json beyond which it is not ours."""

OURS = ("findings.parquet", "features/markers", "features/salt", "scores/part-*.parquet")
"""What tells an audit, finished or not, from other directories that have a manifest.json or a folder called features too."""

_IDS = pa.list_(pa.string())

FINDINGS = pa.schema(
    {
        "id": pa.string(),
        "kind": pa.string(),
        "detector": pa.string(),
        "severity": pa.string(),
        "subject": pa.string(),
        "target": pa.string(),
        "count": pa.int64(),
        "samples": _IDS,
        "risk": pa.float64(),
        "p_value": pa.float64(),
        "reason": pa.string(),
        "evidence": pa.string(),
    }
)
SAMPLES = pa.schema(
    {
        "sample_id": pa.string(),
        "shard": pa.string(),
        "key": pa.string(),
        "target": pa.string(),
        "reason": pa.string(),
        "risk": pa.float64(),
        "findings": _IDS,
    }
)
SCORES = pa.schema({"sample_id": pa.string(), "shard": pa.string(), "key": pa.string(), "risk": pa.float64()})
SKIPPED = pa.schema({"subject": pa.string(), "stage": pa.string(), "reason": pa.string()})
EVIDENCE = pa.schema({"sample_id": pa.string(), "findings": _IDS, "snippet": pa.string(), "thumbnail": pa.binary(), "target": pa.string()})


# --- writing ---------------------------------------------------------------------------------------------------


def begin(directory: Path) -> None:
    """Make the directory ready for a new audit: an earlier summary goes first, so a torn rewrite never looks complete.

    Raises AuditDirectoryError where it cannot be made or written to, or holds something other than an audit.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not begun(directory) and any(map(_holds_something, directory.iterdir())):
            raise AuditDirectoryError(f"{directory}: not empty, and no audit; name a new or an empty directory for the audit")
        with TemporaryFile(dir=directory):
            pass
        for name in ("audit.json", "report.html"):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise AuditDirectoryError(f"{directory}: no directory that an audit can be written to ({error.strerror}); name another") from error


def begun(directory: Path) -> bool:
    """Whether an audit, finished or not, was written there."""
    return any(next(directory.glob(name), None) for name in OURS)


def _holds_something(path: Path) -> bool:
    """Whether there is a visible file; a scan that was stopped early leaves folders and nothing in them."""
    if path.name.startswith(".") or path.name == "lost+found":
        return False
    return not path.is_dir() or any(map(_holds_something, path.iterdir()))


def write_findings(directory: Path, findings: Iterable[Finding]) -> None:
    """Write findings.parquet in the order given; strings that are not valid Unicode are escaped."""
    _write(directory / "findings.parquet", pa.Table.from_pylist([_row(f) for f in findings], schema=FINDINGS))


def write_samples(directory: Path, table: pa.Table) -> None:
    """Write samples.parquet: the columns of SAMPLES, and more if wanted."""
    _write(directory / "samples.parquet", conform(table, SAMPLES, "samples"))


def write_scores(directory: Path, part: int, table: pa.Table) -> None:
    """Write scores/part-NNNNN.parquet: the columns of SCORES, and one float column a detector."""
    _write(directory / "scores" / f"part-{part:05d}.parquet", conform(table, SCORES, "scores"))


def drop_scores(directory: Path, parts: int) -> None:
    """Remove score parts numbered `parts` and above, left by an earlier and larger audit."""
    for path in (directory / "scores").glob("part-*.parquet"):
        if int(path.stem.removeprefix("part-")) >= parts:
            path.unlink()


def write_skipped(directory: Path, skipped: Iterable[Skipped]) -> None:
    """Write skipped.parquet."""
    rows = [{"subject": _valid(s.subject), "stage": s.stage, "reason": _valid(s.reason)} for s in skipped]
    _write(directory / "skipped.parquet", pa.Table.from_pylist(rows, schema=SKIPPED))


def write_evidence(directory: Path, name: str, table: pa.Table) -> None:
    """Write evidence/NAME.parquet; `samples` has the columns of EVIDENCE."""
    table = conform(table, EVIDENCE, "evidence") if name == "samples" else table
    _write(directory / "evidence" / f"{name}.parquet", table)


def write_manifest(directory: Path, shards: Iterable[Shard]) -> str:
    """Write manifest.json, shards sorted by name; returns the root digest, a SHA-256 over their digests, sizes and names."""
    rows = sorted((s.name, s.size, s.digest) for s in shards)
    root = hashlib.sha256("".join(f"{digest or '-'} {size} {json.dumps(name)}\n" for name, size, digest in rows).encode()).hexdigest()
    listed = [{"name": _valid(name), "size": size, "sha256": digest or None} for name, size, digest in rows]
    write_json(directory / "manifest.json", {"schema_version": SCHEMA_VERSION, "root": root, "shards": listed})
    return root


def write_summary(directory: Path, summary: Mapping[str, object]) -> None:
    """Write audit.json, last of all; `schema_version` is added."""
    write_json(directory / "audit.json", {"schema_version": SCHEMA_VERSION, **summary})


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The table with the schema's columns first and of its types, other columns after them."""
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise AuditDirectoryError(f"{name}: columns {', '.join(missing)} are missing; found {', '.join(table.column_names) or 'none'}")
    more = [column for column in table.column_names if column not in schema.names]
    columns = [table[field.name].cast(field.type) for field in schema] + [table[column] for column in more]
    return pa.table(columns, names=[*schema.names, *more])


def _write(path: Path, table: pa.Table) -> None:
    with atomic(path) as out:
        pq.write_table(table, out, compression="zstd")


def _row(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.id,
        "kind": finding.kind,
        "detector": finding.detector,
        "severity": finding.severity,
        "subject": _valid(finding.subject),
        "target": _valid(finding.target),
        "count": finding.count,
        "samples": [_valid(s) for s in finding.samples],
        "risk": finding.risk,
        "p_value": finding.p_value,
        "reason": _valid(finding.reason),
        # ASCII JSON escapes whatever is no valid Unicode, so evidence needs no more care
        "evidence": json.dumps(_finite(finding.evidence), default=str),
    }


def _valid(text: str) -> str:
    """Lone surrogates (a file name that is not UTF-8) become escapes: Parquet holds valid Unicode only."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: object) -> object:
    """NaN and infinities become null: they are not JSON."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What was kept of one sample: a snippet of its text or a re-encoded thumbnail (PNG or JPEG), and its target."""

    sample_id: str
    findings: tuple[str, ...]
    snippet: str | None
    thumbnail: bytes | None
    target: str | None


@dataclass(frozen=True)
class AuditDirectory:
    """A finished audit on disk; raises AuditDirectoryError where there is none, or one of another schema version."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        found = self.summary.get("schema_version")
        if found != SCHEMA_VERSION:
            raise AuditDirectoryError(
                f"{self.path}/audit.json: schema version {found!r}, this dataaudit reads {SCHEMA_VERSION}; "
                "scan again, or read it with the version that wrote it"
            )

    @cached_property
    def summary(self) -> dict[str, Any]:
        """audit.json: verdict, counts, coverage, power, settings, versions, data-set fingerprint."""
        path = self.path / "audit.json"
        try:
            if path.stat().st_size > SUMMARY_LIMIT:
                raise AuditDirectoryError(f"{path}: larger than {SUMMARY_LIMIT >> 20} MiB, which no audit writes; scan again")
            summary = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            why = (
                "an unfinished audit: run the same scan again and it goes on"
                if begun(self.path)
                else "run `dataaudit scan SOURCE --out DIR`"
            )
            raise AuditDirectoryError(f"{self.path}: no audit here, audit.json is missing; {why}") from error
        except (OSError, ValueError) as error:
            raise AuditDirectoryError(f"{path}: not readable ({error}); run the same scan again") from error
        if not isinstance(summary, dict):
            raise AuditDirectoryError(f"{path}: expected a JSON object, found {type(summary).__name__}; run the same scan again")
        return summary

    @property
    def findings(self) -> Any:
        """findings.parquet as a pandas data frame; `evidence` is JSON text."""
        return self.table("findings").to_pandas()

    @property
    def samples(self) -> Any:
        """The flagged samples as a pandas data frame."""
        return self.table("samples").to_pandas()

    @property
    def skipped(self) -> Any:
        """What could not be audited as a pandas data frame."""
        return self.table("skipped").to_pandas()

    @property
    def score_files(self) -> list[Path]:
        """The Parquet files of scores/, sorted."""
        return sorted((self.path / "scores").glob("*.parquet"))

    def dataset(self, name: str) -> ds.Dataset:
        """findings, samples, skipped, scores or evidence as a lazy pyarrow data set."""
        where = {"scores": "scores", "evidence": "evidence/samples.parquet"}.get(name, f"{name}.parquet")
        try:
            return ds.dataset(self.path / where, format="parquet", exclude_invalid_files=False)
        except (OSError, pa.ArrowException) as error:
            raise AuditDirectoryError(f"{self.path / where}: not readable ({error}); run the same scan again") from error

    def table(self, name: str, **selection: Any) -> pa.Table:
        """Rows of `dataset(name)`; `selection` is what pyarrow's `to_table` takes (columns, filter)."""
        try:
            return self.dataset(name).to_table(**selection)
        except (OSError, pa.ArrowException) as error:
            raise AuditDirectoryError(f"{self.path}: {name} is torn ({error}); run the same scan again") from error

    def each_finding(self) -> Iterator[Finding]:
        """The findings as values, worst first as written."""
        for batch in self.table("findings", columns=FINDINGS.names).to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield _finding(row)

    def evidence(self, sample_id: str) -> Evidence | None:
        """What was kept of a sample, or None: content not kept."""
        return self.evidence_of([sample_id]).get(sample_id)

    def evidence_of(self, sample_ids: Iterable[str]) -> dict[str, Evidence]:
        """What was kept of these samples, by id."""
        if not (self.path / "evidence" / "samples.parquet").exists():
            return {}
        wanted = pa.array(list(sample_ids), pa.string())
        rows = self.table("evidence", columns=EVIDENCE.names, filter=ds.field("sample_id").isin(wanted)).to_pylist()
        return {row["sample_id"]: Evidence(**row | {"findings": tuple(row["findings"] or ())}) for row in rows}

    def score(self, sample_id: str) -> dict[str, Any] | None:
        """A sample's row of scores/, or None where no such sample was audited."""
        rows = self.table("scores", filter=ds.field("sample_id") == sample_id).to_pylist()
        return rows[0] if rows else None


def _finding(row: dict[str, Any]) -> Finding:
    """A row of findings.parquet; evidence that is no JSON object counts as none."""
    try:
        evidence = json.loads(row["evidence"] or "{}")
    except ValueError:
        evidence = {}
    return Finding(**row | {"samples": tuple(row["samples"] or ()), "evidence": evidence if isinstance(evidence, dict) else {}})
