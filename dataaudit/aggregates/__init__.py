"""Aggregates are mergeable facts about the whole data set.

    start(table, views) -> State      a batch of a shard's feature table (at most a few thousand rows)
    merge(a, b) -> State              associative and commutative, to the bit
    finish(state, views) -> View      once, on one worker

A module that defines a class named like itself (`label_model.py` -> `LabelModel`) is an aggregate: a
frozen dataclass whose fields are its settings.  `needs` names the views of earlier aggregates, so a
second pass over the data, or a model fitted on a bounded sample, is just another aggregate.  States and
Views are frozen dataclasses of numpy arrays, numbers, strings and tuples of strings, which
`dataaudit.store.records` saves and loads without pickle.  A State stays below 64 MB; where the states of all
shards would not once they are merged, the aggregate is `Parted`: a shard has a directory of states, each of
`PART_ROWS` rows at the most, which nobody merges; `finish_parts` gets them memory-mapped.

Integers merge exactly; embeddings are fixed point so their moments do too; samples are bottom-k by the
keyed hash `rank`, never by arrival.  So: any sharding, any order, the same view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from dataaudit.model import Plan

PART_ROWS = 65_536
TARGET_COLUMNS = ("target_embedding", "caption_phrases")
"""What `views["targets"].index` reads of a batch beside the target itself, where such data has it."""
Views = Mapping[str, Any]
"""The finished views an aggregate or detector asked for in `needs`, by name; `views["plan"]` is the Plan, always there."""


class Aggregate(Protocol):
    """A mergeable fact about the whole data set."""

    needs: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, ...]]
    State: ClassVar[type]
    View: ClassVar[type]

    def start(self, table: pa.Table, views: Views) -> Any:
        """The state of one batch of rows; `table` has the columns asked for, plus key, target, digest and rank."""
        ...

    def merge(self, a: Any, b: Any) -> Any:
        """The state of both."""
        ...

    def finish(self, state: Any, views: Views) -> Any:
        """The view of the whole data set."""
        ...


@runtime_checkable
class Parted(Aggregate, Protocol):
    """A fact too large to be merged in memory; `merge` still joins the batches of a part."""

    def finish_parts(self, parts: Sequence[Any], views: Views) -> Any:
        """The view of the whole data set, from at least one state: what `finish` says of all of them merged.

        Arrays lie on disk, possibly unaligned: copy what is used twice.
        """
        ...


def plan_of(views: Views) -> Plan:
    """The plan that every set of views carries."""
    plan: Plan = views["plan"]
    return plan
