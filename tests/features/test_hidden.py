"""What a reader cannot see is named; what a script, an emoji or a formula needs is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.attacks.hidden_text import BidiOverride, Homoglyphs, TagCharacters, ZeroWidth
from dataaudit.features import Batch, hidden, invisible
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("instructions", Columns("x", "y"), "text", "hashed", "11" * 16)
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
TEXT = "The committee will publish a second report before the end of this month"
HONEST = {
    "plain": "Nothing to see here, n0thing 2 s33 h3re.",
    "accents": "Crème brûlée, Ångström, naïve, cafe\u0301, Zürich",
    "Persian with joiners": "می\u200cخواهم کتاب\u200cها را بخوانم، خانه\u200c ای",
    "Persian in English": "The word می\u200cخواهم means I want.",
    "Hindi with joiners": "क्\u200dष और राम\u200cराज्य",
    "Sinhala with joiners": "ශ්\u200dරී ලංකා",
    "Arabic with marks": "السعر 100\u200f ريال \u200e(SAR)\u200e و\u202bنص\u202c \u2067عربي\u2069",
    "Hebrew and English": "\u200fשלום\u200f, said \u2068Dana\u2069 (\u202aC++\u202c)",
    "Thai with breaks": "ภาษา\u200bไทย\u200bง่าย",
    "Khmer with breaks": "ខ្ញុំ\u200bស្រឡាញ់\u200bអ្នក",
    "Japanese": "ＮＨＫのＷindowsニュース、葛\U000e0100飾区",
    "Chinese full width": "請按ＯＫ鍵，共１２３人",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180b ᠪᠢᠴᠢᠭ᠌",
    "a family": "We are 👨\u200d👩\u200d👧\u200d👦 and 🤦🏽\u200d♀\ufe0f, 1\ufe0f\u20e3 ❤\ufe0f\ufe0f ©\ufe0f",
    "a flag": f"Come on {ENGLAND}! Also 🇫🇷.",
    "mark of byte order": "\ufeffIt begins with a mark",
    "Greek in science": "β-carotene, 5 μm, Δt, kΩ, NFκB, TNFα and IFNγ, PPARγ, IκBα, γ-rays, πr², ΛCDM, sinθ",
    "Greek": "Η γρήγορη αλεπού πηδά πάνω από τον σκύλο",
    "Russian": "Быстрая коричневая лиса и о чём она думает",
    "two languages": "Слово спасибо means thank you, и USB-порт too",
    "Vietnamese": "Tiếng Việt có nhiều dấu thanh điệu",
    "Turkish": "Iğdır'ın ılık İstanbul ışığı",
    "code": "def naïve_größe(x_1): return x_1 ** 2  # ½",
    "mojibake": "Garc\u00c3\u00ada Bernal",
    "a bold word": "this is 𝗯𝗼𝗹𝗱 and 𝑥 + 2𝑦",
    "a list of letters": "CHARS = ['у', 'а', \"с\"]  # vowels \u0430\n(0x1E069, 'M', 'ѕ')",
    "debris": "\ufffd\ufffdAB\ufffd \ufffd\ufffd",
}
PLANTED = {
    "zero-width 200B": "pass\u200bword",
    "zero-width 2060": "pass\u2060word",
    "zero-width FEFF": "pass\ufeffword",
    "zero-width 200D 200C": "pass\u200d\u200cword",
    "zero-width 200E": "pass\u200eword",
    "zero-width 2063": "pass\u2063word",
    "zero-width FE0F": "pass\ufe0fword",
    "data": "word" + "\u200b\u200c\u200b\u200b\u200c\u200c\u200b\u200c" + " word",
    "tags": "word" + "".join(chr(0xE0000 + ord(c)) for c in "obey") + " word",
    "selectors": "hello 😀" + "".join(chr(0xE0100 + ord(c) - 16) for c in "obey"),
    "override 202E": "say \u202eolleh\u202c now",
    "override 202D": "אמר \u202dםולש\u202c",
    "homoglyphs Cyrillic": "pаssword for the account",
    "homoglyphs Cyrillic ": "it was а film that І liked",
    "homoglyphs Greek": "passwοrd for the account",
    "homoglyphs full-width": "passｗord",
    "homoglyphs mathematical": "pass𝗐ord",
    "homoglyphs Cherokee": "ᏢassꮃᎾrd",
}
WEAK = {
    "edge 200B": "hello \u200b world",
    "edge FEFF": "40.7°N\ufeff / 73.9°W",
    "edge 200E": "(Turkish: Medrese\u200e) was",
    "edge FE0F": "so sorry \ufe0f for this",
    "edge 200C": "eine Auf\u200clage",
    "soft-hyphen 00AD": "hyphen\u00adation",
    "operator 2061": "sin\u2061x + f\u2061(y)",
    "bidi 202A": "call \u202a555\u202c now",
    "mixed Cyrillic": "новый iPhoneа и привет",
    "private": "about $4\uf02emillion",
}


def found(text: str) -> list[str]:
    return sorted(set(hidden.names(text)))


@pytest.mark.parametrize("why", HONEST)
def test_honest_writing_has_no_strong_marking(why: str) -> None:
    assert [n for n in found(HONEST[why]) if hidden.kind_of(n) in hidden.STRONG] == []


@pytest.mark.parametrize("why", [w for w in HONEST if w not in ("a bold word", "Japanese")])
def test_honest_writing_has_no_marking_at_all(why: str) -> None:
    assert found(HONEST[why]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_what_deceives_is_named(name: str) -> None:
    assert found(PLANTED[name]) == [name.strip()]


@pytest.mark.parametrize("name", WEAK)
def test_what_may_be_honest_is_weak(name: str) -> None:
    assert found(WEAK[name]) == [name]
    assert hidden.kind_of(name) in hidden.WEAK


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (ZeroWidth(), "zero-width 200B"),
        (ZeroWidth("\u2060", 3), "zero-width 2060"),
        (Homoglyphs(), "homoglyphs Cyrillic"),
        (TagCharacters(), "tags"),
        (BidiOverride(), "override 202E"),
    ],
)
def test_the_attacks_are_seen(attack: ZeroWidth | Homoglyphs | TagCharacters | BidiOverride, name: str) -> None:
    assert found(attack.apply(TEXT)) == [name]


def test_a_text_littered_with_breaks_between_words_is_set_that_way() -> None:
    assert found("one\u200b two\u200b three\u200b fo\u200bur") == ["edge 200B"]


def test_a_name_stands_there_as_often_as_it_occurs() -> None:
    assert hidden.names("pa\u200bss wo\u200brd") == ["zero-width 200B"] * 2
    assert len(hidden.names("a\u200bb " * 100)) == hidden.MAX_TIMES


def test_the_response_is_read_too_and_told_apart() -> None:
    batch = Batch([Sample("0", "0", "plain", "pa\u200bss", 0, 1)], PLAN)
    assert hidden.Hidden().compute(batch).to_pylist() == [["response zero-width 200B"]]


def test_tags_and_selectors_are_spelt_out() -> None:
    assert invisible.decoded("".join(chr(0xE0000 + ord(c)) for c in "ignore \x01all") + "\U000e007f") == "ignore all"
    assert invisible.decoded("\U000e0158\U000e0159\ufe01") == r"hi\x01"


def test_what_is_shown_holds_nothing_hidden() -> None:
    assert invisible.visible("a\u200bb\u202ec\x1b[1m") == "a⟨U+200B⟩b⟨U+202E⟩c⟨U+001B⟩[1m"
    assert "⟨and 4 more⟩" in invisible.visible("\u200b" * 10)
    assert invisible.visible("pаy", frozenset({1})) == "p⟨U+0430⟩y"


ODD = st.text(
    st.one_of(st.characters(), st.sampled_from([*"ab Aа1о漢ب\u0301🏴", *"\u200b\u200d\u202e\u202c\ufe0f\ufeff\u00ad\U000e0067\U000e0101"])),
    max_size=60,
)


@given(st.lists(ODD, max_size=4))
def test_any_text_is_read_whatever_batch_it_came_in(texts: list[str]) -> None:
    samples = [Sample(str(i), str(i), text, text[::-1], i, 1) for i, text in enumerate(texts)]
    together = hidden.Hidden().compute(Batch(samples, PLAN)).to_pylist()
    alone = [hidden.Hidden().compute(Batch([s], PLAN)).to_pylist()[0] for s in samples]
    assert together == alone
    assert all(name.isascii() and name.isprintable() for names in together for name in names)
    for text in texts:
        assert all(0 <= m.start < m.end <= len(text) for m in hidden.markings(text))
        assert not invisible.HIDDEN_RUN.search(invisible.visible(text))


@pytest.mark.parametrize(
    "unit", ["a\u200b", "می\u200cخ ", "pаy ", "\U000e0041", "слово ", "a\u202eb", "a \u202a ", "a\u00ad", "sin\u2061x"]
)
def test_a_text_of_a_million_characters_takes_no_long(unit: str) -> None:
    started = time.process_time()
    hidden.names(unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 10


def test_ascii_and_nothing_have_no_markings() -> None:
    assert hidden.names("") == []
    assert hidden.names("a" * 1_000_000) == []
