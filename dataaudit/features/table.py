"""Puts the columns of a batch together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.discovery import units
from dataaudit.features import Batch, Feature
from dataaudit.model import Modality, Plan, Sample, keyed_hash

TARGET_CHARACTERS = 4096


def available(modality: Modality) -> dict[str, Feature]:
    """The features that such data has, by column name."""
    return {name: unit() for name, unit in units("dataaudit.features").items() if modality in unit.modalities}


def tabulate(batch: Batch, features: Mapping[str, Feature]) -> pa.Table:
    """The feature table of a batch: the common columns, then one a feature, in name order."""
    digests = [content_digest(s) for s in batch.samples]
    columns: dict[str, pa.Array] = {
        "key": pa.array([s.key for s in batch.samples], pa.string()),
        "offset": pa.array([s.offset for s in batch.samples], pa.int64()),
        "length": pa.array([s.length for s in batch.samples], pa.int64()),
        "target": pa.array([None if s.target is None else s.target[:TARGET_CHARACTERS] for s in batch.samples], pa.string()),
        "digest": pa.array(digests, pa.string()),
        "rank": pa.array(ranks(batch.samples, digests, batch.plan), pa.uint64()),
    }
    return pa.table(columns | {name: feature.compute(batch) for name, feature in features.items()})


def listed(table: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """(row, value) of everything in a list column of a batch, in order of the rows; nothing where there is no such column."""
    if not len(table) or name not in table.column_names:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    column = table.column(name).combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return np.repeat(np.arange(len(table)), np.diff(np.asarray(array.offsets))), np.asarray(array.flatten())


def lists(values: Sequence[NDArray[Any]], kind: pa.DataType) -> pa.Array:
    """A list column that holds these values, one array a row."""
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    flat = np.concatenate(values) if len(values) else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, kind))


def content_digest(sample: Sample) -> str:
    """blake2b-16 of what the model sees: the content's bytes, or the vector where that is all there is."""
    if sample.content is None:
        seen = b"" if sample.vector is None else sample.vector.astype("<f4").tobytes()
    else:
        seen = sample.content if isinstance(sample.content, bytes) else sample.content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(seen, digest_size=16).hexdigest()


def ranks(samples: Sequence[Sample], digests: Sequence[str], plan: Plan) -> list[int]:
    """The keyed hash of each sample's content and target, as an unsigned 64-bit integer."""
    key = plan.key("rank")
    return [keyed_hash(f"{digest}\x1f{sample.target or ''}", key) for sample, digest in zip(samples, digests, strict=True)]
