"""What the first values of a column or extension tell about it."""

from __future__ import annotations

from collections.abc import Sequence

from dataaudit.sources import conversations
from dataaudit.sources.contract import Field, FieldKind, Limits

PEEKED = 100
"""Values of a column that are tried as conversations."""


def field_of(seen: Sequence[object]) -> Field:
    """What the first values of a column tell about it; nulls say nothing about its kind."""
    known = [value for value in seen if value is not None]
    kinds = {_kind(value) for value in known}
    turns = conversations.usual_count(known[:PEEKED], Limits())
    mixed: FieldKind = "number" if kinds == {"integer", "number"} else "turns" if turns and "turns" in kinds else "other"
    kind = kinds.pop() if len(kinds) == 1 else mixed
    if kind not in {"text", "integer"}:
        return Field(kind, turns=turns)
    distinct = len(set(map(str, known)))
    chars = sum(map(len, map(str, known))) / len(known)
    return Field(kind, unique=distinct == len(seen), distinct=distinct / len(known), chars=chars, turns=turns)


def _kind(value: object) -> FieldKind:
    match value:
        case bool() | int():
            return "integer"
        case float():
            return "number"
        case str():
            return "text"
        case bytes():
            return "bytes"
        case {"bytes": _}:
            return "bytes"
        case list() if value and all(type(x) in (int, float) for x in value):
            return "vector"
        case list() if value and any(map(conversations.is_turn, value)):
            return "turns"
    return "other"
