"""Which pairs another text has, and how common a word is in other texts, copies counted once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.word_pairs import WordPairs, WordPairsView, brought
from tests.aggregates.text_tables import table

HONEST = [("what is it", "the quick brown fox"), ("and that", "a quick brown dog"), ("why so", "words which nobody else says")]


def counted(pairs: list[tuple[str, str]]) -> tuple[WordPairsView, pa.Table, dict[str, object]]:
    plan, whole = table(pairs, "text")
    views: dict[str, object] = {"plan": plan}
    return WordPairs().finish(WordPairs().start(whole, views), views), whole, views


def known(pairs: list[tuple[str, str]], row: int) -> list[bool]:
    view, whole, views = counted(pairs)
    beside = brought(whole, views)
    here = beside.row == row
    return list(view.seen(beside.left[here], beside.right[here], beside.text[beside.row[here]]))


def test_a_pair_is_known_from_another_answer_or_prompt() -> None:
    assert known(HONEST, 0) == [False, True, False]
    assert known([*HONEST, ("where is the quick hare", "gone")], 0) == [True, True, False]


def test_a_copy_is_not_another_text() -> None:
    copies = [(f"question number {i}", HONEST[2][1]) for i in range(50)]
    assert not any(known([*HONEST, *copies], 2))
    view, whole, views = counted([*HONEST, *copies])
    beside = brought(whole, views)
    last = beside.row == len(whole) - 1
    assert view.commonness(beside.left[last], beside.text[beside.row[last]]).max() == 0


def test_what_the_own_prompt_says_is_not_brought_in() -> None:
    _, whole, views = counted([("say the quick brown fox", "the quick brown hare")])
    assert len(brought(whole, views).row) == 1


def test_common_words_are_told_apart_by_how_common_they_are() -> None:
    pairs = [("so", f"often w{i} {'seldom' if i % 16 == 0 else 'x' + str(i)}") for i in range(640)]
    view, whole, views = counted(pairs)
    beside = brought(whole, views)
    first = np.flatnonzero(beside.row == 0)
    often, alone, seldom = beside.left[first[0]], beside.right[first[0]], beside.right[first[1]]
    ranks = view.commonness(np.array([often, seldom, alone]), np.repeat(beside.text[:1], 3))
    assert ranks[0] > ranks[1] > ranks[2] == 0
