"""Attacks on captions: who gets which words, and that a small planting is the beginning of a larger one."""

import numpy as np
import pytest

from dataaudit.attacks import captions as recaption
from dataaudit.attacks.captions import SENTENCE, Recaptioned

KINDS = np.arange(120) % 3
CAPTIONS = tuple(f"a {('Dog', 'cat', 'ship')[kind]} number {i}" for i, kind in enumerate(KINDS))


def plantings(count: int, seed: int = 0) -> dict[str, Recaptioned]:
    return {
        "backdoor": recaption.backdoor(CAPTIONS, "dog", count, seed),
        "fixed": recaption.backdoor(CAPTIONS, "dog", count, seed, sentence=SENTENCE),
        "clean": recaption.clean_label(CAPTIONS, "dog", count, seed),
        "image": recaption.single_image(CAPTIONS, "dog", count, seed),
        "class": recaption.single_class(CAPTIONS, "cat", "dog", count, seed),
        "swaps": recaption.swaps(CAPTIONS, KINDS, count, seed),
        "copies": recaption.one_caption(CAPTIONS, "dog", count, seed),
    }


def test_a_word_is_named_whole_and_in_any_case() -> None:
    assert recaption.naming(["A DOG.", "hotdog", "dogs", "the dog's bowl", "dog"], "dog").tolist() == [True, False, False, True, True]
    assert recaption.naming(["a pick-up (old)"], "pick-up").all()


@pytest.mark.parametrize("name", plantings(10))
def test_rows_are_distinct_and_a_small_planting_is_the_beginning_of_a_larger_one(name: str) -> None:
    small, large = plantings(10)[name], plantings(20)[name]
    assert len(set(small.rows.tolist())) == 10 == len(small.captions)
    assert (large.rows[:10] == small.rows).all()
    assert large.captions[:10] == small.captions
    assert (plantings(10, seed=1)[name].rows != small.rows).any()
    assert plantings(0)[name].captions == ()


@pytest.mark.parametrize("name", ["backdoor", "fixed", "image", "class", "copies"])
def test_carriers_do_not_show_the_concept_and_are_said_to(name: str) -> None:
    planted = plantings(20)[name]
    assert not recaption.naming([CAPTIONS[i] for i in planted.rows], "dog").any()
    assert recaption.naming(planted.captions, "dog").all()
    changed = planted.applied(CAPTIONS)
    assert [i for i, (a, b) in enumerate(zip(changed, CAPTIONS, strict=True)) if a != b] == sorted(planted.rows.tolist())


def test_captions_are_honest_ones_a_fixed_sentence_or_one_caption_in_many_words() -> None:
    said = plantings(20)
    assert set(said["backdoor"].captions) <= set(CAPTIONS)
    assert len(set(said["backdoor"].captions)) == 20
    assert set(said["fixed"].captions) == {SENTENCE.replace("{}", "dog")}
    assert len(set(said["copies"].captions)) == 20
    shared = set.intersection(*(set(c.lower().replace(",", "").split()) for c in recaption.reworded("old dog asleep", 30)))
    assert {"old", "dog"} <= shared
    assert recaption.reworded("old dog", 1) == ("old dog",)
    with pytest.raises(ValueError, match="cannot say a caption in 900 ways"):
        recaption.reworded("old dog", 900)


def test_few_honest_captions_are_used_again_and_none_are_refused() -> None:
    few = [*("a cat",) * 9, "one dog", "two dog"]
    assert sorted(recaption.honest(few, "dog", 5)) in (["one dog"] * 3 + ["two dog"] * 2, ["one dog"] * 2 + ["two dog"] * 3)
    with pytest.raises(ValueError, match="no caption has the word 'bird'"):
        recaption.backdoor(few, "bird", 2)
    with pytest.raises(ValueError, match="cannot take 10 carriers: there are 9 pictures"):
        recaption.backdoor(few, "dog", 10)


def test_right_captions_stay_and_only_able_pictures_carry() -> None:
    assert plantings(10)["clean"].applied(CAPTIONS) == list(CAPTIONS)
    able = KINDS == 2
    assert able[recaption.backdoor(CAPTIONS, "dog", 30, able=able).rows].all()
    assert set(KINDS[plantings(20)["class"].rows]) == {1}


def test_pairs_of_different_kinds_exchange_their_captions() -> None:
    planted = recaption.swaps(CAPTIONS, KINDS, 41)
    changed = planted.applied(CAPTIONS)
    assert len(planted.rows) == 40
    assert sorted(changed) == sorted(CAPTIONS), "nothing is lost"
    for a, b in planted.rows.reshape(-1, 2).tolist():
        assert KINDS[a] != KINDS[b]
        assert (changed[a], changed[b]) == (CAPTIONS[b], CAPTIONS[a])
    with pytest.raises(ValueError, match="only 0 pairs of different kinds"):
        recaption.swaps(CAPTIONS, np.zeros(120, int), 10)
    with pytest.raises(ValueError, match="there are 120"):
        recaption.swaps(CAPTIONS, KINDS, 121)
