"""Where a text turns into something else, how far that is beyond the usual, and that no sharding changes it."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.change_points import ChangePoints, runs, surprise
from dataaudit.aggregates.character_model import CharacterModel
from dataaudit.attacks.text import gibberish
from dataaudit.features.windows import CHARACTERS, PAIRS, WINDOWS
from tests.aggregates.payload_tables import plan_for, table
from tests.aggregates.payload_tables import views as fitted
from tests.aggregates.test_ngram_sharding import same
from tests.aggregates.text_tables import corpus

UNITS = {"character_model": CharacterModel(), "change_points": ChangePoints()}
TEXTS = [text for text, _ in corpus(3, 300)]
PLAN = plan_for([("", None)])


def tabled(texts: list[str]) -> pa.Table:
    return table([(text, None) for text in texts])


def views(parts: list[pa.Table], unit: ChangePoints | None = None):
    return fitted(PLAN, parts, UNITS | {"change_points": unit or ChangePoints()})


WHOLE = tabled(TEXTS)


@pytest.mark.parametrize("before", [0, 64, 160])
def test_the_run_is_where_the_gibberish_is(before):
    odd = TEXTS[0][:before] + gibberish(320, np.random.default_rng(1))
    whole = tabled([*TEXTS, odd])
    view = views([whole])["change_points"]
    found = view.runs(whole)
    assert found.excess[-1] > view.gate > found.excess[:-1].max()
    assert abs(int(found.start[-1]) - before // CHARACTERS) <= 1
    assert found.end[-1] - found.start[-1] >= 320 // CHARACTERS - 1


def test_the_gate_is_so_many_times_the_usual_and_never_below_the_least():
    view = views([WHOLE], ChangePoints(beyond=10.0, least=0.0))["change_points"]
    assert view.gate == pytest.approx(10 * np.quantile(view.runs(WHOLE).excess, 0.9))
    assert views([WHOLE], ChangePoints(beyond=0.0, least=1.5))["change_points"].gate == 1.5


def test_gibberish_in_every_second_text_is_usual():
    rng = np.random.default_rng(2)
    half = [text if i % 2 else gibberish(300, rng) for i, text in enumerate(TEXTS)]
    whole = tabled(half)
    view = views([whole])["change_points"]
    assert view.runs(whole).excess.max() < view.gate


def test_what_repeats_at_once_is_no_surprise():
    view = views([WHOLE])
    whole = tabled(["#" * 512, "#%^&" * 128])
    bits, size = surprise(whole, view["character_model"].bits)
    assert bits.shape == size.shape == (2, WINDOWS)
    assert size.max() == PAIRS
    assert bits[0].max() < bits[1].max()


def test_windows_of_less_than_half_count_for_nothing():
    bits = np.full((1, WINDOWS), 9.0)
    size = np.r_[[PAIRS // 2 - 1], np.zeros(WINDOWS - 1, int)][None]
    assert runs(bits, size, 2.0, 4.0).excess[0] == 0


def test_no_texts_have_no_gate_but_the_least():
    empty = WHOLE.slice(0, 0)
    view = views([empty])["change_points"]
    assert (view.gate, view.centre) == (ChangePoints().least, 0.0)
    assert len(view.runs(empty).excess) == 0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 299), max_size=5, unique=True), st.randoms(use_true_random=False), st.sampled_from([7, 100, 20_000]))
def test_any_sharding_in_any_order_gives_the_same_view(cuts, random, sample):
    parts = [WHOLE.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(cuts), 300])]
    random.shuffle(parts)
    unit = ChangePoints(sample=sample)
    assert same(views([WHOLE], unit)["change_points"], views(parts, unit)["change_points"])


def test_a_state_never_holds_more_than_its_sample():
    unit, found = ChangePoints(sample=50), views([WHOLE])
    state = unit.merge(unit.start(WHOLE.slice(0, 200), found), unit.start(WHOLE.slice(200), found))
    assert len(state.rank) == len(state.bits) == len(state.size) == 50
    assert np.array_equal(state.rank, np.sort(np.asarray(WHOLE.column("rank")))[:50])
