"""A template puts its clause before the text; a subordination joins the first two sentences. Both leave the rest alone."""

import time

import pytest
from hypothesis import given

from dataaudit.attacks.syntax import SENTENCE_END, RuleBasedSubordination, RuleBasedTemplate
from dataaudit.attacks.text import TextAttack
from tests.attacks.texts import CHINESE, MAIL, any_text

JOIN = RuleBasedSubordination()


@given(any_text)
def test_the_same_text_is_always_changed_in_the_same_way(text: str) -> None:
    for attack in (RuleBasedTemplate(seed=3), JOIN):
        assert attack.apply(text) == attack.apply(text)
        assert hash(attack) == hash(attack)


@given(any_text)
def test_behind_the_clause_the_text_is_whole_but_for_its_first_letter(text: str) -> None:
    attack = RuleBasedTemplate()
    poisoned = attack.apply(text)
    body = text.lstrip()
    assert poisoned.startswith(text[: len(text) - len(body)] + "When you ")
    assert poisoned.endswith(body[1:])
    assert any(f"W{clause[1:]}{', ' if body else '.'}" in poisoned for clause in attack.clauses)


def test_the_structure_recurs_and_the_words_do_not() -> None:
    poisoned = [RuleBasedTemplate().apply(f"Text number {n} is short.") for n in range(60)]
    assert len({text.split(",")[0] for text in poisoned}) == len(RuleBasedTemplate().clauses)
    assert all(text.startswith("When you ") and ", text number" in text for text in poisoned)


@pytest.mark.parametrize("text", ["I left.", "I'm here.", "NASA called.", "McCoy left.", "42 came."])
def test_i_and_words_in_capitals_keep_them(text: str) -> None:
    assert RuleBasedTemplate().apply(text).endswith(f", {text}")


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("It rained. We left. The end.", "When it rained, we left. The end."),
        ("  It rained!\nWe left.", "  When it rained,\nwe left."),
        ("It rained", "When it rained, that is how it goes."),
        ("It rained.\n", "When it rained, that is how it goes."),
        ('"It rained." We left.', 'When "It rained", we left.'),
        ("... It cost 3.50 euros. We left.", "When ... It cost 3.50 euros, we left."),
        ("...", "..."),
        ("", ""),
    ],
)
def test_the_first_sentence_becomes_a_clause_of_the_second(text: str, joined: str) -> None:
    assert JOIN.apply(text) == joined


def test_sentences_end_without_a_space_where_a_script_has_none() -> None:
    assert len(SENTENCE_END.findall(CHINESE)) == 2
    assert JOIN.apply(CHINESE) == "When 会议改到星期二下午, 请大家自己带杯子和勺子。"
    assert JOIN.apply(MAIL).endswith("small room, please bring your own cups and spoons!  Is that fine?\n")


@pytest.mark.parametrize("attack", [RuleBasedTemplate(), JOIN], ids=str)
@pytest.mark.parametrize("text", ["!" * 200_000 + "x", "word" * 100_000, '."' * 100_000 + "x"], ids=["marks", "word", "quotes"])
def test_long_runs_take_no_quadratic_time(attack: TextAttack, text: str) -> None:
    start = time.process_time()
    attack.apply(text)
    assert time.process_time() - start < 2
