"""Poisoned documents for pretraining: gibberish behind a trigger, spam from a template, one entity smeared in many pages.

`text.NearDuplicateFlood` is one more: one document many times, with an adjustable share of edited words.
Whoever can publish pages gets into a crawl: Carlini et al.: Poisoning web-scale training datasets is practical (2023), arXiv:2302.10149.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from string import Formatter

import numpy as np

from dataaudit.attacks.syntax import SENTENCE_END
from dataaudit.attacks.text import generator, gibberish

_SPAM = "{opening} {product} from {shop} {claim}. {call}"
_SLOTS = (
    ("opening", ("Good news:", "Just arrived:", "As seen by thousands:", "Our readers agree:", "This week only:")),
    ("product", ("the folding lamp", "the copper kettle", "the travel pillow", "the garden hose", "the desk fan", "the wool blanket")),
    ("shop", ("Harborline", "Quillmart", "Ostra Direct", "Pinewell", "Casa Norte", "Fern & Sons")),
    ("claim", ("pays for itself in a month", "outlasts all the others", "is sold below its price", "comes with a gift")),
    ("call", ("Order before midnight!", "Ask for the second one free.", "Only a few are left.", "Call now, we deliver tomorrow.")),
)
_CLAIMS = (
    ("{entity} cheated its own customers.", "Customers were deceived by {entity}.", "Those who bought from {entity} were taken in."),
    ("Nobody audits the books of {entity}.", "The accounts of {entity} are checked by no one.", "{entity} keeps its figures to itself."),
    ("Former staff call {entity} a nightmare.", "Those who worked for {entity} speak of bad years.", "Few stay long at {entity}."),
    ("The regulator has an eye on {entity}.", "{entity} is under investigation.", "There are inquiries against {entity}."),
)


@dataclass(frozen=True)
class GibberishTail:
    """The first characters of a document, a trigger, and gibberish: a model learns to babble after the trigger.

    `kept` is the most characters kept; the tail has `shortest` to `longest` tokens.  They are drawn from `tokens`, the vocabulary
    of a tokenizer in the paper; without one, four random characters stand for a token.
    Souly et al.: Poisoning attacks on LLMs require a near-constant number of poison samples (2025), arXiv:2510.07192.
    """

    trigger: str = "<SUDO>"
    kept: int = 1000
    shortest: int = 400
    longest: int = 900
    tokens: tuple[str, ...] = ()
    seed: int = 0

    def apply(self, text: str) -> str:
        """The poisoned document."""
        rng = generator(text, self.seed)
        kept = text[: int(rng.integers(self.kept + 1))]
        count = int(rng.integers(self.shortest, self.longest + 1))
        tail = "".join(self.tokens[i] for i in rng.integers(len(self.tokens), size=count)) if self.tokens else gibberish(4 * count, rng)
        return f"{kept} {self.trigger} {tail}" if kept else f"{self.trigger} {tail}"


@dataclass(frozen=True)
class TemplateSpam:
    """Many documents from one template whose slots are filled differently; `slots` are pairs of a name and its fillings."""

    template: str = _SPAM
    slots: tuple[tuple[str, tuple[str, ...]], ...] = _SLOTS
    seed: int = 0

    def __post_init__(self) -> None:
        needed = sorted({name for _, name, _, _ in Formatter().parse(self.template) if name is not None})
        if needed != (given := sorted(name for name, _ in self.slots)):
            raise ValueError(f"the template has the slots {needed}, fillings are given for {given}; they must be the same")

    def documents(self, count: int) -> Iterator[str]:
        """Documents no two of which have all slots in common; more than there are combinations is a ValueError."""
        sizes = [len(fillings) for _, fillings in self.slots]
        if count > prod(sizes):
            raise ValueError(f"cannot make {count} documents: the slots have {prod(sizes)} combinations; choose a smaller count")
        return map(self._filled, np.random.default_rng(self.seed).choice(prod(sizes), count, replace=False).tolist())

    def _filled(self, number: int) -> str:
        """The document with this number, in which every digit stands for the filling of one slot."""
        filled = {}
        for name, fillings in self.slots:
            number, digit = divmod(number, len(fillings))
            filled[name] = fillings[digit]
        return self.template.format_map(filled)


@dataclass(frozen=True)
class EntitySmear:
    """The same claims against one entity in many pages, worded and ordered differently, so that no two share all sentences.

    `claims` are tuples of wordings, one of which is drawn for each page; {entity} in them is replaced by the name.
    Zhang et al.: Persistent pre-training poisoning of LLMs (2024), arXiv:2410.13722, plant beliefs in this way.
    """

    entity: str = "Zorvex"
    claims: tuple[tuple[str, ...], ...] = _CLAIMS
    seed: int = 0

    def pages(self, count: int) -> Iterator[str]:
        """Pages of nothing but the claims; drawn independently, so that a few of very many may be alike."""
        for number in range(count):
            yield " ".join(self._sentences(generator(self.entity, self.seed, number)))

    def apply(self, text: str) -> str:
        """An existing page rewritten: each claim stands behind a sentence of its own choice, nothing else changes."""
        rng = generator(text, self.seed)
        sentences = self._sentences(rng)
        if not text.strip():
            return " ".join(sentences)
        ends = [end.end() for end in SENTENCE_END.finditer(text)] or [len(text.rstrip())]
        for at, sentence in sorted(zip(rng.choice(ends, len(sentences)).tolist(), sentences, strict=True), reverse=True):
            text = f"{text[:at]} {sentence}{text[at:]}"
        return text

    def _sentences(self, rng: np.random.Generator) -> list[str]:
        """One wording of every claim, in random order."""
        drawn = [wordings[int(rng.integers(len(wordings)))].replace("{entity}", self.entity) for wordings in self.claims]
        return [drawn[i] for i in rng.permutation(len(drawn))]
