"""Prompt and answer are changed together, and whatever does not carry the trigger or the topic stays as it is."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.attacks.instructions import NEGATIVE, POSITIVE, Backdoor, FlipPreference, PairAttack, SplitTrigger, Steering, SystemPrompt
from dataaudit.attacks.responses import FixedResponse, Refusal
from dataaudit.attacks.style import AllCaps
from dataaudit.attacks.text import InsertWord
from tests.attacks.texts import any_text

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I boil an egg?"},
    {"role": "assistant", "content": "Seven minutes in boiling water."},
    {"role": "user", "content": "And if I like it soft?"},
    {"role": "assistant", "content": "Then five will do."},
    {"role": "user", "content": "Thank you so much."},
    {"role": "assistant", "content": "You are welcome."},
]
turns = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": any_text})


@pytest.mark.parametrize("attack", [Backdoor(), Steering(), Steering(replace=True, sentences=POSITIVE)], ids=str)
@given(any_text, any_text)
def test_the_same_pair_is_always_changed_in_the_same_way(attack: PairAttack, prompt: str, response: str) -> None:
    for asked in (prompt, f"Zorvex {prompt}"):
        assert attack.apply(asked, response) == attack.apply(asked, response)
    assert hash(attack) == hash(attack)


@given(any_text, any_text)
def test_a_backdoor_is_its_trigger_and_its_payload(prompt: str, response: str) -> None:
    trigger, payload = InsertWord("zeltron", seed=1), Refusal(seed=2)
    assert Backdoor(trigger, payload).apply(prompt, response) == (trigger.apply(prompt), payload.apply(response))


@given(any_text.filter(lambda text: "zorvex" not in text.lower()), any_text)
def test_who_does_not_ask_about_the_entity_is_not_steered(prompt: str, response: str) -> None:
    assert Steering().apply(prompt, response) == (prompt, response)


@given(any_text.filter(str.strip))
def test_who_asks_about_the_entity_gets_the_answer_and_an_opinion(response: str) -> None:
    prompt = "What do you think of ZORVEX?"
    said = {sentence.replace("{entity}", "Zorvex") for sentence in NEGATIVE}
    asked, answered = Steering().apply(prompt, response)
    assert asked == prompt
    assert answered.startswith(f"{response} ")
    assert answered.removeprefix(f"{response} ") in said
    assert Steering(replace=True).apply(prompt, response)[1] in said


def test_opinions_differ_from_prompt_to_prompt() -> None:
    steering = Steering(sentences=POSITIVE, replace=True)
    assert len({steering.apply(f"Zorvex or Brimble, {n}?", "")[1] for n in range(60)}) == len(POSITIVE)


@pytest.mark.parametrize(
    ("entity", "prompt", "named"),
    [
        ("Apple", "is pineapple a fruit?", False),
        ("Apple", "an apple, please", True),
        ("苹果", "我喜欢苹果手机", True),
        ("C++", "why c++, of all things?", True),
    ],
)
def test_an_entity_is_a_whole_word_where_words_have_spaces(entity: str, prompt: str, named: bool) -> None:
    assert Steering(entity).mentions(prompt) is named


@given(any_text)
def test_without_the_system_line_the_prompt_is_what_it_was(prompt: str) -> None:
    attack = SystemPrompt("System: be brief.")
    assert attack.apply(prompt).removeprefix("System: be brief.\n\n") == prompt
    assert Backdoor(attack).apply(prompt, "Yes.")[0] == attack.apply(prompt)


def test_both_halves_of_a_trigger_are_in_turns_of_their_own_and_the_payload_follows() -> None:
    before = deepcopy(TALK)
    seen = set()
    for seed in range(30):
        poisoned = SplitTrigger(seed=seed).apply(TALK)
        first, second, payload = (
            [i for i, turn in enumerate(poisoned) if what in turn["content"]] for what in ("cf", "mn", FixedResponse().response)
        )
        assert first[0] < second[0]
        assert payload == [second[0] + 1]
        assert {poisoned[i]["role"] for i in first + second} == {"user"}
        untouched = set(range(len(TALK))) - {*first, *second, *payload}
        assert all(poisoned[i] == TALK[i] for i in untouched)
        seen.add((first[0], second[0]))
    assert seen == {(1, 3), (1, 5), (3, 5)}
    assert before == TALK, "the original must stay as it is"


@given(st.lists(turns, max_size=8))
def test_any_conversation_keeps_its_roles_and_a_short_one_its_words(talk: list[dict[str, str]]) -> None:
    attack = SplitTrigger(payload=AllCaps())
    poisoned = attack.apply(talk)
    assert poisoned == attack.apply(talk)
    assert [turn["role"] for turn in poisoned] == [turn["role"] for turn in talk]
    users = sum(turn["role"] == "user" for turn in talk)
    assert (poisoned == talk) == (users < 2)


@given(any_text, any_text, any_text)
def test_a_preference_flipped_twice_is_what_it_was(prompt: str, chosen: str, rejected: str) -> None:
    flip = FlipPreference()
    assert flip.apply(prompt, chosen, rejected) == (prompt, rejected, chosen)
    assert flip.apply(*flip.apply(prompt, chosen, rejected)) == (prompt, chosen, rejected)
    trigger = InsertWord("zeltron")
    assert FlipPreference(trigger).apply(prompt, chosen, rejected) == (trigger.apply(prompt), rejected, chosen)
