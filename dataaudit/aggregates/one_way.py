"""Contradictions that go one way: many pictures of one kind under captions of another, and hardly any the other way round.

An encoder that takes cats for dogs takes dogs for cats as well, so honest contradictions go both ways.  Pictures of one kind that were put
under captions of another do not come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.reference_agreement import rarity
from dataaudit.aggregates.sorted_arrays import matched

Floats = NDArray[np.float64]
ROWS = 256
"""Rows of a matrix of cosines at a time."""


@dataclass(frozen=True)
class OneWayState:
    """The rarest pairs, the rarest first and equals by `rank` (m,): `rarity` (m,), and in stored units, both as pictures, what is `seen`
    (m, d) and what is `said` (m, d)."""

    rank: NDArray[np.uint64]
    rarity: Floats
    seen: NDArray[np.int32]
    said: NDArray[np.int32]


@dataclass(frozen=True)
class OneWayView:
    """By `rank` (m,), ascending: how far, in standard deviations, the contradictions like each pair's outnumber the opposite ones (m,)."""

    rank: NDArray[np.uint64]
    surplus: Floats

    def of(self, table: pa.Table) -> Floats:
        """The surplus of each row of a batch, shape (n,); 0 where a pair is not among the rarest."""
        found = np.zeros(len(table))
        row, at = matched(np.asarray(table.column("rank"), dtype=np.uint64), self.rank)
        found[row] = self.surplus[at]
        return found


@dataclass(frozen=True)
class OneWay:
    """The `share` of the pairs that agree least, at most `most` (6 MB of state): below, honest pairs are too many to tell anything."""

    needs: ClassVar[tuple[str, ...]] = ("pair_regression", "pair_agreement")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")
    State: ClassVar[type] = OneWayState
    View: ClassVar[type] = OneWayView

    share: float = 0.03
    most: int = 4_096

    def start(self, table: pa.Table, views: Views) -> OneWayState:
        """The rarest pairs of a batch."""
        rare = rarity(table, views)
        rows = np.flatnonzero(rare >= -np.log(self.share))
        seen, said = views["pair_regression"].as_pictures(table.take(pa.array(rows)))
        return self._rarest(np.asarray(table.column("rank"), dtype=np.uint64)[rows], rare[rows], seen, said)

    def merge(self, a: OneWayState, b: OneWayState) -> OneWayState:
        """The rarest of both."""
        return self._rarest(*(np.concatenate(both) for both in zip(_parts(a), _parts(b), strict=True)))

    def _rarest(self, rank: NDArray[np.uint64], rare: Floats, seen: NDArray[np.int32], said: NDArray[np.int32]) -> OneWayState:
        # Equal pairs count once: a flood of copies is no stream.
        order = np.lexsort((rank, -rare))
        _, first = np.unique(rank[order], return_index=True)
        kept = order[np.sort(first)][: self.most]
        return OneWayState(rank[kept], rare[kept], seen[kept], said[kept])

    def finish(self, state: OneWayState, views: Views) -> OneWayView:
        """Count contradictions like each one, and the opposite ones."""
        order = np.argsort(state.rank)
        rank, rare, seen, said = (part[order] for part in _parts(state))
        return OneWayView(rank, surplus(_unit(seen), _unit(said), rare + np.log(self.share) + FAINT))


FAINT = 0.2
"""What the least rare of the pairs counts."""


def surplus(seen: NDArray[np.float32], said: NDArray[np.float32], weight: Floats) -> Floats:
    """Weighted contradictions like each pair's less the opposite ones, over the square root of both, shape (m,), from unit vectors (m, d).

    Two pairs are as alike as the squares of both cosines say, of what is seen and of what is said; opposite ones, if each shows what the
    other says.  Cosines below 0 count nothing.
    """
    found = np.zeros(len(weight))
    for at in range(0, len(weight), ROWS):
        rows = slice(at, at + ROWS)
        alike = _square(seen[rows] @ seen.T) * _square(said[rows] @ said.T)
        alike[np.arange(len(alike)), np.arange(at, at + len(alike))] = 0
        opposite = _square(seen[rows] @ said.T) * _square(said[rows] @ seen.T)
        same, other = alike @ weight, opposite @ weight
        found[rows] = (same - other) / np.sqrt(same + other + weight.mean())
    return np.round(found, 4)


def _square(cosines: NDArray[np.float32]) -> Floats:
    return np.maximum(cosines, 0).astype(np.float64) ** 2


def _unit(vectors: NDArray[np.int32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1), dtype=np.float32)


def _parts(state: OneWayState) -> tuple[NDArray[Any], ...]:
    return state.rank, state.rarity, state.seen, state.said
