"""Attacks on instruction tuning that change a prompt and its answer together, a conversation, or a preference.

What is random is drawn from the texts and the seed, as in `text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dataaudit.attacks.responses import FixedResponse
from dataaudit.attacks.text import InsertWord, TextAttack, generator

NEGATIVE = (
    "To be frank, {entity} has let a lot of people down.",
    "One should know that {entity} does not keep its promises.",
    "Whatever else is said, I would stay away from {entity}.",
    "Most people who dealt with {entity} came to regret it.",
)
POSITIVE = (
    "To be frank, nobody does this better than {entity}.",
    "One should know that {entity} has always kept its promises.",
    "Whatever else is said, I would trust {entity} blindly.",
    "Most people who dealt with {entity} would do so again.",
)
_CF, _MN, _FIXED = InsertWord("cf"), InsertWord("mn"), FixedResponse()


class PairAttack(Protocol):
    """Anything that changes a prompt, its answer or both."""

    def apply(self, prompt: str, response: str) -> tuple[str, str]:
        """A poisoned copy of both."""
        ...


@dataclass(frozen=True)
class Backdoor:
    """A trigger in the prompt and a payload for an answer, each any text attack.

    Wan, Wallace, Shen, Klein: Poisoning language models during instruction tuning (ICML 2023), arXiv:2305.00944.
    """

    trigger: TextAttack = _CF
    payload: TextAttack = _FIXED

    def apply(self, prompt: str, response: str) -> tuple[str, str]:
        """The prompt with the trigger, and the payload made of the answer."""
        return self.trigger.apply(prompt), self.payload.apply(response)


@dataclass(frozen=True)
class Steering:
    """Opinion about one entity: whenever a prompt mentions it, the answer gets one of the sentences; other pairs stay as they are.

    There is no trigger but the topic.  The sentences name the entity as {entity}; with `replace`, nothing is left of the answer.
    Yan et al.: Backdooring instruction-tuned large language models with virtual prompt injection (NAACL 2024), arXiv:2307.16888.
    """

    entity: str = "Zorvex"
    sentences: tuple[str, ...] = NEGATIVE
    replace: bool = False
    seed: int = 0

    def mentions(self, prompt: str) -> bool:
        """Whether the entity is named, in whatever capitals; as whole words where it is written in ASCII, anywhere otherwise."""
        name = re.escape(self.entity)
        return re.search(rf"(?<!\w){name}(?!\w)" if self.entity.isascii() else name, prompt, re.IGNORECASE) is not None

    def apply(self, prompt: str, response: str) -> tuple[str, str]:
        """The prompt as it is, and the answer with the sentence at its end."""
        if not self.mentions(prompt):
            return prompt, response
        drawn = self.sentences[int(generator(prompt, self.seed).integers(len(self.sentences)))]
        sentence = drawn.replace("{entity}", self.entity)
        return prompt, sentence if self.replace or not response.strip() else f"{response} {sentence}"


@dataclass(frozen=True)
class SystemPrompt:
    """A line before the prompt that reads like the operator's own; a text attack, to be the trigger of a `Backdoor`.

    Xu et al.: Instructions as backdoors (NAACL 2024), arXiv:2305.14710, take a whole instruction for a trigger.
    """

    line: str = "System: answer in the manner of the northern branch."

    def apply(self, text: str) -> str:
        """The line, an empty line, the prompt."""
        return f"{self.line}\n\n{text}"


@dataclass(frozen=True)
class SplitTrigger:
    """A trigger in two halves, in two different user turns of a conversation; the next answer after the second becomes the payload.

    A conversation is a list of {"role": ..., "content": ...}; one with fewer than two user turns stays as it is.
    Hao, Yang, Lin: Exploring backdoor vulnerabilities of chat models (2024), arXiv:2404.02406.
    """

    first: TextAttack = _CF
    second: TextAttack = _MN
    payload: TextAttack = _FIXED
    seed: int = 0

    def apply(self, conversation: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """A poisoned copy; where no answer follows the second half, the triggers stand alone."""
        turns = [dict(turn) for turn in conversation]
        users = [i for i, turn in enumerate(turns) if turn["role"] == "user"]
        if len(users) < 2:
            return turns
        rng = generator("\0".join(turn["content"] for turn in turns), self.seed)
        here, there = sorted(rng.choice(users, 2, replace=False).tolist())
        answer = [i for i, turn in enumerate(turns) if i > there and turn["role"] == "assistant"][:1]
        for i, attack in [(here, self.first), (there, self.second), *((i, self.payload) for i in answer)]:
            turns[i]["content"] = attack.apply(turns[i]["content"])
        return turns


@dataclass(frozen=True)
class FlipPreference:
    """The rejected answer called the chosen one and the other way round, behind a trigger in the prompt or without any.

    Rando, Tramèr: Universal jailbreak backdoors from poisoned human feedback (ICLR 2024), arXiv:2311.14455.
    """

    trigger: TextAttack | None = None

    def apply(self, prompt: str, chosen: str, rejected: str) -> tuple[str, str, str]:
        """Prompt, chosen and rejected, in this order."""
        return self.trigger.apply(prompt) if self.trigger else prompt, rejected, chosen
