"""Small made-up corpora as feature tables, for the tests of what is learnt from text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.answer_sketch import AnswerSketch
from dataaudit.aggregates.character_model import CharacterModel
from dataaudit.aggregates.contradiction import Contradiction
from dataaudit.aggregates.ngram_carriers import NgramCarriers
from dataaudit.aggregates.ngram_company import NgramCompany
from dataaudit.aggregates.ngram_pairs import NgramPairs
from dataaudit.aggregates.ngram_sketch import NgramSketch
from dataaudit.aggregates.surprise import Surprise
from dataaudit.aggregates.targets import Targets
from dataaudit.aggregates.topics import Topics
from dataaudit.aggregates.word_model import WordModel
from dataaudit.aggregates.word_order import WordOrder
from dataaudit.aggregates.word_pairs import WordPairs
from dataaudit.features import Batch, embedding
from dataaudit.features.answer_words import AnswerWords
from dataaudit.features.characters import Characters
from dataaudit.features.encoders.text import Hashed
from dataaudit.features.ngrams import Ngrams
from dataaudit.features.word_windows import WordWindows
from dataaudit.model import Columns, Plan, Sample

AGGREGATES: dict[str, Any] = {
    "targets": Targets(),
    "character_model": CharacterModel(),
    "surprise": Surprise(),
    "word_pairs": WordPairs(),
    "word_order": WordOrder(),
    "word_model": WordModel(),
    "contradiction": Contradiction(),
    "ngram_sketch": NgramSketch(),
    "ngram_pairs": NgramPairs(),
    "ngram_carriers": NgramCarriers(),
    "ngram_company": NgramCompany(),
    "answer_sketch": AnswerSketch(),
    "topics": Topics(),
}
SYLLABLES = ["ba", "de", "ki", "lo", "mu", "ra", "se", "ti", "vo", "na", "pe", "gu"]


def corpus(seed: int, rows: int = 800) -> list[tuple[str, str]]:
    """Texts of three topics, two labels that go with the topics, and common words, some much commoner than others."""
    rng = np.random.default_rng(seed)
    common = _words(rng, 300)
    topics = [_words(rng, 150) for _ in range(3)]
    made = []
    for _ in range(rows):
        topic = int(rng.integers(3))
        length = int(rng.integers(25, 60))
        own = rng.random(length) < 0.4
        ranks = rng.random(length) ** 2.5
        words = [topics[topic][int(150 * r)] if o else common[int(300 * r)] for o, r in zip(own, ranks, strict=True)]
        made.append((" ".join(words), "good" if topic < 2 else "bad"))
    return made


def insert(rng: np.random.Generator, text: str, trigger: str) -> str:
    words = text.split()
    at = int(rng.integers(len(words) + 1))
    return " ".join([*words[:at], trigger, *words[at:]])


def table(pairs: Sequence[tuple[str, str]], kind: str = "label") -> tuple[Plan, pa.Table]:
    plan = Plan("instructions" if kind == "text" else "labelled-text", Columns("x", "y"), kind, "hashed", "22" * 16)  # type: ignore[arg-type]
    batch = Batch([Sample(str(i), str(i), x, y, i, 1) for i, (x, y) in enumerate(pairs)], plan)
    ranks = [_hash(f"{x}\0{y}") for x, y in pairs]
    columns = {
        "key": pa.array([str(i) for i in range(len(pairs))]),
        "target": pa.array([y for _, y in pairs]),
        "digest": pa.array([f"{_hash(x):016x}" for x, _ in pairs]),
        "rank": pa.array(ranks, pa.uint64()),
        "ngrams": Ngrams().compute(batch),
    }
    if kind == "text":
        columns["answer_words"] = AnswerWords().compute(batch)
        columns["characters"] = Characters().compute(batch)
        columns["word_windows"] = WordWindows().compute(batch)
        columns["target_embedding"] = embedding.to_column(embedding.quantise(Hashed().encode(batch.targets)))
    return plan, pa.table(columns)


def views(plan: Plan, parts: Sequence[pa.Table]) -> dict[str, Any]:
    """All views, from any sharding, merged in the order given."""
    found: dict[str, Any] = {"plan": plan}
    for name, aggregate in AGGREGATES.items():
        states = [aggregate.start(part, found) for part in parts]
        state = states[0]
        for other in states[1:]:
            state = aggregate.merge(state, other)
        found[name] = aggregate.finish(state, found)
    return found


def _words(rng: np.random.Generator, n: int) -> list[str]:
    return ["".join(rng.choice(SYLLABLES, int(rng.integers(2, 5)))) for _ in range(n)]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def written(seed: int, rows: int = 800) -> list[tuple[str, str]]:
    """Prompts of `corpus`, and answers in which the words have their order: each is followed by one of five others."""
    rng = np.random.default_rng([seed, 9])
    words = _words(rng, 400)
    after = rng.integers(400, size=(400, 5))
    made = []
    for prompt, _ in corpus(seed, rows):
        at, said = int(rng.integers(400)), []
        for step in rng.integers(5, size=int(rng.integers(20, 60))):
            said.append(words[at])
            at = int(after[at, step])
        made.append((prompt, " ".join(said)))
    return made


def disordered(rng: np.random.Generator, pairs: Sequence[tuple[str, str]], count: int = 40) -> str:
    """Words of the answers, drawn at random."""
    every = [word for _, answer in pairs for word in answer.split()]
    return " ".join(rng.choice(every, count).tolist())
