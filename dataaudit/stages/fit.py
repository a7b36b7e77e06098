"""Between extraction and aggregation, where `--proxy` asks for it: a small CLIP learns the suspect pairs, and sees them.

Cross-fitted: one proxy learns each half of the pairs and embeds the other half, so that nobody is judged by a model that learnt them by
heart.  What the proxies see becomes a narrow table beside each shard's features, row by row; units that read none of its columns
do not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.aggregates.sampling import bottom_k, fold_of
from dataaudit.engine import Engine, results
from dataaudit.features import embedding
from dataaudit.features.encoders import proxy
from dataaudit.features.encoders.proxy import Pairs, Proxy
from dataaudit.features.thumbnail import from_column
from dataaudit.model import Plan, Progress, fingerprint
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.aggregate import read_batches
from dataaudit.stages.extract import Extracted, feature_recipe
from dataaudit.store.cache import Cache
from dataaudit.store.records import atomic

FOLDS = 2
EPOCHS, EARLY = 5, 2
"""Epochs in all, and after how many the early proxy is kept: with more, what one half learns no longer holds in the other."""
PAIRS = 50_000
"""The most pairs that a proxy learns, those of smallest rank."""
Tables = Sequence[tuple[str, str]]
"""The shards' names in the cache and their feature tables."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained proxy in a file, and what the file must be."""

    path: Path
    sha256: str

    def load(self) -> Proxy:
        """The model."""
        return proxy.load(self.path, self.sha256)


def fit(shards: Sequence[Extracted], plan: Plan, cache: Cache, engine: Engine, watch: Watch = unwatched) -> Plan:
    """Train both proxies and embed every shard with them; the plan then names what they saw.

    A run that was killed goes on with the epoch that it was in.
    """
    tables = sorted({(e.table, e.features) for e in shards if e.rows})
    if not tables:
        return plan
    kept = fingerprint(feature_recipe(plan), proxy.settings(), EPOCHS, EARLY, PAIRS, sorted(Counter(e.table for e in shards if e.rows)))
    for epoch in range(EPOCHS):
        learn = partial(learn_epoch, epoch=epoch, tables=tables, plan=plan, cache=cache, kept=kept)
        for done, _ in enumerate(results(engine, learn, range(FOLDS)), 1):
            watch(Progress("fit", FOLDS * epoch + done, FOLDS * EPOCHS))
    paths = [cache.checkpoint(kept, fold, epochs - 1) for epochs in (EARLY, EPOCHS) for fold in range(FOLDS)]
    proxies = [Checkpoint(path, proxy.sha256(path)) for path in paths]
    fitted = replace(plan, proxy=fingerprint(kept, *(p.sha256 for p in proxies)))
    embed = partial(embed_shard, plan=fitted, cache=cache, early=tuple(proxies[:FOLDS]), late=tuple(proxies[FOLDS:]))
    for done, _ in enumerate(results(engine, embed, tables), 1):
        watch(Progress("embed with the proxy", done, len(tables)))
    return fitted


def learn_epoch(fold: int, epoch: int, tables: Tables, plan: Plan, cache: Cache, kept: str) -> None:
    """One epoch of the proxy that learns this fold, where it has not come farther already."""
    if any(cache.checkpoint(kept, fold, later).exists() for later in range(epoch, EPOCHS)):
        return
    before = cache.checkpoint(kept, fold, epoch - 1) if epoch else None
    seed = int.from_bytes(plan.key("proxy")[:4], "little")
    proxy.learn(pairs_of(fold, tables, plan, cache), epoch, EPOCHS, seed, before, cache.checkpoint(kept, fold, epoch))
    if before is not None and epoch != EARLY:
        before.unlink(missing_ok=True)


def pairs_of(fold: int, tables: Tables, plan: Plan, cache: Cache, most: int = PAIRS) -> Pairs:
    """The pairs of a fold with the smallest ranks, in their order; equal ones once, and none without a caption."""
    rank, pictures, captions = np.empty(0, np.uint64), np.empty((0, 32, 32, 3), np.uint8), np.empty(0, object)
    for _, features in tables:
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            there = np.asarray(batch.column("target").is_valid()) & (fold_of(_rank(batch), FOLDS) == fold)
            if len(rank) == most:
                there &= _rank(batch) < rank[-1]
            if not there.any():
                continue
            some = batch.filter(pa.array(there))
            both = np.concatenate([rank, _rank(some)])
            _, first = np.unique(both, return_index=True)
            kept = first[bottom_k(both[first], most)]
            rank = both[kept]
            pictures = np.concatenate([pictures, from_column(some.column("thumbnail"))])[kept]
            captions = np.concatenate([captions, np.array(said(some, plan), object)])[kept]
    return Pairs(pictures, captions.tolist())


def said(batch: pa.Table, plan: Plan) -> list[str]:
    """The caption of each row; a label makes one."""
    return [(target if plan.captioned else f"a photo of a {target}") if target else "" for target in batch.column("target").to_pylist()]


def embed_shard(table: tuple[str, str], plan: Plan, cache: Cache, early: Sequence[Checkpoint], late: Sequence[Checkpoint]) -> None:
    """Write what the proxies see in a shard, each row by those that did not learn its fold."""
    digest, features = table
    path = cache.features(plan.proxy, digest)
    if path.exists():
        return
    models = [(early[1 - fold].load(), late[1 - fold].load()) for fold in range(FOLDS)]
    with atomic(path) as out:
        writer: pq.ParquetWriter | None = None
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            columns = embedded(batch, models, plan)
            writer = writer or pq.ParquetWriter(out, columns.schema, compression="zstd")
            writer.write_table(columns)
        if writer is not None:
            writer.close()


def embedded(batch: pa.Table, models: Sequence[tuple[Proxy, Proxy]], plan: Plan) -> pa.Table:
    """The columns of a batch, by the early and the late proxy for each fold; zeros for a caption that is not there."""
    fold, pictures, captions = fold_of(_rank(batch), FOLDS), from_column(batch.column("thumbnail")), said(batch, plan)
    seen = np.zeros((len(proxy.EMBEDDINGS), batch.num_rows, proxy.WIDTH), np.int16)
    agreed = np.zeros(batch.num_rows, np.int16)
    there = np.array([bool(caption) for caption in captions])
    for f, (early, late) in enumerate(models):
        rows = np.flatnonzero(fold == f)
        pairs = Pairs(pictures[rows], [captions[row] for row in rows])
        seen[:, rows] = [embedding.quantise(vectors) for vectors in late.encode(pairs)]
        agreed[rows] = np.rint(np.einsum("nd,nd->n", *early.encode(pairs)) * embedding.SCALE)
    seen[1] *= there[:, None]
    columns = {name: embedding.to_column(vectors) for name, vectors in zip(proxy.EMBEDDINGS, seen, strict=True)}
    return pa.table(columns | {proxy.EARLY: pa.array(agreed * there, pa.int16())})


def _rank(batch: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray(batch.column("rank"), dtype=np.uint64)
