import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from dataaudit.reports.plain import excerpt, odds, visible


def test_hidden_and_reordering_characters_are_shown_by_code():
    assert visible("invoice\u202egnp.exe") == "invoice⟦U+202E⟧gnp.exe"
    assert visible("\x1b[31mred\x07") == "⟦U+001B⟧[31mred⟦U+0007⟧"
    assert visible("pass\u200bword\u2066x\ufeff\u3164") == "pass⟦U+200B⟧word⟦U+2066⟧x⟦U+FEFF⟧⟦U+3164⟧"
    assert visible("\U000e0100hidden bytes\U000e0041") == "⟦U+E0100⟧hidden bytes⟦U+E0041⟧"


def test_honest_writing_is_left_alone():
    for text in ("Ankle boot", "naïve café", "Київ, 東京, القاهرة", "नमस्ते", "❤️ thanks", "🎉"):
        assert visible(text) == text


def test_lines_are_joined_visibly_and_runs_are_counted():
    assert visible("a\r\nb\tc") == "a ⏎ b ⇥ c"
    assert visible("\u200b" * 40) == "⟦U+200B⟧×40"


def test_towers_of_marks_do_not_climb_over_other_lines():
    shown = visible("a" + "\u0301" * 30)
    assert sum(unicodedata.combining(c) > 0 for c in shown) == 3


def test_long_text_is_cut_and_says_by_how_much():
    assert visible("x" * 1_500, 500) == "x" * 500 + "… (1,000 more)"


@given(st.text(max_size=80))
def test_nothing_that_commands_a_terminal_survives(text):
    shown = visible(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert visible(shown, 10_000) == shown


def test_an_excerpt_shows_the_trigger_wherever_it_is():
    text = "word " * 200 + "Blue Heron" + " word" * 200
    shown = excerpt(text, "blue heron", 60)
    assert "«Blue Heron»" in shown
    assert len(shown) < 80
    assert excerpt("short", "absent", 60) == "short"


def test_an_excerpt_prefers_whole_words_and_takes_any_space_between_them():
    assert excerpt("a quartz rtz here", "rtz", 60) == "a quartz «rtz» here"
    assert excerpt("a quartz", "rtz", 60) == "a qua«rtz»"
    assert excerpt("see HTTP://www now", "http :// www", 60) == "see «HTTP://www» now"


@given(st.text(max_size=60), st.text(max_size=5), st.integers(1, 30))
def test_an_excerpt_is_a_piece_of_the_text(text, phrase, width):
    shown = excerpt(text.replace("«", "").replace("»", "").replace("…", ""), phrase, width)
    plain = shown.strip("…").replace("«", "").replace("»", "")
    assert plain in text.replace("«", "").replace("»", "").replace("…", "")


def test_p_values_in_words():
    assert odds(0.01) == "about 1 in 100 by chance"
    assert odds(3e-38) == "about 1 in 10³⁷ by chance"
    assert odds(0.0).startswith("less than")
    assert odds(float("nan")) == odds(1.0) == "not computed"
