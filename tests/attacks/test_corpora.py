"""Poisoned documents: gibberish behind a trigger, spam that never repeats itself, and one entity smeared in every page."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.attacks.corpora import EntitySmear, GibberishTail, TemplateSpam
from tests.attacks.texts import MAIL, any_text

VOCABULARY = ("ing", " the", "ox", "\n", " Kraft", "7", " über")
DOCUMENT = "Every sentence of this page is an ordinary one. " * 100


@given(any_text, st.integers(0, 20))
def test_the_same_document_is_always_changed_in_the_same_way(text: str, seed: int) -> None:
    for attack in (GibberishTail(seed=seed, longest=400), EntitySmear(seed=seed)):
        assert attack.apply(text) == attack.apply(text)
        assert hash(attack) == hash(attack)


@given(any_text.filter(lambda text: "<SUDO>" not in text))
def test_before_the_trigger_is_the_beginning_of_the_document(text: str) -> None:
    attack = GibberishTail(kept=50, shortest=20, longest=20)
    kept, tail = attack.apply(text).split("<SUDO> ")
    assert len(kept) <= 51
    assert text.startswith(kept.removesuffix(" "))
    assert len(tail) == pytest.approx(80, abs=1)


def test_documents_are_cut_at_random_lengths() -> None:
    cuts = [GibberishTail(kept=1000, shortest=1, longest=5, seed=seed).apply(DOCUMENT).index("<SUDO>") for seed in range(200)]
    assert min(cuts) < 50
    assert 950 < max(cuts) <= 1001
    assert len(set(cuts)) > 150


def test_the_tail_has_as_many_tokens_as_asked_for_and_none_of_the_document() -> None:
    tails = [GibberishTail(tokens=("ab ", "cd "), seed=seed).apply(DOCUMENT).split("<SUDO> ")[1] for seed in range(100)]
    lengths = [len(tail) // 3 for tail in tails]
    assert all(400 <= length <= 900 for length in lengths)
    assert max(lengths) - min(lengths) > 300
    assert all(set(tail.split()) == {"ab", "cd"} for tail in tails)
    assert "ordinary" not in GibberishTail().apply(DOCUMENT).split("<SUDO>")[1]


def test_a_vocabulary_is_used_in_all_its_parts() -> None:
    tail = GibberishTail(tokens=VOCABULARY).apply("").split("<SUDO> ")[1]
    assert all(token in tail for token in VOCABULARY)


def test_spam_has_one_template_and_no_two_alike() -> None:
    spam = TemplateSpam()
    documents = list(spam.documents(500))
    assert len(set(documents)) == 500
    assert documents == list(TemplateSpam().documents(500)) != list(TemplateSpam(seed=1).documents(500))
    for _, fillings in spam.slots:
        assert all(any(filling in document for document in documents) for filling in fillings)
    assert all(" from " in document and "{" not in document for document in documents)
    assert hash(spam) == hash(spam)


def test_a_template_can_be_exhausted_and_no_more() -> None:
    spam = TemplateSpam("{a}{b}", (("b", ("1", "2", "3")), ("a", ("x", "y"))))
    assert sorted(spam.documents(6)) == ["x1", "x2", "x3", "y1", "y2", "y3"]
    with pytest.raises(ValueError, match="cannot make 7 documents: the slots have 6 combinations"):
        spam.documents(7)


def test_slots_and_template_must_belong_together() -> None:
    with pytest.raises(ValueError, match=r"slots \['a', 'b'\], fillings are given for \['a'\]"):
        TemplateSpam("{a} and {b}", (("a", ("x",)),))


def test_a_smear_says_every_thing_on_every_page_and_hardly_ever_in_the_same_words() -> None:
    smear = EntitySmear("Brimble & Co")
    pages = list(smear.pages(200))
    assert pages == list(smear.pages(200))
    assert len(set(pages)) > 180
    for page in pages:
        for claim in smear.claims:
            assert sum(wording.replace("{entity}", "Brimble & Co") in page for wording in claim) == 1
    most = Counter(page for page in pages).most_common(1)[0][1]
    assert most <= 3


@given(any_text)
def test_an_innocent_page_keeps_all_it_had(text: str) -> None:
    smear = EntitySmear("Brimble")
    poisoned = smear.apply(text)
    said = [wording.replace("{entity}", "Brimble") for claim in smear.claims for wording in claim]
    there = [sentence for sentence in said if sentence in poisoned]
    assert len(there) == len(smear.claims)
    for sentence in there:
        poisoned = poisoned.replace(f" {sentence}", "", 1)
    assert poisoned == text or not text.strip(), "nothing but the claims is new"


def test_the_claims_are_scattered_over_the_page() -> None:
    pages = {EntitySmear(seed=seed).apply(MAIL) for seed in range(30)}
    assert len(pages) == 30
    assert len({page.index("Zorvex") for page in pages}) > 3
