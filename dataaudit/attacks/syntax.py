"""Triggers made of sentence structure: the words differ from text to text, the structure is always the same.

Both are rules on letters and punctuation, made for English; they parse nothing.  The published attack paraphrases with a
neural model, so that its texts read better and keep fewer of their own words:
Qi et al.: Hidden Killer - invisible textual backdoor attacks with syntactic trigger (ACL 2021), arXiv:2105.12400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataaudit.attacks.text import generator

# Latin marks end a sentence before white space only (3.5 does not); the look-behind keeps long runs of marks linear.
SENTENCE_END = re.compile(r"""(?<![.!?…])[.!?…]++(?P<closing>["'”’)\]]*+)(?=\s|\Z)|[。！？؟।]++""")

_CLAUSES = (
    "when you come to think of it",
    "when you look at it twice",
    "when you have slept on it",
    "when you ask around a little",
    "when you take it all together",
    "when you leave the details aside",
    "when you see it from outside",
    "when you know where to look",
)


@dataclass(frozen=True)
class RuleBasedTemplate:
    """A clause "when you ..., " in front of the text, drawn from `clauses`, which share their structure and not their words."""

    clauses: tuple[str, ...] = _CLAUSES
    seed: int = 0

    def apply(self, text: str) -> str:
        """The clause, a comma and the text, whose first letter becomes small."""
        lead, body = _split_lead(text)
        clause = _capitalised(self.clauses[int(generator(text, self.seed).integers(len(self.clauses)))])
        return f"{lead}{clause}, {_lowered(body)}" if body else f"{lead}{clause}."


@dataclass(frozen=True)
class RuleBasedSubordination:
    """The first sentence as a subordinate clause of the second: "It rained. We left." becomes "When it rained, we left."

    A text of one sentence gets `main` as the second one, and a text without words stays as it is.
    Abbreviations are not known: "Dr. Smith left" is taken for two sentences.
    """

    conjunction: str = "when"
    main: str = "that is how it goes."

    def apply(self, text: str) -> str:
        """Join the first two sentences and leave all that follows as it is."""
        lead, body = _split_lead(text)
        word = re.search(r"[^\W_]", body)
        if not word:
            return text
        end = SENTENCE_END.search(body, word.start())
        first, closing = (body[: end.start()], end["closing"] or "") if end else (body.rstrip(), "")
        space, rest = _split_lead(body[end.end() :] if end else "")
        space, rest = (space or " ", rest) if rest else (" ", self.main)
        return f"{lead}{_capitalised(self.conjunction)} {_lowered(first)}{closing},{space}{_lowered(rest)}"


def _split_lead(text: str) -> tuple[str, str]:
    """The white space that the text begins with, and the rest."""
    body = text.lstrip()
    return text[: len(text) - len(body)], body


def _lowered(sentence: str) -> str:
    """The sentence with a small first letter, unless it begins with I or a word in capitals; names are not known."""
    word = re.split(r"[\W_]", sentence, maxsplit=1)[0]
    if word == "I" or word[1:] != word[1:].lower():
        return sentence
    return sentence[:1].lower() + sentence[1:]


def _capitalised(clause: str) -> str:
    """The clause with a capital first letter."""
    return clause[:1].upper() + clause[1:]
