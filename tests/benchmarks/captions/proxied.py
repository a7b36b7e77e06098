"""What the proxies of stage `fit` see of a cell's pairs, trained in memory and a temporary directory as that stage trains them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates.proxy_density import ProxyDensity
from dataaudit.aggregates.sampling import fold_of
from dataaudit.detectors.proxy import Proxy
from dataaudit.engine import single_threaded
from dataaudit.features.encoders import proxy
from dataaudit.features.encoders.proxy import Pairs
from dataaudit.features.thumbnail import from_column
from dataaudit.model import Plan
from dataaudit.stages import fit


def embedded(tables: Sequence[pa.Table], plan: Plan) -> list[pa.Table]:
    """The tables with the proxies' columns."""
    return single_threaded(lambda some: _embedded(some, plan), tables)


def _embedded(tables: Sequence[pa.Table], plan: Plan) -> list[pa.Table]:
    whole = pa.concat_tables([table.select(["rank", "thumbnail", "target"]) for table in tables])
    rank = np.asarray(whole.column("rank"), dtype=np.uint64)
    _, order = np.unique(rank, return_index=True)
    pictures, captions = from_column(whole.column("thumbnail")), fit.said(whole, plan)
    seed = int.from_bytes(plan.key("proxy")[:4], "little")
    models = []
    with tempfile.TemporaryDirectory() as folder:
        for part, epochs in enumerate(fit.EPOCHS):
            rows = order if part == fit.WHOLE else order[fold_of(rank[order], fit.FOLDS) == part]
            pairs, before = Pairs(pictures[rows], [captions[row] for row in rows]), None
            for epoch in range(epochs):
                now = Path(folder) / f"{part}-{epoch}.safetensors"
                proxy.learn(pairs, epoch, fit.EPOCHS[fit.WHOLE], seed, before, now)
                before = now
            models.append(proxy.load(now, proxy.sha256(now)))
    added = [fit.embedded(table, models, plan) for table in tables]
    return [pa.table([*a.columns, *b.columns], names=[*a.column_names, *b.column_names]) for a, b in zip(tables, added, strict=True)]


def detected(tables: Sequence[pa.Table], plan: Plan) -> NDArray[np.float64]:
    """What the detector `proxy` says of each row (n,)."""
    unit = ProxyDensity()
    views = {"plan": plan, "proxy_density": unit.finish(reduce(unit.merge, [unit.start(table, {}) for table in tables]), {})}
    return np.concatenate([Proxy().score(table, views).score for table in tables]).astype(np.float64)
