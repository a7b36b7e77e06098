"""Tells whether a training set has been poisoned, before anyone trains on it.

    dataaudit.scan(sources, out)    audit a data set
    dataaudit.open(directory)       read an audit

Both are loaded when first used, so that `import dataaudit` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataaudit.audit import Settings, open, scan  # noqa: A004

__all__ = ["Settings", "open", "scan"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from dataaudit import audit

        return getattr(audit, name)
    raise AttributeError(f"module 'dataaudit' has no attribute {name!r}")
