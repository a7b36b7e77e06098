"""Loops compiled to machine code, when they are first run: the only door to numba."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled; the machine code is kept beside the source, or made once a process where nothing can be kept."""
    from numba import njit

    try:
        machine: Callable[..., Any] = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        machine = njit(nogil=True)(function)
    return machine
