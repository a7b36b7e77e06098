"""What sorted arrays make easy: runs of equals, look-ups, sums by name."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def run_starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Where runs of equal rows begin; the columns are equally long."""
    new = np.ones(len(columns[0]), bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(new)


def distinct(*columns: NDArray[T]) -> NDArray[T]:
    """The different values of all columns, ascending (`np.unique` alone hashes, which takes many times as long for a million)."""
    values = np.sort(np.concatenate(columns))
    return values[run_starts(values)]


def place_in_run(column: NDArray[Any]) -> NDArray[np.intp]:
    """How many of its equals stand before each entry."""
    starts = run_starts(column)
    return np.arange(len(column)) - np.repeat(starts, np.diff(starts, append=len(column)))


def ranges(first: NDArray[np.integer], many: NDArray[np.integer]) -> NDArray[np.int64]:
    """`many[i]` numbers from `first[i]` on, for one i after another."""
    return np.asarray(np.arange(int(many.sum())) + np.repeat(first - (np.cumsum(many) - many), many))


def matched(wanted: NDArray[Any], names: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of those wanted are among the ascending names, and where."""
    if not len(names):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    at = np.flatnonzero(names[place] == wanted)
    return at, place[at]


def added(names: NDArray[Any], *parts: tuple[NDArray[Any], NDArray[T]]) -> NDArray[T]:
    """The sums of all parts' values by name; a part is its own names, each once, and their values, and what is not named is left out."""
    sums = np.zeros((len(names), *parts[0][1].shape[1:]), parts[0][1].dtype)
    for own, values in parts:
        at, place = matched(own, names)
        sums[place] += values if len(at) == len(own) else values[at]
    return sums
