"""What `--content` and `--target` may say, and what it means for a record.

    text                            a column
    instruction+input               columns joined; the first must be there
    system?+question                a part that may be missing, so that the first of the others must be there
    messages:before                 a conversation up to the assistant's last turn, with the names of the roles
    messages:last                   the assistant's last turn
    messages:all                    every turn
    chosen/rejected                 what is chosen over what is rejected, columns or `:last` of conversations

A column whose own name looks like one of these is meant where its parts are not there.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataaudit.model import OVER, preference
from dataaudit.sources import conversations, values
from dataaudit.sources.contract import Limits, UnreadableError, shown

JOIN = "+"
VIEWS = {
    "before": "everything before the last assistant turn of",
    "last": "the last assistant turn of",
    "all": "all turns of",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A column, how it is looked at (as it is, or as a conversation), and whether it may be missing."""

    name: str
    view: str = ""
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.view}" if self.view else self.name


def part(spec: str) -> Part:
    """One column of a specification."""
    named = spec.removesuffix("?")
    name, _, view = named.rpartition(":")
    return Part(name, view, spec != named) if name and view in VIEWS else Part(named, "", spec != named)


def parts(spec: str, between: str, there: Container[str]) -> tuple[Part, ...]:
    """The columns of a specification; one whose name merely looks like several is itself."""
    split = tuple(part(piece) for piece in spec.split(between))
    return (Part(spec),) if spec in there and any(p.name not in there for p in split) else split


def content_parts(spec: str | None, there: Container[str]) -> tuple[Part, ...]:
    """The columns that make the content."""
    return parts(spec, JOIN, there) if spec is not None else ()


def target_parts(spec: str | None, there: Container[str]) -> tuple[Part, ...]:
    """The column that is the target, or the two of a preference."""
    return parts(spec, OVER, there) if spec is not None else ()


def content(record: Mapping[str, Any], spec: str, limits: Limits) -> str:
    """The content that the specification makes of a record; raises `UnreadableError`."""
    split = content_parts(spec, record)
    required = required_part(split)
    found = [value_of(record, p.name) if i == required else record.get(p.name) for i, p in enumerate(split)]
    seen = [x if x is None and i != required else looked_at(x, p, limits) for i, (x, p) in enumerate(zip(found, split, strict=True))]
    return values.joined(seen, [str(p) for p in split], limits, required)


def target(record: Mapping[str, Any], spec: str, limits: Limits) -> str:
    """The target that the specification makes of a record; raises `UnreadableError`."""
    split = target_parts(spec, record)
    return target_of([value_of(record, p.name) for p in split], split, limits)


def target_of(found: Sequence[object], split: Sequence[Part], limits: Limits) -> str:
    """The target out of the values of its columns: of two, the first is chosen over the second."""
    if len(split) == 1:
        return values.target(looked_at(found[0], split[0], limits), str(split[0]), limits)
    better, worse = split
    chosen = values.target(looked_at(found[0], better, limits), str(better), limits)
    if better.view and worse.view:
        shown_both = [conversations.turns(value, p.name, limits) for value, p in zip(found, split, strict=True)]
        rejected = conversations.otherwise(shown_both[1], shown_both[0], worse.name)
    else:
        rejected = values.target(looked_at(found[1], worse, limits), str(worse), limits)
    return values.text(preference(chosen, rejected), f"{better}{OVER}{worse}", limits)


def looked_at(value: object, how: Part, limits: Limits) -> object:
    """A value as it is, or what a view shows of the conversation in it."""
    if not how.view:
        return value
    found = conversations.turns(value, how.name, limits)
    if how.view == "all":
        return conversations.told(found)
    return conversations.before(found, how.name) if how.view == "before" else conversations.last(found, how.name)


def required_part(split: tuple[Part, ...]) -> int:
    """The part that must be there: the first that is not marked as one that may be missing."""
    return next((i for i, p in enumerate(split) if not p.optional), 0)


def value_of(record: Mapping[str, Any], name: str) -> object:
    """A field that must be there."""
    if name not in record:
        raise UnreadableError(f"no field {name}, only {', '.join(shown(n, 20) for n in list(record)[:8])}")
    return record[name]


def told(spec: str) -> str:
    """A specification as a person would say it; a plain column is its name in quotes."""
    if OVER in spec:
        better, worse = (told(side) for side in spec.split(OVER, 1))
        return f"{better} (chosen) over {worse} (rejected)"
    split = [part(piece) for piece in spec.split(JOIN)]
    if not any(p.view or p.optional for p in split):
        return repr(spec)
    return ", then ".join(" ".join(filter(None, (VIEWS.get(p.view), repr(p.name), "where it is there" * p.optional))) for p in split)
