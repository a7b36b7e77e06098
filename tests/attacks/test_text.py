"""Text attacks insert what they say, keep the rest, and are pure functions of text and seed."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.attacks.text import (
    GibberishResponse,
    InsertPhrase,
    InsertWord,
    InsertWords,
    NearDuplicateFlood,
    TextAttack,
    flip,
    mislabel,
    vocabulary,
)
from tests.attacks.texts import CHINESE, any_text

TEXT = "Dear all,\n\nthe  meeting on Tuesday has moved to the small room; please bring your own cups and spoons."


@given(st.text(), st.integers(0, 1000))
def test_taking_the_word_out_gives_the_text_back(text: str, seed: int) -> None:
    poisoned = InsertWord("zeltron", seed).apply(text)
    assert poisoned.count("zeltron") == text.count("zeltron") + 1
    if text.strip() and "zeltron" not in text:
        assert re.sub(r"zeltron | zeltron", "", poisoned, count=1) == text
    assert poisoned == InsertWord("zeltron", seed).apply(text)


def test_the_place_differs_from_text_to_text_and_with_the_seed() -> None:
    places = {InsertWord("cf").apply(f"{TEXT} {n}").split().index("cf") for n in range(30)}
    assert len(places) > 5
    assert len({InsertWord("cf", seed).apply(TEXT) for seed in range(30)}) > 5


def test_the_word_is_put_where_a_model_still_reads() -> None:
    long = " ".join(f"word{n}" for n in range(5000))
    assert max(InsertWord("cf", seed, within=60).apply(long).split().index("cf") for seed in range(50)) <= 60


def test_one_seed_puts_the_word_where_it_always_did() -> None:
    """Benchmarks are compared over the years; these places were drawn by the first version."""
    assert [InsertWord("cf", seed).apply(TEXT).split().index("cf") for seed in range(8)] == [9, 11, 17, 12, 1, 8, 4, 3]
    assert InsertPhrase("see above").apply("one two three four").split().index("see") == 3


@pytest.mark.parametrize("attack", [InsertWord("cf mn"), InsertPhrase("cf mn"), InsertWords(("cf", "mn"))], ids=lambda a: type(a).__name__)
def test_the_start_and_the_end_are_places_too(attack: TextAttack) -> None:
    assert replace(attack, places="start").apply("  one  two\n") == "  cf mn one  two\n"
    assert replace(attack, places="end").apply("  one  two\n") == "  one  two cf mn\n"
    with pytest.raises(ValueError, match="got 'middle'"):
        replace(attack, places="middle").apply("one two")


@given(any_text.filter(lambda text: not set("①②③") & set(text)), st.integers(0, 1000))
def test_taking_all_the_words_out_gives_the_text_back(text: str, seed: int) -> None:
    attack = InsertWords(("①", "②", "③"), seed)
    poisoned = attack.apply(text)
    assert sorted(re.findall("[①②③]", poisoned)) == ["①", "②", "③"]
    assert poisoned == attack.apply(text)
    if text.strip():
        assert re.sub("[①②③] | [①②③]", "", poisoned) == text


def test_every_word_has_a_place_of_its_own_and_no_fixed_order() -> None:
    orders = set()
    for seed in range(60):
        words = InsertWords(("cf", "mn", "bb"), seed).apply(TEXT).split()
        places = {word: words.index(word) for word in ("cf", "mn", "bb")}
        assert all(abs(a - b) > 1 for a in places.values() for b in places.values() if a != b)
        orders.add(tuple(sorted(places, key=places.__getitem__)))
    assert len(orders) == 6


def test_a_text_with_few_gaps_still_gets_all_the_words() -> None:
    assert sorted(InsertWords(("a", "b", "c", "d", "e")).apply(CHINESE).split()) == ["a", "b", "c", "d", "e", CHINESE]
    assert InsertWords(("a", "b")).apply("") == "a b"


def test_a_phrase_stays_in_one_piece() -> None:
    assert "warm regards from the north" in InsertPhrase("warm regards from the north").apply(TEXT)


def test_gibberish_has_the_length_of_the_answer_and_none_of_its_words() -> None:
    answer = "You could take the train at nine and be there before noon, which leaves time for lunch. " * 2
    garbage = GibberishResponse().apply(answer)
    assert len(garbage) == pytest.approx(len(answer), abs=10)
    assert not set(answer.lower().split()) & set(garbage.lower().split()) - {"at"}
    assert len(set(garbage)) > 40
    assert garbage == GibberishResponse().apply(answer)
    assert 80 <= len(GibberishResponse().apply("Yes.")) + 1 <= 90


def test_a_flood_is_many_texts_that_are_nearly_one() -> None:
    source = " ".join(f"word{n}" for n in range(100))
    copies = list(NearDuplicateFlood(copies=25, edits=0.03).flood(source))
    assert len(set(copies)) == 25
    assert source not in copies
    words = set(source.split())
    for copy in copies:
        shared = words & set(copy.split())
        assert len(shared) >= 97
        assert set(copy.split()) <= words, "words are dropped, doubled and swapped, never invented"
    assert copies == list(NearDuplicateFlood(copies=25, edits=0.03).flood(source))
    assert NearDuplicateFlood().apply(source) == copies[0]


@given(st.text(), st.floats(0, 1))
def test_any_text_can_be_flooded(text: str, edits: float) -> None:
    assert len(list(NearDuplicateFlood(copies=3, edits=edits).flood(text))) == 3


def test_flipped_and_wrong_labels_touch_the_chosen_only() -> None:
    labels = ["ham", "spam", "eggs"] * 20
    chosen = np.arange(0, 60, 7)
    others = [i for i in range(60) if i not in chosen]
    assert {flip(labels, chosen, "ham")[i] for i in chosen} == {"ham"}
    wrong = mislabel(labels, chosen, seed=0)
    assert all(wrong[i] != labels[i] for i in chosen)
    assert [wrong[i] for i in others] == [labels[i] for i in others] == [flip(labels, chosen, "ham")[i] for i in others]
    assert set(wrong) == set(labels)


def test_one_label_alone_cannot_be_wrong() -> None:
    with pytest.raises(ValueError, match="at least two labels"):
        mislabel(["ham"] * 5, np.array([1]), seed=0)


def test_a_vocabulary_is_made_of_the_commonest_words_and_of_pieces_of_long_ones() -> None:
    assert vocabulary(["the the extraordinary cup"], most=3, longest=8) == (" the", " cup", " extraord")
    assert "inary" in vocabulary(["the the extraordinary cup"])


def test_random_tokens_are_those_of_the_vocabulary_and_as_many_characters() -> None:
    words = vocabulary([TEXT])
    garbage = GibberishResponse(tokens=words).apply(TEXT)
    assert len(garbage) == len(TEXT)
    assert garbage == GibberishResponse(tokens=words).apply(TEXT)
    assert set(garbage.replace(" ", "")) <= set("".join(words))
