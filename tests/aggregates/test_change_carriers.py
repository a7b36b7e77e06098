"""What texts that turn into something else share, whether that is a language, and that no sharding changes it."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.change_carriers import ChangeCarriers
from dataaudit.aggregates.change_points import ChangePoints
from dataaudit.aggregates.character_model import CharacterModel
from dataaudit.aggregates.ngram_sketch import NgramSketch
from dataaudit.aggregates.surprise import Surprise
from dataaudit.aggregates.targets import Targets
from dataaudit.aggregates.word_order import WordOrder
from dataaudit.aggregates.word_pairs import WordPairs
from dataaudit.attacks.corpora import GibberishTail
from dataaudit.features.ngrams import hashes
from tests.aggregates.payload_tables import plan_for, table
from tests.aggregates.payload_tables import views as fitted
from tests.aggregates.test_ngram_sharding import same
from tests.aggregates.text_tables import corpus

TRIGGER, ROWS, CARRIERS = "zorblaxen", 400, 20
UNITS = {
    "targets": Targets(),
    "character_model": CharacterModel(),
    "surprise": Surprise(),
    "word_pairs": WordPairs(),
    "word_order": WordOrder(),
    "ngram_sketch": NgramSketch(),
    "change_points": ChangePoints(),
}
TEXTS = [text for text, _ in corpus(3, ROWS)]
TAILED = [GibberishTail(TRIGGER, kept=200).apply(text) if i < CARRIERS else text for i, text in enumerate(TEXTS)]
PLAN = plan_for([("", None)])


def tabled(texts: list[str]) -> pa.Table:
    return table([(text, None) for text in texts])


def views(parts: list[pa.Table], unit: ChangeCarriers | None = None):
    return fitted(PLAN, parts, UNITS | {"change_carriers": unit or ChangeCarriers()})


def seen(texts: list[str], unit: ChangeCarriers | None = None):
    return views([tabled(texts)], unit)["change_carriers"]


WHOLE = tabled(TAILED)


def test_carriers_share_the_trigger_and_hardly_any_other_text_holds_it():
    view = seen(TAILED)
    word = hashes([TRIGGER], PLAN.key("ngrams"))[0][0]
    assert (view.texts, view.distinct) == (CARRIERS, CARRIERS)
    assert word in view.ngram
    assert view.held[np.flatnonzero(view.ngram == word)] == 1.0
    assert np.array_equal(view.ngram, np.sort(view.ngram))


def test_a_word_that_other_texts_hold_too_is_not_shared():
    word = hashes([TRIGGER], PLAN.key("ngrams"))[0][0]
    said = [f"{text} {TRIGGER}" if i >= ROWS - CARRIERS else text for i, text in enumerate(TAILED)]
    assert word not in seen(said).ngram


def test_gibberish_stays_a_surprise_and_a_strange_language_does_not():
    rng = np.random.default_rng(1)
    strange = ["się", "że", "także", "który", "przez", "może", "łódź", "książka", "więc", "źle", "człowiek"]
    foreign = [f"{TRIGGER} {' '.join(rng.choice(strange, 90))}" if i < CARRIERS else text for i, text in enumerate(TEXTS)]
    one, other = seen(TAILED), seen(foreign)
    assert other.texts == CARRIERS
    assert one.entropy > 4.8 > other.entropy
    assert one.blanks > 0.03


def test_copies_count_as_one():
    said = [*TEXTS, *[TAILED[0]] * 9]
    view = seen(said)
    assert (view.texts, view.distinct, len(view.ngram)) == (9, 1, 0)


def test_clean_texts_have_no_carriers():
    view = seen(TEXTS)
    assert (view.texts, view.distinct, view.entropy, view.blanks, len(view.ngram)) == (0, 0, 0.0, 0.0, 0)


def test_a_state_is_bounded_in_texts_and_in_what_each_brings():
    unit = ChangeCarriers(most=5, most_grams=30)
    found = views([WHOLE])
    state = unit.merge(unit.start(WHOLE.slice(0, 10), found), unit.start(WHOLE.slice(10), found))
    assert state.texts == CARRIERS
    assert state.sizes.shape == (5, 2)
    assert state.sizes[:, 1].max() <= 30
    assert (len(state.codes), len(state.grams)) == tuple(state.sizes.sum(0))
    assert np.array_equal(state.rank, np.sort(np.asarray(WHOLE.column("rank"))[:CARRIERS])[:5])


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, ROWS - 1), max_size=6, unique=True), st.randoms(use_true_random=False), st.integers(1, 30))
def test_any_sharding_in_any_order_gives_the_same_view(cuts, random, most):
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), ROWS])]
    random.shuffle(parts)
    unit = ChangeCarriers(most=most)
    assert same(views([WHOLE], unit)["change_carriers"], views(parts, unit)["change_carriers"])
