"""Stage three: facts about the whole data set, merged as a tree from one state a shard.

Aggregates that need each other's views run in waves.  A wave reads every shard once, whatever the
number of aggregates in it.  States and views are kept by recipe, so a resumed run or a re-scan computes
only what is new.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.aggregates import PART_ROWS, Aggregate, Parted
from dataaudit.discovery import recipe, units
from dataaudit.engine import Engine, results
from dataaudit.errors import ConfigurationError
from dataaudit.features.encoders import proxy
from dataaudit.model import Plan, Progress, fingerprint
from dataaudit.stages import Watch, unwatched
from dataaudit.stages.extract import Extracted
from dataaudit.store import records
from dataaudit.store.cache import Cache

COMMON = ("key", "target", "digest", "rank")
BATCH_ROWS = 4096


@dataclass(frozen=True)
class Pass:
    """One aggregate with its recipe: what its states and its view are stored under."""

    name: str
    unit: Any
    state_recipe: str
    view_recipe: str

    def kept(self, digest: str, cache: Cache) -> Path:
        """Where a shard's state is, or the directory of its parts."""
        return (cache.parts if isinstance(self.unit, Parted) else cache.state)(self.state_recipe, digest)


class Tally:
    """Merges states as they come, those of as many batches first: no row is merged more often than log2 of their number."""

    def __init__(self, unit: Aggregate) -> None:
        self._unit = unit
        self._states: list[tuple[int, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._states)

    def add(self, state: Any) -> None:
        """One more batch."""
        batches = 1
        while self._states and self._states[-1][0] == batches:
            state, batches = self._unit.merge(self._states.pop()[1], state), 2 * batches
        self._states.append((batches, state))

    def taken(self) -> Any:
        """The state of all batches, of which there must be one; the tally is empty again."""
        _, state = self._states.pop()
        while self._states:
            state = self._unit.merge(self._states.pop()[1], state)
        return state


def schedule(wanted: Iterable[str]) -> list[list[str]]:
    """Waves of aggregate names: each needs only views of earlier waves."""
    known = units("dataaudit.aggregates")
    needs: dict[str, set[str]] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise ConfigurationError(f"no aggregate is called {name!r}; there are {', '.join(sorted(known))}")
        if name not in needs:
            needs[name] = set(known[name].needs)
            waiting += needs[name]
    waves: list[list[str]] = []
    while len(ready := {n for wave in waves for n in wave}) < len(needs):
        wave = sorted(n for n in needs if n not in ready and needs[n] <= ready)
        if not wave:
            raise ConfigurationError(f"aggregates need each other in a circle: {', '.join(sorted(set(needs) - ready))}")
        waves.append(wave)
    return waves


def aggregate(
    wanted: Iterable[str], shards: Sequence[Extracted], plan: Plan, cache: Cache, engine: Engine, watch: Watch = unwatched
) -> dict[str, str]:
    """The views that are wanted, and those they need, as file names in the cache."""
    known = units("dataaudit.aggregates")
    tables = sorted({(e.table, e.features) for e in shards if e.rows})
    multiplicity = Counter(e.table for e in shards if e.rows)
    whole = fingerprint(sorted(multiplicity.items()))
    views: dict[str, str] = {}
    for wave in schedule(wanted) if tables else ():
        passes = []
        for name in wave:
            unit = known[name]()
            seen = plan if reads_proxy(unit.columns) else plan.without_proxy
            own = recipe(unit, seen, *(views[need] for need in unit.needs), *sorted({Path(f).parent.name for _, f in tables}))
            passes.append(Pass(name, unit, own, fingerprint(own, whole)))
        missing = [p for p in passes if not cache.view(p.view_recipe).exists()]
        if missing:
            _run_wave(missing, views, tables, multiplicity, plan, cache, engine, watch)
        views |= {p.name: cache.view(p.view_recipe).name for p in passes}
    return views


def _run_wave(
    passes: Sequence[Pass],
    views: Mapping[str, str],
    tables: Sequence[tuple[str, str]],
    multiplicity: Mapping[str, int],
    plan: Plan,
    cache: Cache,
    engine: Engine,
    watch: Watch,
) -> None:
    stage = "aggregate " + ", ".join(p.name for p in passes)
    start = partial(start_shard, passes=tuple(passes), views=dict(views), plan=plan, cache=cache)
    for done, _ in enumerate(results(engine, start, tables), 1):
        watch(Progress(stage, done, len(tables)))
    # A shard that lies there twice counts twice.
    states = {p.name: [p.kept(digest, cache) for digest, _ in tables for _ in range(multiplicity[digest])] for p in passes}
    finish = partial(finish_pass, states=states, views=dict(views), plan=plan, cache=cache)
    for _ in results(engine, finish, passes):
        pass


def start_shard(table: tuple[str, str], passes: Sequence[Pass], views: Mapping[str, str], plan: Plan, cache: Cache) -> None:
    """Write the states of one shard that are not there yet, reading it once in batches."""
    digest, features = table
    todo = [p for p in passes if not p.kept(digest, cache).exists()]
    if not todo:
        return
    loaded = {p.name: load_views(p.unit.needs, views, plan, cache) for p in todo}
    states = {p.name: Tally(p.unit) for p in todo}
    with ExitStack() as finished:
        folders = {
            p.name: finished.enter_context(records.atomic_directory(p.kept(digest, cache))) for p in todo if isinstance(p.unit, Parted)
        }
        for number, batch in enumerate(read_batches(features, [c for p in todo for c in p.unit.columns], plan, cache), 1):
            for p in todo:
                states[p.name].add(p.unit.start(batch, loaded[p.name]))
                if p.name in folders and number % (PART_ROWS // BATCH_ROWS) == 0:
                    records.save(states[p.name].taken(), folders[p.name] / f"{number:06d}.npz")
        for p in todo:
            if states[p.name]:
                records.save(states[p.name].taken(), folders[p.name] / "last.npz" if p.name in folders else p.kept(digest, cache))


def merge_tree(unit: Aggregate, paths: Sequence[Path]) -> Any:
    """Merge states pairwise in path order, holding one more than the depth of the tree."""
    if len(paths) == 1:
        return records.load(unit.State, paths[0])
    half = len(paths) // 2
    return unit.merge(merge_tree(unit, paths[:half]), merge_tree(unit, paths[half:]))


def finish_pass(one: Pass, states: Mapping[str, Sequence[Path]], views: Mapping[str, str], plan: Plan, cache: Cache) -> None:
    """Merge all states of one aggregate, or hand over their parts, and write its view."""
    loaded = load_views(one.unit.needs, views, plan, cache)
    if isinstance(one.unit, Parted):
        files = tuple(file for folder in states[one.name] for file in sorted(folder.glob("*.npz")))
        view = one.unit.finish_parts(records.MappedParts(one.unit.State, files), loaded)
    else:
        view = one.unit.finish(merge_tree(one.unit, states[one.name]), loaded)
    records.save(view, cache.view(one.view_recipe))


def read_batches(features: str, columns: Iterable[str], plan: Plan, cache: Cache) -> Iterator[pa.Table]:
    """A feature table in batches: the common columns and those asked for, as far as the table has them, or what the proxy saw does."""
    wanted = list(dict.fromkeys([*COMMON, *columns]))
    path = cache.root / features
    if not plan.proxy or not reads_proxy(wanted):
        yield from _batches(path, wanted)
        return
    beside = _batches(cache.features(plan.proxy, path.stem), wanted)
    for batch, more in zip(_batches(path, wanted), beside, strict=True):
        yield pa.table([*batch.columns, *more.columns], names=[*batch.column_names, *more.column_names])


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as stored:
        names = [n for n in columns if n in stored.schema_arrow.names]
        for batch in stored.iter_batches(BATCH_ROWS, columns=names):
            yield pa.Table.from_batches([batch])


def reads_proxy(columns: Iterable[str]) -> bool:
    """Whether one of these columns is what the proxy saw."""
    return proxy.COLUMN in columns


def load_views(names: Iterable[str], views: Mapping[str, str], plan: Plan, cache: Cache) -> dict[str, Any]:
    """The named views and the plan; a worker keeps what it loaded."""
    known = units("dataaudit.aggregates")
    return {"plan": plan} | {n: _load_view(known[n].View, cache.root / "views" / views[n]) for n in names}


@functools.lru_cache(maxsize=32)
def _load_view(cls: type, path: Path) -> Any:
    return records.load(cls, path)
