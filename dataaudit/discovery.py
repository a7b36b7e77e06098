"""Finds units (features, aggregates, detectors) when asked: one class a module, named like the module."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataaudit.errors import ConfigurationError
from dataaudit.model import fingerprint


def units(package_name: str) -> dict[str, Any]:
    """The unit classes of a package by module name, in name order; modules without such a class are not units."""
    package = importlib.import_module(package_name)
    found: dict[str, Any] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        module = importlib.import_module(f"{package_name}.{info.name}")
        unit = getattr(module, info.name.title().replace("_", ""), None)
        if isinstance(unit, type) and dataclasses.is_dataclass(unit):
            found[info.name] = unit
    return found


def configured(name: str, unit: type, settings: Mapping[str, object]) -> Any:
    """An instance of a unit with the user's settings; an unknown key or a value of another type raises."""
    fields = {f.name: f for f in dataclasses.fields(unit)}
    default = unit()
    for key, value in settings.items():
        if key not in fields:
            raise ConfigurationError(f"[{name}] has no setting {key!r}; it knows {', '.join(sorted(fields)) or 'none'}")
        want = type(getattr(default, key))
        if not isinstance(value, want) and not (want is float and isinstance(value, int)):
            raise ConfigurationError(f"[{name}] {key} must be {want.__name__}, got {value!r}")
    return dataclasses.replace(default, **settings)


@functools.cache
def source_digest(package_name: str) -> str:
    """A digest of a package's own source: what was computed by other code is not reused."""
    package = importlib.import_module(package_name)
    digest = hashlib.sha256()
    for root in package.__path__:
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def recipe(unit: Any, *inputs: object) -> str:
    """What a unit's result depends on beside the data: its name, its settings, its package's code and its inputs."""
    package = type(unit).__module__.rpartition(".")[0]
    return fingerprint(type(unit).__name__, unit, source_digest(package), *inputs)
