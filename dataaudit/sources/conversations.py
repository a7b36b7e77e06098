"""Conversations: the turns of a chat as they are found, checked, and told as text.

Three ways to write one are read: a list of `{role, content}` (OpenAI) or `{from, value}` (ShareGPT), the same list as a JSON
string, and a transcript of `Human:` and `Assistant:` paragraphs (HH-RLHF).  Turns lie flat: text, or parts of text, is all that
is looked into.  Whatever does not fit is an `UnreadableError` that names the turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataaudit.sources import values
from dataaudit.sources.contract import Limits, UnreadableError, shown

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot", "function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response", "function_response"), "tool"),
}
"""Who speaks, by the names in use; a function call is what the model must learn to say."""
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
BETWEEN = "\n\n"
_SPEAKER, _SAID = ("role", "from"), ("content", "value")
_TRANSCRIPT = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant|System):")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: `role` is system, user, assistant or tool."""

    role: str
    text: str


def turns(value: object, what: str, limits: Limits) -> tuple[Turn, ...]:
    """The turns of a conversation, however it is written; raises `UnreadableError`."""
    if value is None:
        raise UnreadableError(f"{what} is null")
    if isinstance(value, str | bytes):
        return _written(values.text(value, what, limits), what, limits)
    if not isinstance(value, list):
        raise UnreadableError(f"{what} is of type {type(value).__name__}, expected a list of turns")
    if not value:
        raise UnreadableError(f"{what} has no turns")
    if len(value) > limits.turns:
        raise UnreadableError(f"{what} has more turns than the limit of {limits.turns}")
    found: list[Turn] = []
    size = 0
    for number, turn in enumerate(value, 1):
        found.append(_turn(turn, f"{what}, turn {number}", limits))
        size += len(found[-1].text)
        if size > limits.text_chars:
            raise UnreadableError(f"{what} has more than {limits.text_chars} characters by turn {number}, the limit")
    return tuple(found)


def before(found: Sequence[Turn], what: str) -> str:
    """Everything that the model sees before it speaks last."""
    last(found, what)
    if len(found) < 2:
        raise UnreadableError(f"{what} has nothing before the assistant's turn")
    return told(found[:-1])


def last(found: Sequence[Turn], what: str) -> str:
    """The assistant's last turn, which must end the conversation and say something."""
    if all(turn.role != "assistant" for turn in found):
        raise UnreadableError(f"{what} has no turn of the assistant")
    if found[-1].role != "assistant":
        raise UnreadableError(f"{what} ends with a turn of the {found[-1].role}, not of the assistant")
    if not found[-1].text.strip():
        raise UnreadableError(f"{what} ends with an empty turn of the assistant")
    return found[-1].text


def otherwise(found: Sequence[Turn], chosen: Sequence[Turn], what: str) -> str:
    """What is said where another conversation says its last turn: most often one turn, more where they part earlier."""
    last(found, what)
    shared = next((i for i, (a, b) in enumerate(zip(found[:-1], chosen[:-1], strict=False)) if a != b), min(len(found), len(chosen)) - 1)
    rest = found[shared:]
    return rest[0].text if len(rest) == 1 else told(rest)


def told(found: Sequence[Turn]) -> str:
    """Turns as text, each with its role's name."""
    return BETWEEN.join(f"{turn.role}: {turn.text}" for turn in found)


def usual_count(seen: Sequence[object], limits: Limits) -> float:
    """How many turns the first values of a column have in the mean; 0 where fewer than half of them are conversations."""
    known = [value for value in seen if value is not None]
    counts = [n for value in known if (n := _count(value, limits))]
    return sum(counts) / len(counts) if counts and 2 * len(counts) >= len(known) else 0.0


def is_turn(value: object) -> bool:
    """Whether a value has a turn's fields."""
    return isinstance(value, Mapping) and any(s in value for s in _SPEAKER) and any(s in value for s in _SAID)


def _count(value: object, limits: Limits) -> int:
    try:
        return len(turns(value, "", limits))
    except UnreadableError:
        return len(value) if isinstance(value, list) and any(map(is_turn, value)) else 0


def _written(text: str, what: str, limits: Limits) -> tuple[Turn, ...]:
    """A conversation written as text: JSON, or a transcript."""
    if text.lstrip()[:1] == "[":
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"{what} is text that begins like JSON and is none ({type(error).__name__})") from None
        return turns(listed, what, limits)
    marks = list(_TRANSCRIPT.finditer(text))
    if not marks or marks[0].start():
        raise UnreadableError(f"{what} is text, neither a JSON list of turns nor a transcript that begins with Human: or Assistant:")
    if len(marks) > limits.turns:
        raise UnreadableError(f"{what} has more turns than the limit of {limits.turns}")
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return tuple(Turn(ROLES[m[1].lower()], text[m.end() : end].strip()) for m, end in zip(marks, ends, strict=True))


def _turn(value: object, what: str, limits: Limits) -> Turn:
    if not isinstance(value, dict):
        raise UnreadableError(f"{what} is of type {type(value).__name__}, expected an object with role and content")
    speaker = next((value[name] for name in _SPEAKER if value.get(name) is not None), None)
    if speaker is None:
        raise UnreadableError(f"{what} has no role, only {', '.join(shown(str(name), 20) for name in list(value)[:8]) or 'nothing'}")
    name = values.text(speaker, f"{what}, its role", limits)
    role = ROLES.get(name.strip().lower())
    if role is None:
        raise UnreadableError(f"{what} has the role {shown(name, 20)}, which is none of {', '.join(ROLES)}")
    said = next((value[name] for name in _SAID if value.get(name) is not None), None)
    calls = _calls(value.get("tool_calls"), what, limits)
    if said is None and not calls and not any(name in value for name in _SAID):
        raise UnreadableError(f"{what} has no content")
    parts = [] if said is None else list(_parts(said, what, limits))
    return Turn(role, values.text("\n".join([*parts, *calls]), what, limits))


def _parts(said: object, what: str, limits: Limits) -> Iterator[str]:
    """The texts of a content: one, or those of a list of parts; a part that is no text cannot be audited."""
    if not isinstance(said, list):
        yield values.text(said, what, limits)
        return
    for part in _bounded(said, what, "parts", limits):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind is not None and (named := values.text(kind, f"{what}, the type of a part", limits)) not in TEXT_PARTS:
            raise UnreadableError(f"{what} has a part of type {shown(named, 20)}, which is no text")
        yield values.text(part.get("text") if isinstance(part, dict) else part, f"{what}, a part", limits)


def _calls(value: object, what: str, limits: Limits) -> list[str]:
    """Tool calls as `name(arguments)`; null, or none, where there are none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnreadableError(f"{what}, its tool_calls are of type {type(value).__name__}, expected a list")
    return [_call(call, f"{what}, a tool call", limits) for call in _bounded(value, what, "tool calls", limits)]


def _call(value: object, what: str, limits: Limits) -> str:
    called = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(called, dict):
        raise UnreadableError(f"{what} names no function")
    arguments = called.get("arguments")
    if isinstance(arguments, dict | list):
        try:
            arguments = json.dumps(arguments, ensure_ascii=False, default=_decoded)
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableError(f"{what} has arguments beyond sense ({type(error).__name__})") from None
    given = "" if arguments is None else values.text(arguments, f"{what}, its arguments", limits)
    return f"{values.text(called.get('name'), f'{what}, its name', limits)}({given})"


def _decoded(value: object) -> str:
    """Text that a Parquet reader left as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(type(value).__name__)


def _bounded(value: list[object], what: str, things: str, limits: Limits) -> list[object]:
    if len(value) > limits.turns:
        raise UnreadableError(f"{what} has more {things} than the limit of {limits.turns}")
    return value
