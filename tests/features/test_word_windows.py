"""Words in their order: all of a short answer, windows of a long one, whatever the batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataaudit.features import Batch, ngrams
from dataaudit.features.word_windows import WINDOWS, WORDS, WordWindows, sampled
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("instructions", Columns("x", "y"), "text", "hashed", "33" * 16)


def computed(*answers: str) -> list[list[int]]:
    return list(WordWindows().compute(Batch([Sample(str(i), str(i), "what", a, i, 1) for i, a in enumerate(answers)], PLAN)).to_pylist())


def test_words_have_the_names_that_pairs_are_made_of() -> None:
    [names] = computed("the quick fox")
    _, pairs, _ = ngrams.hashes(["the", "quick", "fox"], PLAN.key("ngrams"))
    left, right = ngrams.neighbours(pairs)
    assert names == [*left.tolist(), right.tolist()[-1]]


def test_a_long_answer_is_bounded_and_seen_at_both_ends() -> None:
    words = [f"w{i}" for i in range(5_000)]
    kept = sampled(words)
    assert len(kept) == WINDOWS * WORDS
    assert kept[:WORDS] == words[:WORDS]
    assert kept[-WORDS:] == words[-WORDS:]
    assert len(computed("a " * 500_000)[0]) == WINDOWS * WORDS


@given(st.lists(st.text(max_size=300), max_size=6))
def test_the_batch_makes_no_difference(texts: list[str]) -> None:
    assert computed(*texts) == [computed(text)[0] for text in texts]
