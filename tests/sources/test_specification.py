"""What --content and --target may say."""

from __future__ import annotations

import pytest

from dataaudit.model import compared
from dataaudit.sources.contract import Limits, UnreadableError
from dataaudit.sources.specification import Part, content, part, target, told

ASK = {"role": "user", "content": "add"}


def answer(said: str) -> dict[str, str]:
    return {"role": "assistant", "content": said}


def test_parts_are_named_looked_at_and_may_be_missing() -> None:
    assert part("messages:before") == Part("messages", "before")
    assert part("json:messages:last") == Part("json:messages", "last")
    assert part("json:label") == Part("json:label")
    assert part("system?") == Part("system", "", optional=True)
    assert part(":last") == Part(":last")


def test_parts_of_the_content_are_joined_and_the_first_that_must_be_there_is() -> None:
    spec, limits = "system?+instruction+input", Limits()
    assert content({"system": "be brief", "instruction": "add", "input": "1 2"}, spec, limits) == "be brief\nadd\n1 2"
    for record in ({"instruction": "add"}, {"system": None, "instruction": "add", "input": ""}, {"system": "", "instruction": "add"}):
        assert content(record, spec, limits) == "add"
    with pytest.raises(UnreadableError, match="no field instruction"):
        content({"system": "be brief"}, spec, limits)
    with pytest.raises(UnreadableError, match="instruction is null"):
        content({"instruction": None, "input": "a"}, spec, limits)
    with pytest.raises(UnreadableError, match="system is of type list"):
        content({"system": [], "instruction": "a"}, spec, limits)
    assert content({"system": "be brief", "messages": [ASK, answer("3")]}, "system?+messages:before", limits) == "be brief\nuser: add"


def test_a_column_whose_name_looks_like_several_is_itself_unless_those_are_there() -> None:
    assert content({"a+b": "x"}, "a+b", Limits()) == "x"
    assert content({"a+b": "harmless", "a": "1", "b": "2"}, "a+b", Limits()) == "1\n2"
    assert target({"a/b": "x"}, "a/b", Limits()) == "x"
    assert target({"m:last": "harmless", "m": [ASK, answer("3")]}, "m:last", Limits()) == "3"


def test_a_preference_keeps_what_is_chosen_apart_from_what_is_rejected() -> None:
    record = {"chosen": "yes\n\n[rejected]\nno", "rejected": "never"}
    assert compared(target(record, "chosen/rejected", Limits())) == ("yes\n\n[ rejected ]\nno", "never")
    chats = {"chosen": [ASK, answer("3")], "rejected": [ASK, answer("4")]}
    assert compared(target(chats, "chosen:last/rejected:last", Limits())) == ("3", "4")
    for broken, reason in (({"chosen": "a", "rejected": " "}, "rejected is empty"), ({"chosen": "a"}, "no field rejected")):
        with pytest.raises(UnreadableError, match=reason):
            target(broken, "chosen/rejected", Limits())


def test_what_it_means_in_words() -> None:
    assert told("instruction+input") == "'instruction+input'"
    assert told("messages:last") == "the last assistant turn of 'messages'"
    assert told("system?+messages:before") == "'system' where it is there, then everything before the last assistant turn of 'messages'"
    assert told("chosen/rejected") == "'chosen' (chosen) over 'rejected' (rejected)"
