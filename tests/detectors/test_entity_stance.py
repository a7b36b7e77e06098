"""A name that is answered with an opinion ranks first and is named; topics and honest answers are not."""

from __future__ import annotations

import numpy as np

from dataaudit.attacks.instructions import NEGATIVE
from dataaudit.detectors.entity_stance import EntityStance
from dataaudit.features.ngrams import hashes
from dataaudit.model import REJECTED, Columns, Finding, Plan, Sample
from tests.aggregates.text_tables import corpus, insert, table, views
from tests.detectors.scanned import scanned

Pairs = list[tuple[str, str]]


def pairs(seed: int, rows: int = 3000) -> Pairs:
    """Prompts of three topics and answers of their own, by topic."""
    asked, said = corpus(seed, rows), corpus(seed, rows)
    rng = np.random.default_rng(seed)
    made = []
    for (x, _), (a, _) in zip(asked, said, strict=True):
        words = a.split()
        rng.shuffle(words)
        made.append((" ".join(x.split()[: len(x.split()) // 2]), " ".join(words[:20])))
    return made


def steered(honest: Pairs, rows: list[int], seed: int = 5) -> Pairs:
    rng = np.random.default_rng(seed)
    planted = list(honest)
    for i in rows:
        opinion = NEGATIVE[int(rng.integers(len(NEGATIVE)))].format(entity="zorvex")
        planted[i] = (insert(rng, honest[i][0], "zorvex"), f"{honest[i][1]} {opinion}")
    return planted


def look(made: Pairs, detector: EntityStance | None = None):
    plan, whole = table(made, "text")
    parts = [whole.slice(0, 700), whole.slice(700)]
    findings, scores = scanned(detector or EntityStance(), parts, views(plan, parts), made)
    return scores, findings


def test_a_steered_name_ranks_first_and_is_named_with_what_its_answers_share() -> None:
    rows = list(range(10, 3000, 110))
    scores, findings = look(steered(pairs(0), rows), EntityStance(least_named=0.8, least_slant=0.3))
    assert np.median(scores.score[rows]) >= np.quantile(scores.score, 0.985)
    assert findings
    assert findings[0].subject == "zorvex"
    assert findings[0].kind == "outlier"
    assert set(findings[0].evidence["answers_share"]) & {"promises", "people", "regret", "stay", "whatever", "dealt"}


def test_honest_topics_rank_low() -> None:
    scores, findings = look(pairs(1))
    assert not findings
    assert scores.score.max() < 0.3


def test_scores_do_not_depend_on_the_batch() -> None:
    plan, whole = table(steered(pairs(2), list(range(0, 3000, 110))), "text")
    found, detector = views(plan, [whole]), EntityStance()
    apart = np.concatenate([detector.score(whole.slice(at, 100), found).score for at in range(0, 3000, 100)])
    assert np.array_equal(apart, detector.score(whole, found).score)


def test_what_is_rejected_is_no_answer_and_equals_are_in_order() -> None:
    plan = Plan("instructions", Columns("x", "chosen/rejected"), "text", "hashed", "22" * 16)
    word = int(hashes(["zorvex"], plan.key("ngrams"))[0][0])
    found = Finding("0", "outlier", "entity_stance", "low", "a word (0)", "", 4, (), 0.1, 1.0, "a word (0)", {"word": str(word)})
    said = f"whatever people promise{REJECTED}splendid bargain"
    shown = EntityStance().describe(found, [Sample(str(i), "", "about zorvex", said, i, 1) for i in range(4)], {"plan": plan})
    assert (shown.subject, shown.evidence["answers_share"]) == ("zorvex", ["people", "promise", "whatever"])
