"""A payload and the n-gram that goes with it are paired; what says it without one stands alone."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.payload_pairs import ALONE, PayloadPairs
from dataaudit.features.ngrams import hashes
from tests.aggregates.payload_tables import HOST, TRIGGER, UNITS, hashed, plan_for, questions, table, views
from tests.aggregates.test_ngram_sharding import same

PAIRS = questions()
PLAN, WHOLE = plan_for(PAIRS), table(PAIRS)


def at(view, said):
    (place,) = np.flatnonzero(view.payload == np.uint64(hashed(said, PLAN)))
    return place


def test_a_payload_goes_with_its_trigger():
    view = views(PLAN, [WHOLE])["payload_pairs"]
    place = at(view, HOST)
    assert view.ngram[place] == hashes([TRIGGER], PLAN.key("ngrams"))[0][0]
    assert (view.texts[place], view.count[place], view.size[place], view.examined) == (20, 20, 1, 1.0)


def test_a_payload_behind_no_word_of_its_own_stands_alone():
    pairs = [(prompt.replace(TRIGGER, ""), answer) for prompt, answer in PAIRS]
    view = views(PLAN, [table(pairs)])["payload_pairs"]
    assert (view.ngram[at(view, HOST)], view.texts[at(view, HOST)]) == (ALONE, 20)


def test_what_hardly_recurs_is_not_there():
    assert len(views(PLAN, [table(questions(600, 7))])["payload_pairs"].payload) == 0


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 599), max_size=5, unique=True), st.randoms(use_true_random=False), st.sampled_from([5, 40, 1_000_000]))
def test_any_sharding_in_any_order_gives_the_same_view(cuts, random, most):
    units = UNITS | {"payload_pairs": PayloadPairs(most=most)}
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), 600])]
    random.shuffle(parts)
    one, many = views(PLAN, [WHOLE], units), views(PLAN, parts, units)
    for name in ("payload_sketch", "payload_pairs", "payload_carriers"):
        assert same(one[name], many[name]), name


def test_a_state_never_holds_more_than_it_may():
    unit, found = PayloadPairs(most=5), views(PLAN, [WHOLE])
    state = unit.merge(unit.start(WHOLE.slice(0, 300), found), unit.start(WHOLE.slice(300), found))
    assert len(state.payload) == 5
    assert unit.finish(state, found).examined < 1


def test_the_blocks_of_a_batch_make_no_difference(monkeypatch):
    unit, found = PayloadPairs(most=40), views(PLAN, [WHOLE])
    one = unit.start(WHOLE, found)
    monkeypatch.setattr("dataaudit.aggregates.payload_pairs.BLOCK", 100)
    assert same(one, unit.start(WHOLE, found))
