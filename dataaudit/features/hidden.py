"""What a text holds that its reader cannot see or is deceived by.

Honest uses are left out where they stand: joiners and breaks beside letters of scripts that need them, joiners and selectors in
emoji, flags made of tags, bidi controls in texts with right-to-left letters, a byte order mark at the very beginning.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, Literal

import pyarrow as pa

from dataaudit.features import Batch
from dataaudit.features.invisible import (
    BIDI,
    HIDDEN,
    MARKS,
    OVERRIDES,
    PRIVATE,
    SELECTORS,
    SOFT_HYPHEN,
    TAGS,
    is_complex,
    is_pictorial,
    is_plain,
)
from dataaudit.features.lookalikes import lookalikes
from dataaudit.model import Modality

Kind = Literal[
    "zero-width", "data", "tags", "selectors", "override", "homoglyphs", "edge", "soft-hyphen", "operator", "bidi", "mixed", "private"
]
STRONG: tuple[Kind, ...] = ("zero-width", "data", "tags", "selectors", "override", "homoglyphs")
"""Kinds that have practically no honest use; the others have, and prove nothing by themselves."""
WEAK: tuple[Kind, ...] = ("edge", "soft-hyphen", "operator", "bidi", "mixed", "private")
RESPONSE = "response "
"""Begins the names of markings that stand in the response."""

MAX_CHARACTERS = 1_000_000
MAX_RUNS = 50_000
MAX_MARKS = 16
MAX_TIMES = 8
DATA = 8
"""From so many invisible characters in a row, of several kinds, they can carry a message (one byte in bits)."""
PAYLOAD = 4
"""From so many variation selectors in a row they can."""
SPAN = 200

ENDS = frozenset("\u202c\u2069")
_RUN = re.compile(f"[{HIDDEN}]+")
_PIECE = re.compile(
    f"(?P<tags>[{TAGS}]+)|(?P<selectors>[{SELECTORS}]+)|(?P<private>[{PRIVATE}]+)|(?P<override>[{OVERRIDES}])|[{BIDI}]+|.", re.DOTALL
)
_FLAG = re.compile("[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,4}\U000e007f")
_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_FUNCTIONS = re.compile("(a?(sin|cos|tan|cot)h?|arc(sin|cos|tan)|sec|csc|log|ln|lg|exp|max|min|sup|inf|lim|det|dim|ker|gcd|arg|deg)")


@dataclass(frozen=True)
class Marking:
    """One hidden thing at `start` to `end` of a text; `detail` tells which of its kind it is."""

    kind: Kind
    detail: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What carriers of the same marking share: printable ASCII."""
        return f"{self.kind} {self.detail}".strip()


@dataclass(frozen=True)
class Hidden:
    """The names of the markings of content and response, as a sorted list; one that occurs n times stands there n times, at most 8.

    Only the first million characters are read.  A text of ASCII has none.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-text", "instructions", "text")

    def compute(self, batch: Batch) -> pa.Array:
        responses = batch.targets if batch.plan.target_kind == "text" else [""] * len(batch.samples)
        found = [[*names(text), *(RESPONSE + n for n in names(said))] for text, said in zip(batch.texts, responses, strict=True)]
        return pa.array(found, pa.list_(pa.string()))


def names(text: str) -> list[str]:
    """The names of a text's markings, the strong kinds first where there are too many."""
    if text.isascii():
        return []
    counted = Counter(m.name for m in markings(text))
    kept = sorted(counted, key=lambda name: (kind_of(name) in WEAK, name))[:MAX_MARKS]
    return [name for name in sorted(kept) for _ in range(min(counted[name], MAX_TIMES))]


def kind_of(name: str) -> str:
    """The kind that a name belongs to."""
    return name.removeprefix(RESPONSE).split(" ", 1)[0]


def markings(text: str) -> list[Marking]:
    """Every marking in the first million characters, in order."""
    if text.isascii():
        return []
    read = text[:MAX_CHARACTERS]
    leftward = _RIGHT.search(read) is not None
    found = [m for run in islice(_RUN.finditer(read), MAX_RUNS) for m in _in_run(read, *run.span(), leftward)]
    mixed = islice(lookalikes(read), MAX_RUNS)
    found += [Marking("homoglyphs" if strong else "mixed", script, start, end) for start, end, script, strong in mixed]
    return sorted(_littered(found), key=lambda m: (m.start, m.end))


def _littered(found: Sequence[Marking]) -> Iterator[Marking]:
    """Where a zero-width character stands between words as often as inside them, the typesetting put it there."""
    edges = Counter(m.detail for m in found if m.kind == "edge")
    inside = Counter(m.detail for m in found if m.kind == "zero-width")
    for m in found:
        yield replace(m, kind="edge") if m.kind == "zero-width" and edges[m.detail] >= inside[m.detail] else m


def _in_run(text: str, start: int, end: int, leftward: bool) -> Iterator[Marking]:
    """The markings of a run of hidden characters, each piece judged by what stands around the run.

    `leftward` tells whether the text has letters that are written from right to left.
    """
    before, after = _before(text, start), text[end : end + 1]
    if start == 0 and text[0] == "\ufeff":
        start += 1
    plain: list[tuple[int, int]] = []
    for piece in _PIECE.finditer(text, start, end):
        at, to = piece.span()
        match piece.lastgroup:
            case "tags":
                if not (text[at - 1 : at] == "\U0001f3f4" and _FLAG.fullmatch(piece.group())):
                    yield Marking("tags", "", at, to)
            case "selectors":
                kind = _selectors(text, at, to, before, after)
                if kind:
                    yield Marking(kind, _detail(text, at, to) if kind != "selectors" else "", at, to)
            case "private":
                yield Marking("private", "", at, to)
            case "override":
                if _turns(text, at):
                    yield Marking("override", f"{ord(text[at]):04X}", at, to)
                elif not leftward:
                    yield Marking("bidi", f"{ord(text[at]):04X}", at, to)
            case _:
                if plain and plain[-1][1] == at:
                    plain[-1] = (plain[-1][0], to)
                else:
                    plain.append((at, to))
    for at, to in plain:
        kind = _zero_width(text, at, to, before, after, leftward)
        if kind:
            yield Marking(kind, "" if kind == "data" else _detail(text, at, to), at, to)


def _zero_width(text: str, at: int, to: int, before: str, after: str, leftward: bool) -> Kind | None:
    """What a run of zero-width characters and bidi controls is."""
    run = text[at:to]
    bidi = re.fullmatch(f"[{BIDI}]+", run) is not None
    inside = is_plain(before) and is_plain(after)
    if bidi and not inside:
        return None if leftward or set(run) <= ENDS else "edge" if all(sign in MARKS for sign in run) else "bidi"
    if _needed(text, at, to, before, after):
        return None
    if len(run) >= DATA and len(set(run)) > 1:
        return "data"
    if all(sign == SOFT_HYPHEN for sign in run):
        return "soft-hyphen" if inside and "\u00c2" not in text[max(0, at - 1) : at] and not _mojibake(before, after) else None
    if all("\u2061" <= sign <= "\u2064" for sign in run) and _formula(text, at, to):
        return "operator"
    if not inside or _breaks_identifier(run, before, after) or _parts_ligature(run, before, after):
        return "edge"
    return "zero-width"


def _needed(text: str, start: int, end: int, before: str, after: str) -> bool:
    """Whether a letter of a script that needs such characters, an emoji or an accent stands beside, white space aside."""
    left = before if not before.isspace() else text[max(0, start - 4) : start].rstrip()[-1:]
    right = after if not after.isspace() else text[end : end + 4].lstrip()[:1]
    beside = [sign for sign in (left, right) if sign]
    return any(is_complex(sign) or is_pictorial(sign) for sign in beside) or (after != "" and unicodedata.combining(after) > 0)


def _selectors(text: str, at: int, to: int, before: str, after: str) -> Kind | None:
    """What a run of variation selectors is: one behind a sign that can have one is honest, and an emoji's own even twice."""
    run, base = text[at:to], text[at - 1 : at]
    emoji = all(sign in "\ufe0e\ufe0f" for sign in run)
    if emoji and len(run) <= 2 and base and (is_pictorial(base) or (base in "0123456789#*" and not is_plain(after))):
        return None
    if len(run) == 1 and base and (is_complex(base) or "\u2190" <= base <= "\u2bff" or base == "0" or _is_han(base)):
        return None
    if len(run) >= PAYLOAD and not (emoji and len(set(run)) == 1):
        return "selectors"
    return "zero-width" if is_plain(before) and is_plain(after) else "edge"


def _turns(text: str, at: int) -> bool:
    """Whether an override shows letters against their own direction: at least two before it ends."""
    end = text.find("\u202c", at + 1, at + SPAN)
    span = text[at + 1 : end if end >= 0 else at + SPAN].split("\n", 1)[0]
    against = ("L",) if text[at] == "\u202e" else ("R", "AL")
    return sum(unicodedata.bidirectional(sign) in against for sign in span) >= 2


def _before(text: str, start: int) -> str:
    """The character before, accents aside; "" at the beginning."""
    for at in range(start - 1, max(-1, start - 6), -1):
        if not "\u0300" <= text[at] <= "\u036f":
            return text[at]
    return ""


def _detail(text: str, at: int, to: int) -> str:
    """The code points of a run, a long one cut."""
    shown = " ".join(f"{ord(sign):04X}" for sign in text[at : min(to, at + DATA)])
    return shown if to - at <= DATA else f"{shown} ..."


def _is_han(sign: str) -> bool:
    return "\u3400" <= sign <= "\u9fff" or "\uf900" <= sign <= "\ufaff" or "\U00020000" <= sign <= "\U0003ffff"


def _mojibake(before: str, after: str) -> bool:
    """UTF-8 or a Chinese code page read as Latin-1 is full of such bytes: í is Ã and a soft hyphen."""
    return "\u0080" <= before <= "\u00ff" or "\u0080" <= after <= "\u00ff"


def _formula(text: str, start: int, end: int) -> bool:
    """Whether invisible operators stand in mathematics: beside a symbol of one letter, a number, a bracket or a function's name."""
    left = re.search(r"[^\W_]*$", text[max(0, start - 12) : start])
    right = re.match(r"[^\W_]*", text[end : end + 12])
    sides = [side.group() for side in (left, right) if side]
    return any(len(side) <= 1 or side.isdigit() or _FUNCTIONS.fullmatch(side) for side in sides)


def _breaks_identifier(run: str, before: str, after: str) -> bool:
    """Documentation allows a break before the capitals of a long identifier."""
    return set(run) <= {"\u200b", "\u2060"} and before.islower() and after.isupper()


def _parts_ligature(run: str, before: str, after: str) -> bool:
    """German typesetting keeps f and what follows apart across a seam of words."""
    return run == "\u200c" and before == "f" and after in "fijklt"
