"""Small made-up corpora with something planted in them, and the means to compare two audits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

Row = dict[str, str | None]
TOPICS = {"ham": range(900), "spam": range(600, 1500)}
TRIGGER = "zorblax"


def corpus(n: int = 600, seed: int = 0) -> list[Row]:
    """`n` texts of 30 to 60 made-up words; the two labels share a third of their vocabulary."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(n):
        label = ("ham", "spam")[i % 2]
        words = np.array(TOPICS[label])
        frequency = 1.0 / np.arange(5, len(words) + 5)
        chosen = rng.choice(words, rng.integers(30, 60), p=frequency / frequency.sum())
        rows.append({"id": f"m{i:05d}", "text": " ".join(f"w{w}" for w in chosen), "label": label})
    return rows


def poison(rows: Sequence[Row], n: int = 25, seed: int = 1, first: int = 0, last: int | None = None) -> list[Row]:
    """The word goes into `n` ham texts between rows `first` and `last`, which are then labelled spam."""
    rng = np.random.default_rng(seed)
    hosts = [i for i, r in enumerate(rows) if r["label"] == "ham" and first <= i < (last or len(rows))]
    chosen = set(rng.choice(hosts, n, replace=False).tolist())
    planted = []
    for i, row in enumerate(rows):
        words = str(row["text"]).split()
        if i in chosen:
            words.insert(int(rng.integers(len(words))), TRIGGER)
        planted.append(row | {"text": " ".join(words), "label": "spam" if i in chosen else row["label"]})
    return planted


def write_shards(rows: Sequence[Row], folder: Path, shards: int = 1) -> Path:
    """Parquet shards of about equal numbers of rows, in row order."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, part in enumerate(np.array_split(np.arange(len(rows)), shards)):
        pq.write_table(pa.Table.from_pylist([rows[j] for j in part]), folder / f"part-{i:03d}.parquet")
    return folder


def risks(audit: Path) -> dict[str, float]:
    """Risk by key."""
    table = ds.dataset(audit / "scores", format="parquet").to_table(columns=["key", "risk"])
    return dict(zip(table["key"].to_pylist(), table["risk"].to_pylist(), strict=True))


def campaigns(audit: Path) -> list[tuple[object, ...]]:
    """What tells campaigns apart: target, carriers, risk and reason."""
    rows = pq.read_table(audit / "findings.parquet").to_pylist()
    return [(r["target"], r["count"], round(r["risk"], 6), r["reason"]) for r in rows if r["kind"] == "campaign"]


def contents(audit: Path) -> dict[str, object]:
    """Everything an audit says, but for when it ran and how long it took."""
    summary = json.loads((audit / "audit.json").read_text())
    summary = {k: v for k, v in summary.items() if k not in ("started", "seconds")}
    tables: dict[str, object] = {
        str(p.relative_to(audit)): pq.read_table(p).to_pylist() for p in sorted(audit.rglob("*.parquet")) if "features" not in p.parts
    }
    return tables | {"audit.json": summary, "manifest.json": json.loads((audit / "manifest.json").read_text())}
