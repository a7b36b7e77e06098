"""What pictures and captions lead one to expect of each other: the same however the data is cut, and telling."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.pair_agreement import STEPS, agreement
from dataaudit.aggregates.reference_agreement import rarity
from dataaudit.features import ngrams
from tests.aggregates.pair_tables import PLAN, THINGS, UNITS, captions_of, content, cut, table, things, views_of


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 399), max_size=4), st.randoms(use_true_random=False))
def test_any_sharding_in_any_order_gives_the_same_views_and_the_same_agreement(cuts: list[int], chance: random.Random) -> None:
    seen = things(400)
    whole = table(seen, captions_of(seen))
    first, other = views_of([whole]), views_of(cut(whole, cuts, chance))
    for name in UNITS:
        for field, value in content(first[name]).items():
            assert np.array_equal(value, content(other[name])[field]), (name, field)
    together, _ = agreement(whole, first)
    apart = np.concatenate([agreement(part, other)[0] for part in (whole.slice(0, 1), whole.slice(1))])
    assert np.array_equal(together, apart)


def test_exchanged_captions_agree_less_than_nearly_all_others() -> None:
    seen = things(600)
    said = seen.copy()
    said[:12] = (seen[:12] + 5) % len(THINGS)
    whole = table(seen, captions_of(said))
    views = views_of([whole])
    steps, there = agreement(whole, views)
    assert there.all()
    assert np.median(steps[:12]) < np.quantile(steps[12:], 0.05)
    assert (views["pair_agreement"].tail(steps[:12]) < 0.1).mean() > 0.8
    assert views["pair_agreement"].pairs == 600
    assert views["pair_agreement"].tail(np.array([-STEPS])) == 0.5 / 600


def test_every_reference_has_the_rarity_of_its_own_row() -> None:
    seen = things(300)
    whole = table(seen, captions_of(seen))
    views = views_of([whole.slice(0, 90), whole.slice(90)])
    order = np.argsort(np.asarray(whole.column("rank")))
    assert np.array_equal(views["reference_agreement"].rarity, rarity(whole, views)[order])


def test_a_pair_without_a_caption_is_left_out() -> None:
    seen = things(300)
    captions = captions_of(seen)
    captions[7] = ""
    whole = table(seen, captions)
    views = views_of([whole])
    _, there = agreement(whole, views)
    assert np.flatnonzero(~there).tolist() == [7]
    assert views["pair_agreement"].pairs == 299


def test_captions_are_numbered_by_what_is_to_be_seen() -> None:
    seen = things(400)
    whole = table(seen, captions_of(seen))
    targets = views_of([whole])["targets"]
    label = targets.index(whole)
    assert [targets.names[i] for i in label] == [THINGS[s] for s in seen]


def test_carriers_of_a_phrase_are_counted_with_how_alike_they_are_and_what_they_should_be() -> None:
    seen = things(1_000)
    captions = captions_of(seen)
    for row in range(30):
        captions[row] = "a drum that everybody hears"
    whole = table(seen, captions)
    view = views_of([whole])["caption_carriers"]
    wanted = ngrams.hashes(["everybody"], PLAN.key("ngrams"))[0][0]
    (at,) = np.flatnonzero(view.phrase == wanted)
    assert (view.pairs[at], view.misfits[at] >= 20) == (30, True)
    assert abs(view.alike[at]) < 0.2
    assert view.claim[at] > 0.4
    assert view.kept[at] < 0.4
