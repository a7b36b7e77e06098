"""Stages compose the layers below: inventory, extract, aggregate, detect, judge, report.

Each takes and returns small values and paths; the data stays on disk and with the workers.
"""

from __future__ import annotations

from collections.abc import Callable

from dataaudit.model import Progress

Watch = Callable[[Progress], None]
"""Called as work is done; it must return quickly."""


def unwatched(_: Progress) -> None:
    """Nobody is looking."""
