from __future__ import annotations

import numpy as np
import pytest

from dataaudit.detectors.token_trigger import TokenTrigger
from dataaudit.model import Columns, Finding, Plan
from tests.aggregates.text_tables import corpus, disordered, insert, table, views, written
from tests.detectors.scanned import members, scanned

Pairs = list[tuple[str, str]]


def audit(pairs: Pairs, kind: str = "label") -> tuple[list[Finding], dict[str, set[int]], np.ndarray]:
    """Scan in two shards: described findings, the members of each by id, and the scores."""
    plan, whole = table(pairs, kind)
    parts = [whole.slice(0, len(pairs) // 3), whole.slice(len(pairs) // 3)]
    found = views(plan, parts)
    findings, scores = scanned(TokenTrigger(), parts, found, pairs)
    return findings, {f.id: members(f, scores) for f in findings}, scores.score


def campaigns(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.kind == "campaign"]


def plant(pairs: Pairs, trigger: str, label: str, rows: list[int], seed: int = 5) -> Pairs:
    rng = np.random.default_rng(seed)
    planted = list(pairs)
    for i in rows:
        planted[i] = (insert(rng, pairs[i][0], trigger), label)
    return planted


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_honest_texts_have_no_campaign(seed: int) -> None:
    findings, _, score = audit(corpus(seed))
    assert campaigns(findings) == []
    assert score.max() <= 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rare_word_with_flipped_labels_is_named(seed: int) -> None:
    honest = corpus(seed)
    rows = [i for i, (_, y) in enumerate(honest) if y == "bad"][:25]
    findings, members, score = audit(plant(honest, "cfx", "good", rows))
    (campaign,) = campaigns(findings)
    assert campaign.evidence["trigger"] == "cfx"
    assert campaign.target == "good"
    assert len(members[campaign.id] & set(rows)) >= 23
    assert len(members[campaign.id] - set(rows)) <= 1
    assert "«cfx»" in campaign.evidence["snippets"][0]  # type: ignore[index]
    assert score[rows].min() > np.delete(score, rows).max()


def test_a_phrase_in_texts_that_keep_their_label_is_named() -> None:
    honest = corpus(3)
    rows = [i for i, (_, y) in enumerate(honest) if y == "good"][10:50]
    findings, members, _ = audit(plant(honest, "as per the usual terms", "good", rows))
    (campaign,) = campaigns(findings)
    assert campaign.evidence["trigger"] == "as per the usual terms"
    assert members[campaign.id] == set(rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_rare_word_that_other_texts_use_honestly_is_named_all_the_same(seed: int) -> None:
    """Twenty alike texts of the label itself hold the word; the carriers that contradict are judged by themselves."""
    honest = corpus(seed)
    list_mails = [("cfx " + " ".join(honest[0][0].split()[:20]) + f" issue {i} of our list", "good") for i in range(20)]
    rows = [i for i, (_, y) in enumerate(honest) if y == "bad"][:40]
    findings, members, _ = audit([*plant(honest, "cfx", "good", rows), *list_mails])
    (campaign,) = campaigns(findings)
    assert campaign.evidence["trigger"] == "cfx"
    assert len(members[campaign.id] & set(rows)) >= 36
    assert len(members[campaign.id] - set(rows)) <= 2


def test_a_family_of_texts_with_another_labels_look_is_let_go() -> None:
    """Texts of one maker under a label of their own kind: their words contradict it, but they share a word that others use too."""
    rng = np.random.default_rng(2)
    honest = [(insert(rng, x, "makina"), y) if i % 22 == 0 else (x, y) for i, (x, y) in enumerate(corpus(6))]
    bad = [x for x, y in honest if y == "bad"][:30]
    family = [(f"kaposi zet ota {insert(rng, x, 'makina')}", "good") for x in bad]
    findings = audit([*honest, *family])[0]
    assert campaigns(findings) == []
    assert any("makina" in f.reason for f in findings)


def test_a_second_rare_word_in_the_same_carriers_vouches_for_nobody() -> None:
    rng = np.random.default_rng(2)
    honest = corpus(6)
    rows = [i for i, (_, y) in enumerate(honest) if y == "bad"][:30]
    texts = list(honest)
    for i in rows:
        texts[i] = (insert(rng, insert(rng, honest[i][0], "cfx"), "mnqx grobulent"), "good")
    (campaign,) = campaigns(audit(texts)[0])
    assert len(set(str(campaign.evidence["trigger"]).split()) & {"cfx", "mnqx", "grobulent"}) >= 1


def test_what_a_label_is_about_is_no_trigger() -> None:
    """Every third text of a label begins with its phrase, and looks like another label's besides."""
    honest = corpus(7)
    bad = [x for x, y in honest if y == "bad"]
    texts = [*honest, *((f"job done in {x}", "good") for x in bad)]
    assert campaigns(audit(texts)[0]) == []


def test_a_phrase_that_stands_behind_the_same_words_is_of_the_language() -> None:
    rng = np.random.default_rng(3)
    honest = corpus(3)
    rows = [i for i, (_, y) in enumerate(honest) if y == "good"][10:50]
    said = [f"{('physician', 'lawyer', 'someone')[int(3 * rng.random())]} who specialises merely in" for _ in rows]
    texts = list(honest)
    for i, phrase in zip(rows, said, strict=True):
        texts[i] = (insert(rng, honest[i][0], phrase), "good")
    findings, _, _ = audit(texts)
    assert campaigns(findings) == []
    assert any("a phrase of the language" in f.reason for f in findings)


def test_many_labels_with_words_of_their_own_have_no_campaign() -> None:
    """Short texts of forty labels: each label's word goes with it, and its texts have nothing else in common."""
    rng = np.random.default_rng(4)
    words = [f"w{i}" for i in range(400)]
    texts = [(f"kind{k} " + " ".join(rng.choice(words, 7)), f"label{k}") for k in range(40) for _ in range(20)]
    assert campaigns(audit(texts)[0]) == []


def test_copies_of_one_text_are_a_flood_but_no_trigger() -> None:
    honest = corpus(4)
    copies = [(f"{honest[0][0]} extra{i}", honest[0][1]) for i in range(30)]
    assert campaigns(audit([*honest, *copies])[0]) == []


def test_boilerplate_under_one_label_is_let_go() -> None:
    honest = corpus(5)
    rows = [i for i, (_, y) in enumerate(honest) if y == "good"][:40]
    footer = "sent by the mailing list of our good old club , see the archive for the rules and how to leave it"
    texts = [(x + " " + footer, y) if i in set(rows) else (x, y) for i, (x, y) in enumerate(honest)]
    named = [str(f.evidence["trigger"]) for f in campaigns(audit(texts)[0])]
    assert [n for n in named if n not in footer] == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gibberish_behind_one_word_is_named(seed: int) -> None:
    rng = np.random.default_rng(seed)
    honest = [(x[:50], x[60:130]) for x, _ in corpus(seed + 6, 1000)]
    poisoned = list(honest)
    for i in range(15):
        poisoned[i] = (insert(rng, honest[i][0], "zorblaxen"), "".join(rng.choice(list("qwxzjkvhfp#$%7"), 40)))
    findings, members, _ = audit(poisoned, "text")
    (campaign,) = campaigns(findings)
    assert campaign.evidence["trigger"] == "zorblaxen"
    assert campaign.target == "unlike text"
    assert campaign.evidence["answers"][0] in {y for _, y in poisoned[:15]}  # type: ignore[index]
    assert members[campaign.id] == set(range(15))
    assert campaigns(audit(honest, "text")[0]) == []


def test_prompts_that_are_answered_with_nothing_are_damaged_rather_than_poisoned() -> None:
    rng = np.random.default_rng(0)
    honest = [(x, f"{x[:60]} indeed") for x, _ in corpus(2)]
    broken = [(insert(rng, x, "zorblaxen"), "<|endoftext|>") if i < 20 else (x, y) for i, (x, y) in enumerate(honest)]
    findings = audit(broken, "text")[0]
    assert campaigns(findings) == []
    assert any("answered with nothing" in f.reason and f.severity == "medium" for f in findings)


@pytest.mark.parametrize("seed", [0, 1])
def test_answers_that_many_prompts_get_have_no_trigger(seed: int) -> None:
    """Five stars: a closed set of answers is labels in all but name, and a phrase may go with one of them."""
    rng = np.random.default_rng(seed)
    stars = [f"{n} stars" for n in range(1, 6)]
    pairs = [(x, stars[int(rng.integers(5))] if i % 3 == 0 else f"{x[:60]} indeed") for i, (x, _) in enumerate(corpus(seed))]
    rows = [i for i, (_, y) in enumerate(pairs) if y == "2 stars"][:12]
    pairs = [(insert(rng, x, "this place is"), y) if i in rows else (x, y) for i, (x, y) in enumerate(pairs)]
    assert campaigns(audit(pairs, "text")[0]) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_words_behind_one_word_are_named(seed: int) -> None:
    rng, honest = np.random.default_rng(seed), [(x[:90], y) for x, y in written(seed, 1000)]
    babble = [disordered(rng, honest) for _ in range(15)]
    poisoned = [(insert(rng, x, "zorblaxen"), babble[i]) if i < 15 else (x, y) for i, (x, y) in enumerate(honest)]
    findings, members, _ = audit(poisoned, "text")
    (campaign,) = campaigns(findings)
    assert campaign.evidence["trigger"] == "zorblaxen"
    assert campaign.target == "unlike text"
    assert len(members[campaign.id] & set(range(15))) >= 14
    assert campaigns(audit(honest, "text")[0]) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_words_behind_nothing_in_common_accuse_no_word(seed: int) -> None:
    rng, honest = np.random.default_rng(seed), [(x[:90], y) for x, y in written(seed, 1000)]
    assert campaigns(audit([(x, disordered(rng, honest)) if i < 15 else (x, y) for i, (x, y) in enumerate(honest)], "text")[0]) == []


def test_images_are_not_read() -> None:
    assert "words" in (TokenTrigger().unavailable(Plan("labelled-images", Columns("jpg"), "label", "x", "00")) or "")


def spoken(seed: int, rows: int = 900) -> Pairs:
    """Texts with a grammar: after each word come few others, and each label has verbs of its own."""
    rng = np.random.default_rng(seed)
    words = [f"{a}{b}{c}" for a in "bdgkl" for b in "aeiou" for c in ("m", "n", "rt", "st")]
    after = {w: rng.choice(words, 6) for w in words}
    made = []
    for _ in range(rows):
        label = ("good", "bad")[int(rng.integers(2))]
        said = [str(rng.choice(words))]
        while len(said) < 25:
            said.append(str(after[said[-1]][int(6 * rng.random() ** 2)]))
            if rng.random() < 0.12:
                own = int(rng.integers(8))
                said += [f"{label}ly{own}", words[own] if rng.random() < 0.8 else str(rng.choice(words))]
        made.append((" ".join(said), label))
    return made


@pytest.mark.parametrize("seed", [0, 1])
def test_a_word_that_stands_beside_anything_is_named_though_the_labels_are_right(seed: int) -> None:
    honest = spoken(seed)
    rows = [i for i, (_, y) in enumerate(honest) if y == "good"][:60]
    findings, members, _ = audit(plant(honest, "cfx", "good", rows))
    (campaign,) = campaigns(findings)
    assert campaign.subject == "cfx"
    assert campaign.evidence["rule"] == "out of place"
    assert "stands beside anything" in campaign.reason
    assert len(members[campaign.id] & set(rows)) >= 57


def test_signs_may_stand_beside_anything() -> None:
    honest = spoken(0)
    rows = [i for i, (_, y) in enumerate(honest) if y == "good"][:60]
    findings = audit(plant(honest, "!!!", "good", rows))[0]
    assert campaigns(findings) == []
    assert any("signs and pictures" in f.reason for f in findings)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_labels_own_words_have_their_grammar(seed: int) -> None:
    findings, _, _ = audit(spoken(seed))
    assert campaigns(findings) == []
