"""Between extraction and aggregation, where `--proxy` asks for it: a small CLIP learns the suspect pairs, and sees their pictures.

A trigger shows where it has been learnt, so the proxy learns all pairs, as a victim would, and is stopped before it knows them by heart.
What it sees becomes a narrow table beside each shard's features, row by row; units that do not read it do not notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.aggregates.sampling import bottom_k
from dataaudit.engine import Engine, results
from dataaudit.features import embedding
from dataaudit.features.encoders import proxy
from dataaudit.features.encoders.proxy import Pairs
from dataaudit.features.thumbnail import from_column
from dataaudit.model import Plan, Progress, fingerprint
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.aggregate import read_batches
from dataaudit.stages.extract import Extracted, feature_recipe
from dataaudit.store.cache import Cache
from dataaudit.store.records import atomic

EPOCHS = 5
"""With more, small data are known by heart, and a trigger's pairs no longer lie apart."""
PAIRS = 100_000
"""The most pairs that a proxy learns, those of smallest rank."""
Tables = Sequence[tuple[str, str]]
"""The shards' names in the cache and their feature tables."""


def fit(shards: Sequence[Extracted], plan: Plan, cache: Cache, engine: Engine, watch: Watch = unwatched) -> Plan:
    """Train the proxy and let it see every shard; the plan then names what it saw.

    A run that was killed goes on with the epoch that it was in.
    """
    tables = sorted({(e.table, e.features) for e in shards if e.rows})
    if not tables:
        return plan
    kept = fingerprint(feature_recipe(plan), proxy.settings(), EPOCHS, PAIRS, *(name for name, _ in tables))
    learn = partial(learn_epoch, tables=tables, plan=plan, cache=cache, kept=kept)
    for epoch in range(EPOCHS):
        for _ in results(engine, learn, [epoch]):
            watch(Progress("fit", epoch + 1, EPOCHS))
    path = cache.checkpoint(kept, EPOCHS - 1)
    digest = proxy.sha256(path)
    fitted = replace(plan, proxy=fingerprint(kept, digest))
    embed = partial(embed_shard, plan=fitted, cache=cache, path=path, digest=digest)
    for done, _ in enumerate(results(engine, embed, tables), 1):
        watch(Progress("embed with the proxy", done, len(tables)))
    return fitted


def learn_epoch(epoch: int, tables: Tables, plan: Plan, cache: Cache, kept: str) -> None:
    """One epoch, where the proxy has not come farther already."""
    if any(cache.checkpoint(kept, later).exists() for later in range(epoch, EPOCHS)):
        return
    before = cache.checkpoint(kept, epoch - 1) if epoch else None
    proxy.learn(pairs_of(tables, plan, cache), epoch, EPOCHS, seed_of(plan), before, cache.checkpoint(kept, epoch))
    if before is not None:
        before.unlink(missing_ok=True)


def seed_of(plan: Plan) -> int:
    """What decides the proxy's first weights and the order of its pairs."""
    return int.from_bytes(plan.key("proxy")[:4], "little")


def pairs_of(tables: Tables, plan: Plan, cache: Cache, most: int = PAIRS) -> Pairs:
    """The pairs of smallest rank, in their order; equal ones once, and none without a caption."""
    rank, pictures, captions = np.empty(0, np.uint64), np.empty((0, 32, 32, 3), np.uint8), np.empty(0, object)
    for _, features in tables:
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            new, caption = _rank(batch), np.array(said(batch, plan), object)
            wanted = caption != ""
            if len(rank) == most:
                wanted &= new < rank[-1]
            if not wanted.any():
                continue
            both = np.concatenate([rank, new[wanted]])
            _, first = np.unique(both, return_index=True)
            kept = first[bottom_k(both[first], most)]
            rank = both[kept]
            pictures = np.concatenate([pictures, from_column(batch.column("thumbnail"))[wanted]])[kept]
            captions = np.concatenate([captions, caption[wanted]])[kept]
    return Pairs(pictures, captions.tolist())


def said(batch: pa.Table, plan: Plan) -> list[str]:
    """The caption of each row; a label makes one."""
    return [(target if plan.captioned else f"a photo of a {target}") if target else "" for target in batch.column("target").to_pylist()]


def embed_shard(table: tuple[str, str], plan: Plan, cache: Cache, path: Path, digest: str) -> None:
    """Write what the proxy in this file, which must have this SHA-256, sees in a shard."""
    name, features = table
    out = cache.features(plan.proxy, name)
    if out.exists():
        return
    model = proxy.load(path, digest)
    with atomic(out) as file:
        writer: pq.ParquetWriter | None = None
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            seen = pa.table({proxy.COLUMN: embedding.to_column(embedding.quantise(model.see(from_column(batch.column("thumbnail")))))})
            writer = writer or pq.ParquetWriter(file, seen.schema, compression="zstd")
            writer.write_table(seen)
        if writer is not None:
            writer.close()


def _rank(batch: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray(batch.column("rank"), dtype=np.uint64)
