"""Words drawn at random are in no order; writing, foreign writing and lists of rare names are not short of anything."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.word_order import WordOrder
from dataaudit.aggregates.word_pairs import WordPairs
from dataaudit.model import Plan
from tests.aggregates.test_ngram_sharding import same
from tests.aggregates.text_tables import corpus, disordered, table, written

HONEST = written(0, 600)
PLAN, WHOLE = table(HONEST, "text")


def views(plan: Plan, parts: list[pa.Table], unit: WordOrder | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"plan": plan}
    units: dict[str, Any] = {"word_pairs": WordPairs(), "word_order": unit or WordOrder()}
    for name, one in units.items():
        states = [one.start(part, found) for part in parts]
        state = states[0]
        for other in states[1:]:
            state = one.merge(state, other)
        found[name] = one.finish(state, found)
    return found


def unordered(pairs: list[tuple[str, str]]) -> np.ndarray:
    plan, whole = table(pairs, "text")
    found = views(plan, [whole])
    return np.asarray(found["word_order"].unordered(whole, found))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_words_of_the_data_are_in_no_order_and_writing_is(seed: int) -> None:
    rng, pairs = np.random.default_rng(seed), written(seed, 600)
    for i in range(12):
        pairs[i] = (pairs[i][0], disordered(rng, HONEST if seed == 0 else pairs[12:]))
    marked = unordered(pairs)
    assert marked[:12].all()
    assert marked[12:].sum() <= 6


def test_foreign_writing_and_names_say_nothing() -> None:
    foreign = "der schnelle braune fuchs springt gern ueber den faulen hund und laeuft dann wieder nach hause zu seinen kindern"
    names = "Maria Ostrovska, Ngozi Adeyemi, Tomas Halloran, Yuki Tanabe, Ines Calvet, Piotr Zawadzki, Leila Haddad, Sven Aker"
    assert not unordered([*HONEST, ("in german", foreign), ("who was there", names)])[-2:].any()


def test_data_that_has_no_order_lacks_none() -> None:
    assert unordered([(f"question {i}", x) for i, (x, _) in enumerate(corpus(3, 400))]).sum() <= 4


def test_random_words_in_every_second_answer_are_usual() -> None:
    rng = np.random.default_rng(1)
    half = [(x, y if i % 2 else disordered(rng, HONEST)) for i, (x, y) in enumerate(HONEST)]
    assert unordered(half).mean() <= 0.06


def test_an_empty_table_marks_nothing() -> None:
    found = views(PLAN, [WHOLE])
    assert len(found["word_order"].unordered(WHOLE.slice(0, 0), found)) == 0
    nothing = views(PLAN, [WHOLE.slice(0, 0)])
    assert nothing["word_order"].gate == WordOrder().least


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 599), max_size=5, unique=True), st.randoms(use_true_random=False), st.sampled_from([7, 100, 16_000]))
def test_any_sharding_in_any_order_gives_the_same_view(cuts: list[int], random: Any, sample: int) -> None:
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), 600])]
    random.shuffle(parts)
    one, many = views(PLAN, [WHOLE], WordOrder(sample=sample)), views(PLAN, parts, WordOrder(sample=sample))
    assert same(one["word_pairs"], many["word_pairs"])
    assert same(one["word_order"], many["word_order"])


def test_a_state_never_holds_more_than_its_sample() -> None:
    unit, found = WordOrder(sample=50), views(PLAN, [WHOLE])
    state = unit.merge(unit.start(WHOLE.slice(0, 200), found), unit.start(WHOLE.slice(200), found))
    assert len(state.rank) == len(state.size) == 50
    assert len(state.left) == state.size.sum()
