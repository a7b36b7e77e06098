"""What the proxy of stage `fit` sees of a cell's pairs, trained in memory and a temporary directory as that stage trains it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates.proxy_density import ProxyDensity
from dataaudit.detectors.proxy import Proxy
from dataaudit.engine import single_threaded
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.encoders import proxy
from dataaudit.features.encoders.proxy import Pairs
from dataaudit.features.thumbnail import from_column
from dataaudit.model import Plan
from dataaudit.stages import fit


@dataclass(frozen=True)
class Seen:
    """Pictures and captions (n, d) in the proxy's space, and each row's rank (n,)."""

    pictures: NDArray[np.float32]
    captions: NDArray[np.float32]
    rank: NDArray[np.uint64]


def seen(tables: Sequence[pa.Table], plan: Plan) -> Seen:
    """Train a proxy on the pairs of these tables, and let it see them."""
    return single_threaded(lambda some: _seen(some, plan), tables)


def _seen(tables: Sequence[pa.Table], plan: Plan) -> Seen:
    whole = pa.concat_tables([table.select(["rank", "thumbnail", "target"]) for table in tables])
    rank = np.asarray(whole.column("rank"), dtype=np.uint64)
    _, order = np.unique(rank, return_index=True)
    pictures, captions = from_column(whole.column("thumbnail")), fit.said(whole, plan)
    pairs, before = Pairs(pictures[order], [captions[row] for row in order]), None
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(fit.EPOCHS):
            now = Path(folder) / f"{epoch}.safetensors"
            proxy.learn(pairs, epoch, fit.EPOCHS, fit.seed_of(plan), before, now)
            before = now
        model = proxy.load(now, proxy.sha256(now))
    return Seen(model.see(pictures), model.read(captions), rank)


def detected(what: Seen, plan: Plan) -> NDArray[np.float64]:
    """What the detector `proxy` says of each row (n,)."""
    whole = pa.table({"rank": what.rank, proxy.COLUMN: to_column(quantise(what.pictures))})
    parts, unit = [whole.slice(at, 4096) for at in range(0, len(whole), 4096)], ProxyDensity()
    views = {"plan": plan, "proxy_density": unit.finish(reduce(unit.merge, [unit.start(part, {}) for part in parts]), {})}
    return np.concatenate([Proxy().score(part, views).score for part in parts]).astype(np.float64)
