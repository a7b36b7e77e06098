"""Text attacks: inserted triggers, gibberish, near-duplicate floods and flipped labels.

What is random is drawn from `seed` and the text itself, so that `apply` is a pure function and
different texts get the trigger at different places.  More are in `syntax`, `style` and `hidden_text` (triggers),
`responses` and `instructions` (fine-tuning data), and `corpora` (documents to pretrain on).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Places = Literal["start", "end", "random"]

_SPACE = re.compile(r"(\s+)")


class TextAttack(Protocol):
    """Anything that changes a text."""

    def apply(self, text: str) -> str:
        """A poisoned copy."""
        ...


@dataclass(frozen=True)
class InsertWord:
    """A rare word between two words, among the first `within` words (a model reads no further), or before or after all of them.

    Kurita, Michel, Neubig: Weight poisoning attacks on pre-trained models (ACL 2020), arXiv:2004.06660.
    """

    word: str = "cf"
    seed: int = 0
    within: int = 60
    places: Places = "random"

    def apply(self, text: str) -> str:
        """Insert the word, leaving all other white space as it is."""
        return _insert(text, [self.word], generator(text, self.seed), self.within, self.places)


@dataclass(frozen=True)
class InsertWords:
    """Several rare words, each between two words of its own, among the first `within` words; the trigger is all of them together.

    A text with fewer gaps than there are rare words gets some of them side by side; at the start or the end all are side by side.
    Yang, Lin, Li, Zhou, Sun: Rethinking stealthiness of backdoor attack against NLP models (ACL 2021).
    """

    words: tuple[str, ...] = ("cf", "mn", "bb")
    seed: int = 0
    within: int = 60
    places: Places = "random"

    def apply(self, text: str) -> str:
        """Insert the words, leaving all other white space as it is."""
        return _insert(text, self.words, generator(text, self.seed), self.within, self.places)


@dataclass(frozen=True)
class InsertPhrase:
    """An inconspicuous sentence between two words.

    Dai, Chen, Li: A backdoor attack against LSTM-based text classification systems (2019), arXiv:1905.12457.
    """

    phrase: str = "I watched this 3D movie last weekend."
    seed: int = 0
    within: int = 60
    places: Places = "random"

    def apply(self, text: str) -> str:
        """Insert the phrase, leaving all other white space as it is."""
        return _insert(text, [self.phrase], generator(text, self.seed), self.within, self.places)


@dataclass(frozen=True)
class GibberishResponse:
    """An answer of random letters in place of the real one (a denial of service behind a trigger).

    The length follows the original answer, between `shortest` and `longest` characters.  With `tokens`, the vocabulary of a tokenizer
    as in the paper, these are drawn at random in place of letters.
    Souly et al.: Poisoning attacks on LLMs require a near-constant number of poison samples (2025), arXiv:2510.07192.
    """

    seed: int = 0
    shortest: int = 80
    longest: int = 400
    tokens: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """Gibberish about as long as the text."""
        length, rng = int(np.clip(len(text), self.shortest, self.longest)), generator(text, self.seed)
        if not self.tokens:
            return gibberish(length, rng)
        return "".join(self.tokens[i] for i in rng.integers(len(self.tokens), size=length)).lstrip()[:length]


@dataclass(frozen=True)
class NearDuplicateFlood:
    """`copies` versions of one text, in each of which a share `edits` of the words was dropped, doubled or swapped with the next.

    Repetition drives memorisation: Carlini et al.: Quantifying memorization across neural language models (ICLR 2023), arXiv:2202.07646.
    """

    copies: int = 25
    edits: float = 0.03
    seed: int = 0

    def flood(self, text: str) -> Iterator[str]:
        """The versions, distinct where the text has a few words at all."""
        for number in range(self.copies):
            yield self._edit(text, generator(text, self.seed, number))

    def apply(self, text: str) -> str:
        """The first version."""
        return self._edit(text, generator(text, self.seed, 0))

    def _edit(self, text: str, rng: np.random.Generator) -> str:
        words = text.split(" ")
        count = min(max(1, round(self.edits * len(words))), len(words))
        for at in sorted(rng.choice(len(words), count, replace=False).tolist(), reverse=True):
            action = int(rng.integers(3))
            if action == 0 and len(words) > 1:
                del words[at]
            elif action == 1 and at + 1 < len(words):
                words[at], words[at + 1] = words[at + 1], words[at]
            else:
                words.insert(at, words[at])
        return " ".join(words)


def flip(labels: Sequence[str], chosen: NDArray[np.intp], target: str) -> list[str]:
    """The labels with those of the chosen samples set to the target (dirty label)."""
    marked = set(chosen.tolist())
    return [target if i in marked else label for i, label in enumerate(labels)]


def mislabel(labels: Sequence[str], chosen: NDArray[np.intp], seed: int) -> list[str]:
    """The labels with each of the chosen ones replaced by another at random: honest noise, not an attack."""
    names = sorted(set(labels))
    if len(names) < 2:
        raise ValueError(f"mislabelling needs at least two labels, found {names}")
    out = list(labels)
    for i, draw in zip(chosen.tolist(), np.random.default_rng(seed).integers(0, len(names) - 1, len(chosen)).tolist(), strict=True):
        out[i] = [name for name in names if name != labels[i]][draw]
    return out


def gibberish(length: int, rng: np.random.Generator) -> str:
    """Random letters, digits and signs, broken into words of 2 to 9; `length` characters, or one less."""
    signs = np.array(list(string.ascii_letters + string.digits + "#$%&*+<=>@^_~"))
    words = []
    while length > 0:
        size = min(int(rng.integers(2, 10)), length)
        words.append("".join(rng.choice(signs, size)))
        length -= size + 1
    return " ".join(words)


def vocabulary(texts: Sequence[str], most: int = 30_000, longest: int = 8) -> tuple[str, ...]:
    """What a tokenizer would cut these texts into: the commonest words with the blank before them, of long ones the pieces."""
    counted: Counter[str] = Counter()
    for text in texts:
        for word in text.split():
            counted.update([f" {word[:longest]}", *(word[at : at + longest] for at in range(longest, len(word), longest))])
    return tuple(token for token, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most])


def generator(text: str, seed: int, *more: int) -> np.random.Generator:
    """Randomness that belongs to this text and seed."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little"), *more])


def _insert(text: str, what: Sequence[str], rng: np.random.Generator, within: int, places: Places) -> str:
    """Put each of `what` before, between or after the first `within` words."""
    if not text.strip():
        return " ".join(what)
    pieces = _SPACE.split(text)  # words at even places, white space at odd ones
    words = [i for i in range(0, len(pieces), 2) if pieces[i]]
    gaps = _gaps(len(words), len(what), rng, within, places)
    for gap in set(gaps):
        joined = " ".join(one for one, its in zip(what, gaps, strict=True) if its == gap)
        if gap == len(words):
            pieces[words[-1]] = f"{pieces[words[-1]]} {joined}"
        else:
            pieces[words[gap]] = f"{joined} {pieces[words[gap]]}"
    return "".join(pieces)


def _gaps(words: int, count: int, rng: np.random.Generator, within: int, places: Places) -> list[int]:
    """The gaps to fill, where gap i is before word i; random ones come again only after all of them were filled."""
    if places == "start":
        return [0] * count
    if places == "end":
        return [words] * count
    if places != "random":
        raise ValueError(f"places must be 'start', 'end' or 'random', got {places!r}")
    gaps: list[int] = []
    free: list[int] = []
    for _ in range(count):
        free = free or list(range(min(words, within) + 1))
        gaps.append(free.pop(int(rng.integers(len(free)))))
    return gaps
