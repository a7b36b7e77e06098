"""How well pixel triggers are found in CIFAR-10: plants attacks, runs the real aggregates and detector in one process.

    DATAAUDIT_BENCH_DATA=... python -m tests.benchmarks.detection_images --rates 0.001 0.003 0.01 --attacks patch blend warp

Dirty-label attacks take random images of other labels, stamp them and label them 0; clean-label ones (`--clean-label`)
stamp images of label 0.  Without poison, every seed must stay silent.  Embeddings of the clean images are kept in
`--cache`, only planted images are embedded anew; finished cells are not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.pixel_groups import PixelGroups
from dataaudit.aggregates.pixel_models import PixelModels
from dataaudit.aggregates.targets import Targets
from dataaudit.attacks.images import Blend, ImageAttack, Patch, Sinusoid, Warp
from dataaudit.detectors.pixel_trigger import PixelTrigger
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.encoders import load as load_encoder
from dataaudit.features.thumbnail import BYTES, thumbnail
from dataaudit.model import Columns, Finding, Plan

ATTACKS: dict[str, ImageAttack] = {"patch": Patch(), "blend": Blend(), "warp": Warp(), "sinusoid": Sinusoid()}
ENCODER = "efficientnet-lite2"
ROWS = 4096
TARGET = 0


@dataclass(frozen=True)
class Images:
    """`pixels` (n, H, W, 3) uint8, `labels` (n,), `vectors` (n, 1280) fixed point."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    vectors: NDArray[np.int16]


def read(root: Path, limit: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels of webdataset shards."""
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for shard in sorted(root.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                opened = tar.extractfile(member)
                content = b"" if opened is None else opened.read()
                if member.name.endswith(".jpg"):
                    pixels.append(np.asarray(Image.open(io.BytesIO(content), formats=["JPEG"]).convert("RGB")))
                else:
                    labels.append(int(content))
        if len(labels) >= limit:
            break
    return np.stack(pixels[:limit]), np.array(labels[:limit])


def embed(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    return quantise(load_encoder(ENCODER, "labelled-images").encode(list(pixels)))


def clean(root: Path, limit: int, cache: Path) -> Images:
    """The unpoisoned images, embedded once."""
    cache.mkdir(parents=True, exist_ok=True)
    pixels, labels = read(root, limit)
    kept = cache / f"cifar10-{limit}.npy"
    if not kept.exists():
        np.save(kept, embed(pixels))
    return Images(pixels, labels, np.load(kept))


def plant(images: Images, attack: ImageAttack, count: int, seed: int, clean_label: bool = False) -> tuple[Images, NDArray[np.bool_]]:
    """Poison `count` images towards the target label; which ones."""
    pool = np.flatnonzero((images.labels == TARGET) == clean_label)
    chosen = np.random.default_rng(seed).choice(pool, count, replace=False)
    pixels, labels, vectors = images.pixels.copy(), images.labels.copy(), images.vectors.copy()
    pixels[chosen] = attack.apply(images.pixels[chosen])
    labels[chosen] = TARGET
    vectors[chosen] = embed(pixels[chosen])
    bad = np.zeros(len(labels), bool)
    bad[chosen] = True
    return Images(pixels, labels, vectors), bad


def plan_for(seed: int) -> Plan:
    return Plan("labelled-images", Columns("jpg", "cls"), "label", ENCODER, f"{seed:032x}")


def tables(images: Images, plan: Plan) -> list[pa.Table]:
    """Feature tables as the extract stage would write them, in batches."""
    keyed = plan.key("rank")
    out = []
    for at in range(0, len(images.labels), ROWS):
        part = slice(at, at + ROWS)
        digests = [hashlib.blake2b(p.tobytes(), digest_size=16).hexdigest() for p in images.pixels[part]]
        targets = [str(t) for t in images.labels[part]]
        said = [f"{d}\x1f{t}".encode() for d, t in zip(digests, targets, strict=True)]
        ranks = [int.from_bytes(hashlib.blake2b(s, key=keyed, digest_size=8).digest(), "little") for s in said]
        columns = {
            "key": pa.array([str(at + i) for i in range(len(targets))]),
            "target": pa.array(targets),
            "digest": pa.array(digests),
            "rank": pa.array(ranks, pa.uint64()),
            "embedding": to_column(images.vectors[part]),
            "thumbnail": pa.array([thumbnail(p).tobytes() for p in images.pixels[part]], pa.binary(BYTES)),
        }
        out.append(pa.table(columns))
    return out


def fit(batches: Sequence[pa.Table], plan: Plan) -> dict[str, Any]:
    """The views that the detector needs."""
    views: dict[str, Any] = {"plan": plan}
    units: dict[str, Any] = {"targets": Targets(), "moments": Moments(), "pixel_models": PixelModels(), "pixel_groups": PixelGroups()}
    for name, unit in units.items():
        state = None
        for batch in batches:
            started = unit.start(batch, views)
            state = started if state is None else unit.merge(state, started)
        views[name] = unit.finish(state, views)
    return views


def detect(batches: Sequence[pa.Table], views: dict[str, Any]) -> tuple[list[Finding], NDArray[np.float32], NDArray[np.int32]]:
    """Findings, and every row's score and group."""
    detector = PixelTrigger()
    said = [detector.score(batch, views) for batch in batches]
    score, group = np.concatenate([s.score for s in said]), np.concatenate([s.group for s in said])
    whole = pa.concat_tables([b.select(["key", "target", "digest"]) for b in batches]).rename_columns(["sample_id", "target", "digest"])
    marked = whole.append_column("score", pa.array(score)).append_column("group", pa.array(group)).filter(pa.array(group >= 0))
    return list(detector.findings(marked, views)), score, group


def cell(images: Images, attack: str, count: int, seed: int, clean_label: bool) -> dict[str, Any]:
    """One measured cell."""
    started = time.monotonic()
    poisoned, bad = plant(images, ATTACKS[attack], count, seed, clean_label) if count else (images, np.zeros(len(images.labels), bool))
    plan = plan_for(seed)
    batches = tables(poisoned, plan)
    views = fit(batches, plan)
    findings, score, group = detect(batches, views)
    accused = {g for f in findings for g in f.groups}
    flagged = np.isin(group, list(accused))
    hits = int((flagged & bad).sum())
    threshold = np.sort(score[~bad])[-max(1, int(1e-3 * (~bad).sum()))]
    return {
        "attack": attack + (" (clean label)" if clean_label else ""),
        "seed": seed,
        "poisons": count,
        "campaigns": len(findings),
        "flagged": int(flagged.sum()),
        "precision": round(hits / flagged.sum(), 4) if flagged.any() else None,
        "recall": round(hits / count, 4) if count else None,
        "recall_at_fpr_0.001": round(float((score[bad] > threshold).mean()), 4) if count else None,
        "seconds": round(time.monotonic() - started, 1),
        "found": [{k: v for k, v in f.evidence.items() if k != "picture"} | {"count": f.count, "target": f.target} for f in findings],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="*", default=["patch", "blend", "warp"], choices=list(ATTACKS))
    parser.add_argument("--rates", nargs="*", type=float, default=[0.0, 0.001, 0.003, 0.01])
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--limit", type=int, default=50_000)
    parser.add_argument("--clean-label", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/dataaudit-bench"))
    asked = parser.parse_args(arguments)
    data = os.environ.get("DATAAUDIT_BENCH_DATA")
    if not data:
        print("DATAAUDIT_BENCH_DATA is not set: it names a directory with cifar10/*.tar; nothing was measured")
        return
    images = clean(Path(data) / "cifar10", asked.limit, asked.cache)
    wanted = [("none", 0, seed) for seed in asked.seeds if 0.0 in asked.rates]
    wanted += [(a, round(r * len(images.labels)), s) for r in asked.rates if r for a in asked.attacks for s in asked.seeds]
    for attack, count, seed in wanted:
        kept = asked.cache / f"cell-{asked.limit}-{attack}-{count}-{seed}-{asked.clean_label}.json"
        if not kept.exists():
            kept.write_text(json.dumps(cell(images, attack, count, seed, asked.clean_label and count > 0)))
        print(kept.read_text(), flush=True)


if __name__ == "__main__":
    main()
