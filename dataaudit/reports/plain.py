"""Hostile text made harmless and visible: what hides, reorders or commands is shown by its code point.

A data set may put anything into names, labels and captions: terminal escapes, bidirectional controls that
make a sentence read backwards, zero-width characters that carry a trigger.  A reader must see that they
are there.  Markup is not escaped here: the HTML templates and `terminal` do that for their own syntax.
"""

from __future__ import annotations

import re
import unicodedata

BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u180b\u180c\u180d\u180f\u17b4\u17b5")
"""Letters, marks and symbols that draw nothing, though Unicode does not class them as invisible."""
EMOJI_STYLE = "\ufe0f"
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKS = 3
"""Combining marks on one letter that real writing needs; more of them climb over the neighbouring lines."""
REPEATED = re.compile(r"(⟦U\+[0-9A-F]{4,6}⟧)\1+")


def visible(text: object, limit: int = 500) -> str:
    """At most `limit` characters of a text on one line; line breaks as ⏎, tabs as ⇥, what is invisible as ⟦U+202E⟧."""
    whole = str(text)
    cut = whole[:limit]
    shown = cut if cut.isascii() and cut.isprintable() else REPEATED.sub(_times, "".join(_each(cut)))
    return shown if len(whole) <= limit else f"{shown}… ({len(whole) - limit:,} more)"


def _each(text: str) -> list[str]:
    out = []
    marks = 0
    for character in text.replace("\r\n", "\n"):
        marks = marks + 1 if unicodedata.combining(character) else 0
        out.append(_code(character) if marks > MARKS else _one(character))
    return out


def _one(character: str) -> str:
    if character == "\n":
        return " ⏎ "
    if character == "\t":
        return " ⇥ "
    if character == EMOJI_STYLE or (character.isprintable() and character not in BLANK_LETTERS and not _selector(character)):
        return character
    return _code(character)


def _selector(character: str) -> bool:
    """Variation selectors: 256 invisible marks, enough to hide a byte in each."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _code(character: str) -> str:
    return f"⟦U+{ord(character):04X}⟧"


def _times(run: re.Match[str]) -> str:
    return f"{run[1]}×{len(run[0]) // len(run[1])}"


def excerpt(text: str, phrase: str, width: int) -> str:
    """About `width` characters of a text, around the first place of `phrase`, which is put into « ».

    Whole words come before parts of words; any white space, or none, may lie between the phrase's words.
    """
    spaced = r"\s*".join(re.escape(word) for word in phrase.split())
    ways = (rf"(?<!\w){spaced}(?!\w)", spaced) if spaced else ()
    found = next((m for way in ways if (m := re.search(way, text, re.IGNORECASE))), None)
    if found is None:
        return text[:width] + ("…" if len(text) > width else "")
    start, end = max(0, found.start() - width // 3), found.end()
    after = max(end, start + width)
    return ("…" if start else "") + f"{text[start : found.start()]}«{found[0]}»{text[end:after]}" + ("…" if after < len(text) else "")


def odds(p_value: float) -> str:
    """A p-value in words; NaN, and 1 where a detector has no null, is not computed."""
    if not 0 <= p_value < 1:
        return "not computed"
    if p_value == 0 or p_value < 1e-300:
        return "less than 1 in 10³⁰⁰ by chance"
    if p_value < 1e-6:
        from math import floor, log10

        return f"about 1 in 10{str(floor(-log10(p_value))).translate(RAISED)} by chance"
    return f"about 1 in {round(1 / p_value):,} by chance"
