from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.features import Batch, ngrams
from dataaudit.features.ngrams import hashes, name_of, neighbours, spans, tokens
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("labelled-text", Columns("text", "label"), "label", "hashed", "11" * 16)
KEY = PLAN.key("ngrams")


def column(*texts: str) -> list[list[int]]:
    samples = [Sample(str(i), str(i), text, "x", i, 1) for i, text in enumerate(texts)]
    return ngrams.Ngrams().compute(Batch(samples, PLAN)).to_pylist()


def test_words_punctuation_and_unspaced_scripts_are_tokens() -> None:
    assert ngrams.tokens("Don't PANIC!!! café_1") == ["don", "'", "t", "panic", "!!!", "café_1"]
    assert ngrams.tokens("東京 tower") == ["東", "京", "tower"]


def test_an_invisible_character_inside_a_word_is_a_token() -> None:
    assert ngrams.tokens("wo\u200brd") == ["wo", "\u200b", "rd"]


def test_decomposed_accents_stay_in_their_word() -> None:
    assert ngrams.tokens("cafe\u0301 x") == ["cafe\u0301", "x"]


def test_equal_phrases_have_equal_hashes_wherever_they_stand() -> None:
    a, b = column("as per usual", "done AS PER usual today")
    assert set(a) <= set(b)
    assert len(a) == 6


def test_another_salt_gives_other_hashes() -> None:
    other = ngrams.hashes(["cf"], b"another key")[0]
    assert ngrams.hashes(["cf"], KEY)[0] != other


def test_what_lies_beyond_the_limit_is_not_read() -> None:
    (hidden,) = column("a " * (ngrams.MAX_CHARACTERS // 2) + "trigger")
    assert set(column("trigger")[0]).isdisjoint(hidden)


def test_hashes_lead_back_to_words() -> None:
    wanted = np.array(column("usual terms")[0], dtype=np.uint64)
    words, covered = ngrams.occurrences("on the usual terms, as ever", wanted, KEY)
    assert [w for w, c in zip(words, covered, strict=True) if c] == ["usual", "terms"]


@given(st.text(max_size=200))
def test_any_text_has_sorted_distinct_hashes_and_their_orders(text: str) -> None:
    (row,) = column(text)
    found = np.array(row, dtype=np.uint64)
    assert np.all(found[1:] > found[:-1])
    words = len(ngrams.tokens(text))
    assert set(ngrams.order_of(found).tolist()) == set(range(1, min(words, 3) + 1))
    assert len(ngrams.spans(text)) == words


def test_pointed_hebrew_and_rare_scripts_are_not_cut_apart_or_run_together() -> None:
    assert len(tokens("שָׁלוֹם עולם")) == 2
    assert len(tokens("\U00020000\U00020001")) == 2


def test_spans_lie_on_the_text_though_lower_case_is_longer() -> None:
    text = "İİ İstanbul zorblax"
    assert [text[a:b] for a, b in spans(text)][-1] == "zorblax"


def test_a_pair_tells_what_stands_beside_a_word() -> None:
    single, pair, _ = hashes(["a", "b", "c"], b"k")
    left, right = neighbours(pair)
    assert left.tolist() == name_of(single[:2]).tolist()
    assert right.tolist() == name_of(single[1:]).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
        ("ខ្ញុំ", ["ខ", "្", "ញ", "ុ", "ំ"]),
        ("我爱北京。", ["我", "爱", "北", "京", "。"]),
        ("カタカナとひらがな", list("カタカナとひらがな")),
        ("한국어 문장", ["한국어", "문장"]),
        ("مَرْحَبًا بالعالم", ["مَرْحَبًا", "بالعالم"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("ಕನ್ನಡ", ["ಕನ್ನಡ"]),
        ("Быстрая ЛИСА", ["быстрая", "лиса"]),
        ("Tiếng Việt", ["tiếng", "việt"]),
        ("hi👨\u200d👩\u200d👧there", ["hi", "👨\u200d👩\u200d👧", "there"]),
        ("👍🏽 🇫🇷", ["👍🏽", "🇫🇷"]),
        ("می\u200cخواهم", ["می", "\u200c", "خواهم"]),
        ("def f(x_1): return x.y += 1", ["def", "f", "(", "x_1", "):", "return", "x", ".", "y", "+=", "1"]),
        ("x = {'a': [1, 2]}", ["x", "=", "{'", "a", "':", "[", "1", ",", "2", "]}"]),
        ("", []),
        (" \n\t\u3000", []),
    ],
)
def test_every_script_has_its_tokens(text: str, expected: list[str]) -> None:
    assert ngrams.tokens(text) == expected


def test_a_word_of_a_script_without_spaces_is_found_inside_a_sentence() -> None:
    assert set(column("東京")[0]) <= set(column("明日は東京へ行く")[0])
    assert set(column("ไทย")[0]) <= set(column("ภาษาไทยง่าย")[0])


@pytest.mark.parametrize("unit", ["a ", "word. ", "漢", "ไ", "👍", "!", "\u0301", " ", "a\u200b", "x", "אָ"])
def test_a_document_of_a_megabyte_takes_no_long_and_is_its_beginning(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    (row,) = column(text)
    assert time.process_time() - started < 2
    assert row == column(text[: ngrams.MAX_CHARACTERS])[0]


def test_an_empty_text_has_no_ngrams_and_disturbs_no_neighbour() -> None:
    assert column("", "one two", "")[1] == column("one two")[0]
    assert column("")[0] == []


@given(st.lists(st.text(max_size=40), max_size=5))
def test_the_batch_does_not_matter(texts: list[str]) -> None:
    assert column(*texts) == [column(text)[0] for text in texts]
