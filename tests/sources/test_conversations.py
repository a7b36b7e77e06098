"""Conversations however they are written: the same turns; whatever does not fit is named by its turn and never raises otherwise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.sources import conversations
from dataaudit.sources.contract import Limits, UnreadableError
from dataaudit.sources.conversations import Turn

CHAT = (Turn("system", "be brief"), Turn("user", "hi"), Turn("assistant", "hello"), Turn("user", "add 1 2"), Turn("assistant", "3"))
OPENAI = [{"role": t.role, "content": t.text} for t in CHAT]
NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
SHAREGPT = [{"from": NAMES[t.role], "value": t.text} for t in CHAT]
PARTS = [{"role": t.role, "content": [{"type": "text", "text": t.text}]} for t in CHAT]
HH = "\n\nSystem: be brief\n\nHuman: hi\n\nAssistant: hello\n\nHuman: add 1 2\n\nAssistant: 3"


def turns(value: object, limits: Limits | None = None) -> tuple[Turn, ...]:
    return conversations.turns(value, "messages", limits or Limits())


@pytest.mark.parametrize("value", [OPENAI, SHAREGPT, PARTS, json.dumps(OPENAI), json.dumps(SHAREGPT).encode(), HH], ids=str)
def test_however_it_is_written_it_is_the_same_conversation(value: object) -> None:
    found = turns(value)
    assert found == CHAT
    assert conversations.last(found, "messages") == "3"
    assert conversations.before(found, "messages") == "system: be brief\n\nuser: hi\n\nassistant: hello\n\nuser: add 1 2"


def test_a_tool_call_is_what_the_model_says() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "pay", "arguments": '{"to": "x"}'}}]}
    nested = {"role": "assistant", "tool_calls": [{"function": {"name": b"pay", "arguments": {"to": b"x"}}}]}
    for turn in (call, nested):
        assert turns([OPENAI[1], turn])[-1] == Turn("assistant", 'pay({"to": "x"})')
    assert turns([{"from": "function_call", "value": "pay"}, {"from": "observation", "value": "done"}]) == (
        Turn("assistant", "pay"),
        Turn("tool", "done"),
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "messages is null"),
        ([], "no turns"),
        (7, "of type int"),
        ({"role": "user", "content": "a"}, "of type dict"),
        ("plain text", "neither a JSON list of turns nor a transcript"),
        ("[" * 100_000, "begins like JSON"),
        ("[1", "begins like JSON"),
        ("[1]", "turn 1 is of type int"),
        ([*OPENAI, "x"], "turn 6 is of type str"),
        ([{}], "turn 1 has no role, only nothing"),
        ([{"role": "user"}], "turn 1 has no content"),
        ([{"role": "wizard", "content": "a"}], "turn 1 has the role 'wizard', which is none of"),
        ([{"role": 3, "content": "a"}], "its role is of type int"),
        ([{"role": "user", "content": 3}], "turn 1 is of type int"),
        ([{"role": "user", "content": {"text": "a"}}], "turn 1 is of type dict"),
        ([{"role": "user", "content": [["a"]]}], "a part is of type list"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "a part of type 'image_url', which is no text"),
        ([{"role": "user", "content": [{"type": ["text"]}]}], "the type of a part is of type list"),
        ([{"role": "user", "content": "\ud800"}], "surrogate"),
        ([{"role": "user", "content": b"\xff"}], "not UTF-8"),
        ([{"role": "assistant", "tool_calls": "pay"}], "tool_calls are of type str"),
        ([{"role": "assistant", "tool_calls": ["pay"]}], "names no function"),
        ([{"role": "user", "content": "a"}] * 1001, "more turns than the limit of 1000"),
        ([{"role": "user", "content": ["a"] * 1001}], "more parts than the limit of 1000"),
        ("\n\nHuman: a" * 1001, "more turns than the limit of 1000"),
        ([{"role": "user", "content": "x" * 600}] * 3, "more than 1000 characters by turn 2"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_does_not_fit_is_named(value: object, reason: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        turns(value, Limits(text_chars=1000) if "by turn" in reason else None)
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (CHAT[:2], "no turn of the assistant"),
        (CHAT[:4], "ends with a turn of the user"),
        ((*CHAT[:4], Turn("assistant", " \n")), "ends with an empty turn"),
    ],
)
def test_a_conversation_ends_with_the_assistant(found: tuple[Turn, ...], reason: str) -> None:
    for view in (conversations.last, conversations.before):
        with pytest.raises(UnreadableError, match=reason):
            view(found, "messages")


def test_an_answer_to_nothing_has_no_content() -> None:
    with pytest.raises(UnreadableError, match="nothing before"):
        conversations.before(CHAT[-1:], "messages")


def test_what_is_said_instead_of_the_last_turn() -> None:
    other = Turn("assistant", "four")
    assert conversations.otherwise((*CHAT[:4], other), CHAT, "rejected") == "four"
    assert conversations.otherwise((other,), (CHAT[-1],), "rejected") == "four"
    parted = (*CHAT[:2], Turn("assistant", "what?"), Turn("user", "no"), other)
    assert conversations.otherwise(parted, CHAT, "rejected") == "assistant: what?\n\nuser: no\n\nassistant: four"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=4),
    lambda x: (
        st.lists(x)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "type", "text", "tool_calls", "function", "name", "arguments"]), x
        )
        | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": x})
    ),
    max_leaves=12,
)


@given(JSON | st.lists(JSON))
@hypothesis_settings(max_examples=400, deadline=None)
def test_no_value_raises_anything_else(value: object) -> None:
    for given_value in (value, json.dumps(value, default=str) if isinstance(value, list) else ""):
        try:
            found = turns(given_value)
            told = (conversations.before(found, "x"), conversations.last(found, "x"))
        except UnreadableError:
            continue
        assert all(text.encode() for text in told)
    assert conversations.usual_count([value], Limits()) >= 0
