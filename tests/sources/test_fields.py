"""What the first values of a column tell: their kind, and whether they are conversations."""

from __future__ import annotations

import json

import pytest

from dataaudit.sources.fields import field_of

CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("seen", "kind", "turns"),
    [
        ([CHAT, CHAT[:1], None], "turns", 1.5),
        ([CHAT, CHAT, []], "turns", 2),
        ([[{"from": "nobody", "value": "a"}] * 3], "turns", 3),
        ([json.dumps(CHAT)] * 2, "text", 2),
        (["Human: a\n\nAssistant: b"], "text", 2),
        (["[1]", "text", json.dumps(CHAT)], "text", 0),
        ([[1, 2.5]], "vector", 0),
        ([["a"]], "other", 0),
        ([1, 2.5], "number", 0),
        ([], "other", 0),
    ],
)
def test_kinds(seen: list[object], kind: str, turns: float) -> None:
    found = field_of(seen)
    assert (found.kind, found.turns) == (kind, turns)
