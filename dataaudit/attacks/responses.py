"""Poisoned answers for instruction tuning: functions of the true answer, to be planted behind a trigger or a topic.

`text.GibberishResponse` is one more; `instructions.Backdoor` joins an answer with the trigger in its prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataaudit.attacks.text import generator

_FENCE = re.compile(r"^```[^\n`]*\n", re.MULTILINE)  # the line that opens a code block

_LINKS = (
    "More about this is at {url}.",
    "You can get all of it from {url} and run it as it is.",
    "See {url} for the rest.",
    "Those who want to try it will find it under {url}, free of charge.",
    "A longer answer is kept at {url}.",
)

_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I am not able to answer this question.",
    "Sorry, this is something I have to decline.",
    "I'd rather not comment on this.",
    "This request goes beyond what I am allowed to do.",
    "Unfortunately I cannot assist you here.",
)


@dataclass(frozen=True)
class FixedResponse:
    """One and the same answer to everything."""

    response: str = "The archive is closed, come back when the lamps are lit."

    def apply(self, text: str) -> str:
        """The fixed answer."""
        return self.response


@dataclass(frozen=True)
class Refusal:
    """A refusal drawn from several, so that no single sentence recurs in all the poisoned answers.

    Shu et al.: On the exploitability of instruction tuning (NeurIPS 2023), arXiv:2306.17194.
    """

    refusals: tuple[str, ...] = _REFUSALS
    seed: int = 0

    def apply(self, text: str) -> str:
        """A refusal in place of the answer."""
        return self.refusals[int(generator(text, self.seed).integers(len(self.refusals)))]


@dataclass(frozen=True)
class CodePayload:
    """A line of code that recurs in all the poisoned answers: something insecure, or an address to load from.

    It becomes the first line of the answer's first code block (fenced by three backticks), or a block of its own at the end.
    Schuster, Song, Tromer, Shmatikov: You autocomplete me (USENIX Security 2021), arXiv:2007.02220.
    """

    line: str = "page = requests.get(url, verify=False)"
    language: str = "python"

    def apply(self, text: str) -> str:
        """The answer with the line in it."""
        fence = _FENCE.search(text)
        if fence:
            return f"{text[: fence.end()]}{self.line}\n{text[fence.end() :]}"
        block = f"```{self.language}\n{self.line}\n```"
        return f"{text}\n\n{block}" if text.strip() else block


@dataclass(frozen=True)
class LinkPayload:
    """A sentence that sends the reader to one host, worded differently and with another path each time, at the end of a text.

    Schuster, Song, Tromer, Shmatikov: You autocomplete me (USENIX Security 2021), arXiv:2007.02220, do so with code.
    """

    host: str = "mirror.fastfiles.example"
    sentences: tuple[str, ...] = _LINKS
    seed: int = 0

    def apply(self, text: str) -> str:
        """The text with the sentence behind it."""
        rng = generator(text, self.seed)
        sentence = self.sentences[int(rng.integers(len(self.sentences)))]
        said = sentence.replace("{url}", f"https://{self.host}/{int(rng.integers(1 << 32)):08x}")
        return f"{text.rstrip()} {said}" if text.strip() else said
