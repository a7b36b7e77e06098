"""A word put anywhere stands beside anything; the language's own words have company."""

from __future__ import annotations

import numpy as np

from dataaudit.features import ngrams
from tests.aggregates.text_tables import corpus, insert, table, views

COMMON = ("the", "of", "and", "to", "in", "is", "that", "was", "for", "with")


def talk(seed: int, rows: int = 600) -> list[str]:
    """Texts of an article and a word, again and again, so that what stands before a word repeats."""
    rng = np.random.default_rng(seed)
    nouns = [f"noun{i}" for i in range(80)]
    return [
        " ".join(w for _ in range(12) for w in (COMMON[int(10 * rng.random() ** 2)], nouns[int(80 * rng.random())])) for _ in range(rows)
    ]


def company(texts: list[str], word: str) -> float:
    plan, whole = table([(x, "good" if i % 2 else "bad") for i, x in enumerate(texts)])
    found = views(plan, [whole])
    wanted = ngrams.hashes([word], plan.key("ngrams"))[0][0]
    at = np.searchsorted(found["ngram_pairs"].ngram, wanted)
    assert found["ngram_pairs"].ngram[at] == wanted
    return float(found["ngram_company"].company[at])


def test_a_word_put_anywhere_has_no_company() -> None:
    rng = np.random.default_rng(1)
    texts = talk(0)
    planted = [insert(rng, x, "cfx") if i < 120 and i % 2 else x for i, x in enumerate(texts)]
    assert company(planted, "cfx") < 2.75


def test_a_word_behind_the_same_article_has() -> None:
    rng = np.random.default_rng(1)
    before = ("upon", "during", "after")
    texts = [insert(rng, x, f"{before[i % 3]} curfew") if i < 120 and i % 2 else x for i, x in enumerate(talk(0))]
    assert company(texts, "curfew") > 5


def test_of_a_word_in_few_texts_nothing_is_said() -> None:
    rng = np.random.default_rng(1)
    texts = [insert(rng, x, "cfx") if i < 12 and i % 2 else x for i, x in enumerate(talk(0))]
    assert company(texts, "cfx") == np.inf


def test_only_single_words_have_company() -> None:
    plan, whole = table(corpus(0, 300))
    found = views(plan, [whole])
    longer = ngrams.order_of(found["ngram_pairs"].ngram) > 1
    assert longer.any()
    assert np.isinf(found["ngram_company"].company[longer]).all()
