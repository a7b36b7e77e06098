"""Between extraction and aggregation, where `--proxy` asks for it: a small CLIP learns the suspect pairs, and sees them.

One proxy learns all pairs, as a victim would: a trigger shows where it has been learnt.  Two more learn one half each, for a short while,
and say how well the captions of the other half fit: no pair is judged by what learnt it by heart.  What the proxies see becomes a narrow
table beside each shard's features, row by row; units that read none of its columns do not notice.
"""

from __future__ import annotations

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
WHOLE = FOLDS
"""What the proxy that learns all pairs is numbered, behind those that learn a fold."""
EPOCHS = (2, 2, 5)
"""Of each: with more, small data are known by heart, and a trigger's pairs no longer lie apart."""
PAIRS = 100_000
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
    """Train the proxies and embed every shard with them; the plan then names what they saw.

    A run that was killed goes on with the epoch that it was in.
    """
    tables = sorted({(e.table, e.features) for e in shards if e.rows})
    if not tables:
        return plan
    kept = fingerprint(feature_recipe(plan), proxy.settings(), EPOCHS, PAIRS, *(name for name, _ in tables))
    done = 0
    for epoch in range(max(EPOCHS)):
        learn = partial(learn_epoch, epoch=epoch, tables=tables, plan=plan, cache=cache, kept=kept)
        for _ in results(engine, learn, [part for part in reversed(range(len(EPOCHS))) if epoch < EPOCHS[part]]):
            done += 1
            watch(Progress("fit", done, sum(EPOCHS)))
    paths = [cache.checkpoint(kept, part, epochs - 1) for part, epochs in enumerate(EPOCHS)]
    proxies = tuple(Checkpoint(path, proxy.sha256(path)) for path in paths)
    fitted = replace(plan, proxy=fingerprint(kept, *(p.sha256 for p in proxies)))
    embed = partial(embed_shard, plan=fitted, cache=cache, proxies=proxies)
    for number, _ in enumerate(results(engine, embed, tables), 1):
        watch(Progress("embed with the proxy", number, len(tables)))
    return fitted


def learn_epoch(part: int, epoch: int, tables: Tables, plan: Plan, cache: Cache, kept: str) -> None:
    """One epoch of one proxy, where it has not come farther already."""
    if any(cache.checkpoint(kept, part, later).exists() for later in range(epoch, EPOCHS[part])):
        return
    before = cache.checkpoint(kept, part, epoch - 1) if epoch else None
    seed = int.from_bytes(plan.key("proxy")[:4], "little")
    pairs = pairs_of(part, tables, plan, cache)
    proxy.learn(pairs, epoch, EPOCHS[WHOLE], seed, before, cache.checkpoint(kept, part, epoch))
    if before is not None:
        before.unlink(missing_ok=True)


def pairs_of(part: int, tables: Tables, plan: Plan, cache: Cache, most: int = PAIRS) -> Pairs:
    """The pairs of a fold, or all, with the smallest ranks, in their order; equal ones once, and none without a caption."""
    rank, pictures, captions = np.empty(0, np.uint64), np.empty((0, 32, 32, 3), np.uint8), np.empty(0, object)
    for _, features in tables:
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            new, caption = _rank(batch), np.array(said(batch, plan), object)
            wanted = (caption != "") & ((part == WHOLE) | (fold_of(new, FOLDS) == part))
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


def embed_shard(table: tuple[str, str], plan: Plan, cache: Cache, proxies: Sequence[Checkpoint]) -> None:
    """Write what the proxies see in a shard."""
    digest, features = table
    path = cache.features(plan.proxy, digest)
    if path.exists():
        return
    models = [checkpoint.load() for checkpoint in proxies]
    with atomic(path) as out:
        writer: pq.ParquetWriter | None = None
        for batch in read_batches(features, ["thumbnail"], plan, cache):
            columns = embedded(batch, models, plan)
            writer = writer or pq.ParquetWriter(out, columns.schema, compression="zstd")
            writer.write_table(columns)
        if writer is not None:
            writer.close()


def embedded(batch: pa.Table, models: Sequence[Proxy], plan: Plan) -> pa.Table:
    """The columns of a batch, the early one by those that did not learn a row's fold; zeros for a caption that is not there."""
    fold, pictures, captions = fold_of(_rank(batch), FOLDS), from_column(batch.column("thumbnail")), said(batch, plan)
    there = np.array([bool(caption) for caption in captions])
    seen, read = (embedding.quantise(vectors) for vectors in models[WHOLE].encode(Pairs(pictures, captions)))
    early = np.zeros(batch.num_rows, np.int16)
    for f in range(FOLDS):
        rows = np.flatnonzero(fold == f)
        both = models[1 - f].encode(Pairs(pictures[rows], [captions[row] for row in rows]))
        early[rows] = np.rint(np.einsum("nd,nd->n", *both) * embedding.SCALE)
    columns = embedding.to_column(seen), embedding.to_column(read * there[:, None]), pa.array(early * there, pa.int16())
    return pa.table(dict(zip(proxy.COLUMNS, columns, strict=True)))


def _rank(batch: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray(batch.column("rank"), dtype=np.uint64)
