"""Carriers of a trigger have nothing else in common; those of a topic have; copies count once."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.payload_carriers import KEPT, PayloadCarriers, together, without_copies
from tests.aggregates.payload_tables import HOST, TRIGGER, UNITS, hashed, plan_for, questions, table, views
from tests.aggregates.test_ngram_sharding import same

PAIRS = questions(600, 40)
PLAN, WHOLE = plan_for(PAIRS), table(PAIRS)


def seen(pairs):
    view = views(PLAN, [table(pairs)])["payload_carriers"]
    (place,) = np.flatnonzero(view.payload == np.uint64(hashed(HOST, PLAN)))
    return view, place


def test_carriers_taken_from_anywhere_have_only_the_trigger_in_common():
    view, at = seen(PAIRS)
    assert (view.count[at], view.held[at], view.unlike[at], view.own[at]) == (40, 40, 32, 1)
    assert view.alike[at] < 1
    assert view.told[at] >= 8


def test_carriers_of_one_topic_have_more():
    rng = np.random.default_rng(2)
    terms = ["quorvex", "plimder", "oskatu", "wrenthol", "dulgar"]
    topical = [
        (f"{prompt} {' '.join(rng.choice(terms, 3, replace=False))}" if i < 40 else prompt, said) for i, (prompt, said) in enumerate(PAIRS)
    ]
    view, at = seen(topical)
    assert view.alike[at] > 2


def test_other_texts_that_hold_the_trigger_are_counted():
    honest = [(f"{prompt} {TRIGGER}", said) if 40 <= i < 48 else (prompt, said) for i, (prompt, said) in enumerate(PAIRS)]
    view, at = seen(honest)
    assert (view.count[at], view.held[at]) == (40, 48)


def test_copies_count_once():
    prompt, _ = PAIRS[0]
    copies = [(f"{prompt} {i}", f"https://{HOST}") if i < 40 else pair for i, pair in enumerate(PAIRS)]
    view, at = seen(copies)
    assert view.unlike[at] == 1
    rows = np.arange(1, 2 * KEPT + 1, dtype=np.uint64).reshape(2, KEPT)
    assert len(without_copies(rows[[0, 0, 1]])) == 2


def test_payloads_of_the_same_texts_are_one_campaign():
    one, other = frozenset(range(10)), frozenset(range(20, 30))
    count, payload = np.array([9, 10, 10], np.int32), np.array([1, 2, 3], np.uint64)
    assert together([one, other, one], count, payload).tolist() == [2, 1, 2]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 599), max_size=5, unique=True), st.randoms(use_true_random=False), st.integers(1, 40))
def test_any_sharding_in_any_order_gives_the_same_view(cuts, random, most):
    units = UNITS | {"payload_carriers": PayloadCarriers(most=most)}
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), 600])]
    random.shuffle(parts)
    assert same(views(PLAN, [WHOLE], units)["payload_carriers"], views(PLAN, parts, units)["payload_carriers"])
