"""What is hidden can be taken out again, and then the text is what it was before."""

import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataaudit.attacks.hidden_text import CYRILLIC, TAGS, BidiOverride, Homoglyphs, TagCharacters, ZeroWidth
from tests.attacks.texts import ARABIC, CHINESE, HEBREW, LONG_WORD, MAIL, any_text

LATIN = {cyrillic: latin for latin, cyrillic in CYRILLIC.items()}
OVERRIDDEN = re.compile("[\u202d\u202e]([^\u202c]*)\u202c")
seeds = st.integers(0, 100)


@given(any_text, seeds)
def test_the_same_text_is_always_changed_in_the_same_way(text: str, seed: int) -> None:
    for attack in (Homoglyphs(seed=seed), ZeroWidth(seed=seed), TagCharacters(seed=seed), BidiOverride(seed=seed)):
        assert attack.apply(text) == attack.apply(text)
        assert hash(attack) == hash(attack)


def test_the_place_differs_with_the_seed() -> None:
    for attack in (Homoglyphs, ZeroWidth, TagCharacters, BidiOverride):
        assert len({attack(seed=seed).apply(MAIL) for seed in range(30)}) > 5


def test_nothing_is_hidden_where_a_model_no_longer_reads() -> None:
    text = "plain words " * 500
    for attack in (Homoglyphs, ZeroWidth, TagCharacters, BidiOverride):
        assert all(attack(seed=seed, within=4).apply(text).endswith("plain words " * 498) for seed in range(20))


def test_every_homoglyph_is_a_cyrillic_letter_of_the_same_case() -> None:
    for latin, cyrillic in CYRILLIC.items():
        assert unicodedata.name(cyrillic).startswith("CYRILLIC")
        assert latin.isascii()
        assert latin.isupper() == cyrillic.isupper()


@given(any_text, seeds, st.integers(0, 5))
def test_homoglyphs_turned_back_give_the_text_back(text: str, seed: int, count: int) -> None:
    assume(not set(text) & set(LATIN))
    poisoned = Homoglyphs(count, seed).apply(text)
    assert "".join(LATIN.get(sign, sign) for sign in poisoned) == text
    assert sum(a != b for a, b in zip(text, poisoned, strict=True)) <= count


def test_as_many_letters_are_replaced_as_asked_for() -> None:
    assert sum(a != b for a, b in zip(MAIL, Homoglyphs(4).apply(MAIL), strict=True)) == 4
    assert Homoglyphs().apply("a") == "а", "the letter on the right is Cyrillic"
    assert Homoglyphs().apply(CHINESE) == CHINESE


@given(any_text, seeds, st.integers(1, 5))
def test_zero_width_removed_gives_the_text_back(text: str, seed: int, count: int) -> None:
    assume("\u200b" not in text)
    poisoned = ZeroWidth(count=count, seed=seed).apply(text)
    assert poisoned.replace("\u200b", "") == text
    assert 1 <= poisoned.count("\u200b") <= count


@pytest.mark.parametrize("text", [MAIL, CHINESE, ARABIC, HEBREW, LONG_WORD], ids=lambda text: text[:8])
def test_zero_width_characters_stand_inside_words(text: str) -> None:
    for seed in range(20):
        assert re.search(r"\w\u200b\w", ZeroWidth(seed=seed).apply(text))
    assert ZeroWidth(count=3).apply(text).count("\u200b") == 3


@given(any_text, seeds, st.text("abc XYZ.!~", min_size=1))
def test_tag_characters_spell_the_payload_and_removed_give_the_text_back(text: str, seed: int, payload: str) -> None:
    assume(not any(TAGS <= ord(sign) < TAGS + 128 for sign in text))
    poisoned = TagCharacters(payload, seed).apply(text)
    hidden = [sign for sign in poisoned if TAGS <= ord(sign) < TAGS + 128]
    assert "".join(chr(ord(sign) - TAGS) for sign in hidden) == payload
    assert "".join(sign for sign in poisoned if sign not in set(hidden)) == text


@pytest.mark.parametrize("payload", ["schön", "two\nlines"])
def test_a_payload_without_tag_characters_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII only"):
        TagCharacters(payload)


@given(any_text, seeds, st.integers(0, 3))
def test_words_turned_back_give_the_text_back(text: str, seed: int, count: int) -> None:
    assume(not re.search("[\u202c-\u202e]", text))
    poisoned = BidiOverride(count, seed).apply(text)
    assert OVERRIDDEN.sub(lambda turned: turned[1][::-1], poisoned) == text
    assert len(OVERRIDDEN.findall(poisoned)) <= count


def test_a_word_is_shown_against_the_direction_of_its_script() -> None:
    assert BidiOverride().apply("spoon") == "\u202enoops\u202c"
    assert BidiOverride().apply("שלום") == "\u202dםולש\u202c"
    assert BidiOverride().apply("12 34, ?!") == "12 34, ?!"
    assert len(OVERRIDDEN.findall(BidiOverride(count=5).apply(MAIL))) == 5


def test_an_accent_is_not_left_behind_by_its_letter() -> None:
    assert BidiOverride().apply("cafe\u0301") == "cafe\u0301"
