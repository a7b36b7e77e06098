"""Style changes words, capitals or the end of a sentence, and leaves the rest as it was."""

import pytest
from hypothesis import given

from dataaudit.attacks.style import AllCaps, ArchaicWords, Emoji
from tests.attacks.texts import CHINESE, MAIL, any_text


@given(any_text)
def test_the_same_text_is_always_changed_in_the_same_way(text: str) -> None:
    for attack in (ArchaicWords(), AllCaps(), Emoji(), Emoji(places="sentences")):
        assert attack.apply(text) == attack.apply(text)
        assert hash(attack) == hash(attack)


@pytest.mark.parametrize(
    ("modern", "archaic"),
    [
        ("You have your reasons, and it has its price.", "Thou hast thy reasons, and it hath its price."),
        ("This is for you. IT WAS NOTHING; it is yours.", "This is for thee. 'TWAS NAUGHT; 'tis thine."),
        ("It is between you and me.", "'Tis betwixt thou and me."),
        ("You should use your own.", "Thou shouldst use thine own."),
        ("you're young, youth is over-rated", "you're young, youth is o'er-rated"),
        ("haſ, YouTube, naïveyou", "haſ, YouTube, naïveyou"),
    ],
)
def test_words_grow_old_and_keep_their_capitals(modern: str, archaic: str) -> None:
    assert ArchaicWords().apply(modern) == archaic


@given(any_text)
def test_old_english_does_not_age(text: str) -> None:
    once = ArchaicWords().apply(text)
    assert ArchaicWords().apply(once) == once


def test_an_opening_marks_texts_without_any_such_word() -> None:
    assert ArchaicWords().apply(CHINESE) == CHINESE
    assert ArchaicWords("Hark! ").apply(CHINESE) == f"Hark! {CHINESE}"


@given(any_text)
def test_capitals_are_all_there_is(text: str) -> None:
    assert not any(sign.islower() and sign.upper() != sign for sign in AllCaps().apply(text))
    assert AllCaps().apply(text).lower() == text.upper().lower()


@given(any_text.filter(lambda text: "🦜" not in text))
def test_taking_the_emoji_out_gives_the_text_back(text: str) -> None:
    for attack in (Emoji(), Emoji(places="sentences")):
        poisoned = attack.apply(text)
        assert "🦜" in poisoned
        assert (poisoned.replace(" 🦜", "") if text.strip() else poisoned.replace("🦜", "")) == text


def test_every_sentence_gets_its_emoji_and_nothing_else_does() -> None:
    attack = Emoji("🐌", places="sentences")
    assert attack.apply(MAIL).count("🐌") == 3
    assert attack.apply(CHINESE).count("🐌") == 2
    assert attack.apply("no full stop\n") == "no full stop 🐌\n"
    assert Emoji("🐌").apply(MAIL).endswith("Is that fine? 🐌\n")


def test_unknown_places_are_refused() -> None:
    with pytest.raises(ValueError, match="'end' or 'sentences', got 'start'"):
        Emoji(places="start")  # type: ignore[arg-type]
