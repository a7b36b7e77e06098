"""Words that mix Latin letters with letters of the same look from elsewhere.

Strong: the foreign letters look Latin and the text has no words of that script, so that nobody who reads it sees them.  Weak: any
other mix inside a word, such as a Russian ending behind a Latin name, or a slip of the keyboard in a bilingual text.  No mix at
all: whole words of another script, Greek letters set off by a hyphen or of a look of their own (μm, Δt).
Look-alikes by Unicode's confusables (UTS #39), those that ordinary fonts draw alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
SCRIPTS = {
    "Cyrillic": "\u0400-\u0481\u048a-\u052f\u1c80-\u1c88\ua640-\ua66e",
    "Greek": "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u03ff\u1f00-\u1fff",
    "Armenian": "\u0531-\u0556\u0561-\u0587",
    "Cherokee": "\u13a0-\u13f5\uab70-\uabbf",
    "Coptic": "\u2c80-\u2cf3",
    "Lisu": "\ua4d0-\ua4f7",
    "full-width": "\uff21-\uff3a\uff41-\uff5a",
    "mathematical": "\U0001d400-\U0001d7cb",
    "enclosed": "\u24b6-\u24e9",
}
CYRILLIC = frozenset("асеорѕхуіјһԁԛԝӏкАВСЕНІЈКМОРЅТХУҮԌҺԚԜӀ")
GREEK = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϲϳ")
GREEK_INSIDE = frozenset("ανρικυχγ")  # signs of science too (NFκB, TNFα): they deceive only between small letters
_FOREIGN = "".join(SCRIPTS.values())
_ANY = re.compile(f"[{_FOREIGN}]")
_MARK = "\u0300-\u036f"
_TOUCH = re.compile(f"[{LATIN}][{_MARK}]?[{_FOREIGN}]|[{_FOREIGN}][{_MARK}]?[{LATIN}]")
_WORD = re.compile(f"[{LATIN}{_FOREIGN}{_MARK}0-9]")
_LETTER = re.compile(f"[{LATIN}]")
# A word of a sentence, not a letter in a list or between quotes.
_LONE = re.compile(
    rf"(?:(?<=[{LATIN},.;:!?>)] )|(?<=[(\u201c])|^)[{''.join(sorted(CYRILLIC))}]{{1,2}}(?= [{LATIN}]|[,.!?'\u2019] ?[{LATIN}])",
    re.MULTILINE,
)
_LATIN_WORD = re.compile(f"[{LATIN}]{{2}}")
_EAST = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SMALL = re.compile("[a-z]")
_LOST = "\ufffd"  # what could not be decoded: letters beside it are debris
LONGEST = 64
SCIENCE = 3
"""A word with fewer Latin letters than this may be a symbol: Δt, μm, kΩ."""


def lookalikes(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """(start, end, script, strong) of every mixed word, and of lone Cyrillic look-alikes where the rest is Latin."""
    if not _ANY.search(text):
        return
    known: dict[str, bool] = {}
    end = 0
    for touch in _TOUCH.finditer(text):
        if touch.start() < end:
            continue
        start, end = _word(text, touch.start(), touch.end())
        found = {script for sign in text[start:end] if (script := script_of(sign))}
        script = sorted(found)[0]
        if script == "Greek" and GREEK.isdisjoint(text[start:end]) and not _deceives(text[start:end], script):
            continue
        strong = len(found) == 1 and _deceives(text[start:end], script) and not _at_home(text, script, known)
        yield start, end, script, strong and _LOST not in text[max(0, start - 2) : end + 2]
    if _LONE.search(text) and _LATIN_WORD.search(text) and not _at_home(text, "Cyrillic", known):
        found_lone = (word.span() for word in _LONE.finditer(text))
        yield from ((at, to, "Cyrillic", True) for at, to in found_lone if _LOST not in text[max(0, at - 2) : to + 2])


@cache
def script_of(sign: str) -> str:
    """The name of a script that has look-alikes, "" for any other."""
    return next((name for name, ranges in SCRIPTS.items() if re.match(f"[{ranges}]", sign)), "")


def _word(text: str, start: int, end: int) -> tuple[int, int]:
    least, most = max(0, start - LONGEST), min(len(text), end + LONGEST)
    while start > least and _WORD.match(text[start - 1]):
        start -= 1
    while end < most and _WORD.match(text[end]):
        end += 1
    return start, end


def _deceives(word: str, script: str) -> bool:
    """Whether a reader takes the word for a Latin one."""
    foreign = [i for i, sign in enumerate(word) if script_of(sign)]
    latin = len(_LETTER.findall(word))
    inside = all(0 < i < len(word) - 1 and _SMALL.match(word[i - 1]) and _SMALL.match(word[i + 1]) for i in foreign)
    match script:
        case "Cyrillic":
            return all(word[i] in CYRILLIC for i in foreign)
        case "Greek":
            strict = all(word[i] in GREEK for i in foreign)
            return latin >= SCIENCE and (strict or (inside and all(word[i] in GREEK | GREEK_INSIDE for i in foreign)))
        case "mathematical" | "enclosed":
            return latin >= SCIENCE and inside
    return True


def _at_home(text: str, script: str, known: dict[str, bool]) -> bool:
    """Whether the text has words of that script, so that its letters are no surprise; worked out once a text."""
    if script not in known:
        known[script] = _has_words(text, script)
    return known[script]


def _has_words(text: str, script: str) -> bool:
    if script == "full-width":
        return _EAST.search(text) is not None
    if script in ("mathematical", "enclosed"):
        return False
    alike = {"Cyrillic": CYRILLIC, "Greek": GREEK | GREEK_INSIDE}.get(script, frozenset())
    return any(not alike.issuperset(word.group()) for word in _words_of(script).finditer(text))


@cache
def _words_of(script: str) -> re.Pattern[str]:
    ranges = SCRIPTS[script]
    return re.compile(f"(?<![{LATIN}{ranges}])[{ranges}]{{{3 if script == 'Greek' else 2},}}(?![{LATIN}{ranges}])")
