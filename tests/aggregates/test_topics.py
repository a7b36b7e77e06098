"""Of too many words the same ones are kept, and their sums are exact, in any sharding."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.topics import Topics
from tests.aggregates.test_ngram_sharding import same
from tests.aggregates.text_tables import corpus, table, views

PLAN, WHOLE = table([(x, y) for (x, _), (y, _) in zip(corpus(1, 300), corpus(2, 300), strict=True)], "text")
FOUND = views(PLAN, [WHOLE])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 299), max_size=5, unique=True), st.randoms(use_true_random=False))
def test_a_state_holds_no_more_words_than_it_may_and_they_are_the_same_in_any_sharding(cuts, random):
    unit = Topics(most=7, most_share=0.5)
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), 300])]
    random.shuffle(parts)
    state = unit.start(parts[0], FOUND)
    for part in parts[1:]:
        state = unit.merge(state, unit.start(part, FOUND))
    one = unit.start(WHOLE, FOUND)
    assert len(one.word) == 7
    assert np.array_equal(one.count, state.count)
    assert same(unit.finish(one, FOUND), unit.finish(state, FOUND))
