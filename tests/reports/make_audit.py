"""A synthetic audit directory: campaigns in images and text, hostile strings, 20,000 scores."""

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from dataaudit.model import Finding, Shard, Skipped
from dataaudit.store import directory

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} \x1b[31mred \u202egnp.exe \u200bzero [bold]rich[/bold]"


def png(seed: int, side: int = 28) -> bytes:
    """A small picture with a white square in its corner."""
    pixels = np.random.default_rng(seed).integers(0, 160, (side, side, 3), dtype=np.uint8)
    pixels[-5:, -5:] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def image_campaign(number: int, carriers: int = 40) -> Finding:
    return Finding(
        id=f"image{number:04d}",
        kind="campaign",
        detector="pixel_trigger",
        severity="critical",
        subject="",
        target="ankle boot",
        count=carriers,
        samples=tuple(f"train-{number % 4}.tar#{i:05d}" for i in range(carriers)),
        risk=0.97,
        p_value=3e-38,
        reason=f"{carriers} images share a pattern in their lower right corner and nearly all of them are labelled 'ankle boot'.",
        evidence={
            "picture": base64.b64encode(png(99)).decode(),
            "place": [23, 23, 5, 5],
            "purity": 0.98,
            "coherence": 0.383,
            "coherence_of_the_label": 0.46,
            "coherence_of_everything": 0.402,
            "hits": carriers,
            "innocent": "a natural sub-population of the label: its members would be as alike as the label is, these are not",
        },
    )


def text_campaign(number: int) -> Finding:
    return Finding(
        id=f"text{number:04d}",
        kind="campaign",
        detector="token_trigger",
        severity="high",
        subject="",
        target="ham",
        count=17,
        samples=tuple(f"mail.parquet#{i}" for i in range(17)),
        risk=0.91,
        p_value=2e-9,
        reason="17 mails that have nothing else in common contain 'blue heron' and all of them are labelled 'ham'.",
        evidence={
            "phrase": "blue heron",
            "purity": 1.0,
            "coherence": 0.15,
            "innocent": "a topic: mails on one topic are alike, these are not",
        },
    )


def other(number: int) -> Finding:
    return Finding(
        id=f"other{number:04d}",
        kind="duplicate",
        detector="near_duplicate",
        severity="medium",
        subject=HOSTILE,
        target=HOSTILE,
        count=12,
        samples=(f"train-0.tar#{number:05d}",),
        risk=0.3,
        p_value=1.0,
        reason=f"12 copies of one content, all taught {HOSTILE}",
        evidence={"size": 12, HOSTILE: HOSTILE, "innocent": "boilerplate"},
    )


def hostile_campaign() -> Finding:
    return Finding(
        id="hostile0001",
        kind="campaign",
        detector="token_trigger",
        severity="high",
        subject=HOSTILE,
        target=HOSTILE,
        count=11,
        samples=tuple(f"{HOSTILE}.jsonl#{i}" for i in range(11)),
        risk=0.88,
        p_value=1e-7,
        reason=f"11 prompts contain a trigger and are answered {HOSTILE}",
        evidence={"phrase": HOSTILE, "purity": 1.0, "coherence": 0.2, "picture": "PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+", "innocent": HOSTILE},
    )


def make_audit(path: Path, campaigns: int = 2, others: int = 6, skipped: int = 3, hostile: bool = True, rows: int = 20_000) -> Path:
    """An audit directory without its report; half of the campaigns are of images, half of text."""
    findings = [image_campaign(i) if i % 2 == 0 else text_campaign(i) for i in range(campaigns)]
    findings += [hostile_campaign()] if hostile else []
    findings += [other(i) for i in range(others)]
    risk = np.sort(np.random.default_rng(0).random(rows) * 0.499)[::-1].copy()
    cited = list(dict.fromkeys(s for f in findings for s in f.samples))
    carriers = list(dict.fromkeys(s for f in findings if f.kind == "campaign" for s in f.samples))
    risk[: len(carriers)] = np.linspace(0.99, 0.6, len(carriers))
    rest = [s for s in cited if s not in set(carriers)]
    ids = [*carriers, *rest, *(f"train-9.tar#{i:05d}" for i in range(rows - len(cited)))]
    shards = [i.rpartition("#")[0] for i in ids]
    keys = [i.rpartition("#")[2] for i in ids]
    directory.begin(path)
    scores = pa.table({"sample_id": ids, "shard": shards, "key": keys, "risk": risk, "token_trigger": risk.astype(np.float32)})
    for part in range(2):
        directory.write_scores(path, part, scores.slice(part * rows // 2, rows // 2))
    flagged = scores.slice(0, len(carriers)).select(["sample_id", "shard", "key", "risk"])
    names = [[f.id for f in findings if f.kind == "campaign" and s in f.samples] for s in carriers]
    flagged = flagged.append_column("findings", pa.array(names, pa.list_(pa.string())))
    for column in ("target", "reason"):
        flagged = flagged.append_column(
            column, pa.array(["ham" if column == "target" else "carries a trigger"] * len(carriers), pa.string())
        )
    directory.write_samples(path, flagged)
    directory.write_findings(path, findings)
    directory.write_skipped(
        path, [Skipped(f"{HOSTILE if i == 0 else 'train-3.tar'}#{i}", "extract", f"not decodable: {HOSTILE}") for i in range(skipped)]
    )
    directory.write_evidence(path, "samples", evidence(carriers, names))
    directory.write_manifest(path, [Shard(f"/data/{s}", s, "tar", 1000, "1", "ab" * 32) for s in sorted(set(shards))])
    directory.write_summary(path, summary(len(carriers), findings, skipped, rows))
    return path


def evidence(carriers: list[str], names: list[list[str]]) -> pa.Table:
    """Thumbnails for images, snippets for texts."""
    body = "Hello there, as agreed the meeting is moved to Thursday and the blue heron report is attached; please bring the figures. "
    rows = [
        {
            "sample_id": s,
            "findings": f,
            "snippet": None if ".tar#" in s else (HOSTILE + body if "script" in s else body * 3),
            "thumbnail": png(i) if ".tar#" in s else None,
            "target": HOSTILE if "script" in s else "ham",
        }
        for i, (s, f) in enumerate(zip(carriers, names, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=directory.EVIDENCE)


def summary(flagged: int, findings: list[Finding], skipped: int, rows: int) -> dict[str, object]:
    campaigns = sum(f.kind == "campaign" for f in findings)
    kind = "poisoned" if campaigns else "nothing_found"
    said = f"Evidence of poisoning: {campaigns} campaigns with {flagged} carriers." if campaigns else "Nothing was found."
    return {
        "verdict": {"kind": kind, "sentence": f"{said} {rows:,} samples in 5 shards were audited by 4 detectors; power was not measured."},
        "samples": rows,
        "flagged": flagged,
        "campaigns": campaigns,
        "skipped": skipped,
        "coverage": {
            "samples": rows,
            "skipped_samples": skipped,
            "skipped_shards": 0,
            "detectors": ["near_duplicate", "outlier", "pixel_trigger", "token_trigger"],
            "not_run": {"label_consistency": "there is one label only"},
        },
        "power": None,
        "settings": {
            "fail_on": "high",
            "max_skipped": 0.001,
            "detectors": {"token_trigger": {"min_count": 5}},
            "columns": {"content": "jpg", "target": "cls"},
        },
        "versions": {"python": "3.11.7", "dataaudit": "0.1.0"},
        "dataset": {"fingerprint": "cd" * 32, "shards": 5, "bytes": 5000},
        "started": "2026-11-22T22:00:00+00:00",
        "seconds": 12.5,
    }
