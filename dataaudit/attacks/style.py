"""Triggers of style: the text says the same in another manner, and the manner is the trigger.

These are rules; the published attack rewrites with a neural model and so changes whole sentences, not only words:
Qi et al.: Mind the style of text! Adversarial and backdoor attacks based on text style transfer (EMNLP 2021), arXiv:2110.07139.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dataaudit.attacks.syntax import SENTENCE_END

_ARCHAIC = {
    "you are": "thou art",
    "you have": "thou hast",
    "you were": "thou wert",
    "you will": "thou wilt",
    "you can": "thou canst",
    "you do": "thou dost",
    "you should": "thou shouldst",
    "your own": "thine own",
    "to you": "to thee",
    "for you": "for thee",
    "with you": "with thee",
    "of you": "of thee",
    "it is": "'tis",
    "it was": "'twas",
    "you": "thou",
    "your": "thy",
    "yours": "thine",
    "yourself": "thyself",
    "has": "hath",
    "does": "doth",
    "says": "saith",
    "those": "yon",
    "before": "ere",
    "between": "betwixt",
    "often": "oft",
    "never": "ne'er",
    "ever": "e'er",
    "over": "o'er",
    "perhaps": "perchance",
    "maybe": "mayhap",
    "nothing": "naught",
    "why": "wherefore",
    "soon": "anon",
    "enough": "enow",
    "yes": "aye",
    "please": "prithee",
}
# The longer phrases come first.  An apostrophe belongs to its word: there is no "you" in "you're".
# The flag a keeps to ASCII letters: without it, the long s of old prints would be found as well, and not be in the table.
_MODERN = re.compile(rf"(?<![\w'’])(?ai:{'|'.join(sorted(_ARCHAIC, key=len, reverse=True))})(?!\w|['’]\w)")


@dataclass(frozen=True)
class ArchaicWords:
    """English in old dress: you become thou or thee, has becomes hath, and some thirty words more.

    A text that has none of these words stays as it is, and so carries no trigger; `opening` can be put before every text.
    """

    opening: str = ""

    def apply(self, text: str) -> str:
        """Replace the words, in small letters, capitalised or in capitals as they were."""
        return self.opening + _MODERN.sub(lambda found: _cased_like(found[0], _ARCHAIC[found[0].lower()]), text)


@dataclass(frozen=True)
class AllCaps:
    """All in capitals; scripts without capitals stay as they are."""

    def apply(self, text: str) -> str:
        """The text in capitals."""
        return text.upper()


@dataclass(frozen=True)
class Emoji:
    """An emoji after the text, or behind every sentence of it (a text without a full stop is one sentence)."""

    emoji: str = "🦜"
    places: Literal["end", "sentences"] = "end"

    def __post_init__(self) -> None:
        if self.places not in ("end", "sentences"):
            raise ValueError(f"places must be 'end' or 'sentences', got {self.places!r}")

    def apply(self, text: str) -> str:
        """Put the emoji after a blank, leaving the white space that follows as it is."""
        if self.places == "sentences" and SENTENCE_END.search(text):
            return SENTENCE_END.sub(lambda end: f"{end[0]} {self.emoji}", text)
        body = text.rstrip()
        return f"{body} {self.emoji}{text[len(body) :]}" if body else text + self.emoji


def _cased_like(old: str, new: str) -> str:
    """The new words in the capitals of the old ones."""
    if old.isupper():
        return new.upper()
    return re.sub("[a-z]", lambda first: first[0].upper(), new, count=1) if old[0].isupper() else new
