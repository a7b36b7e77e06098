"""Texts of another label look like it, whatever their own label says."""

import numpy as np

from dataaudit.aggregates.contradiction import BINS, _log_ratio, chance, mixed, own_margins, place
from tests.aggregates.text_tables import corpus, insert, table, views

PAIRS = corpus(4, 600)
WRONG = [i for i, (_, y) in enumerate(PAIRS) if y == "bad"][:20]


def said(pairs: list[tuple[str, str]], firm: bool) -> np.ndarray:
    plan, made = table(pairs)
    found = views(plan, [made])
    target = found["targets"].index(made)
    plain, without, _ = own_margins(found["word_model"], made, target)
    return np.asarray(found["contradiction"].of(without if firm else plain, target, firm))


def test_flipped_texts_are_contradicted_and_the_others_are_not() -> None:
    flipped = [(x, "good" if i in WRONG else y) for i, (x, y) in enumerate(PAIRS)]
    for firm in (False, True):
        ratio = said(flipped, firm)
        others = np.delete(ratio, WRONG)
        assert ratio[WRONG].mean() > 0 > others.mean()


def test_a_planted_phrase_does_not_vouch_for_its_label_in_the_firm_margin() -> None:
    rng = np.random.default_rng(0)
    planted = [(insert(rng, x, "tq zq vq"), "good") if i in WRONG else (x, y) for i, (x, y) in enumerate(PAIRS)]
    assert said(planted, True)[WRONG].mean() > 0


def test_mixed_evidence_is_bounded_below_and_fair() -> None:
    assert mixed(np.array([-50.0]))[0] == -np.log(2)
    inside = np.full(8, 1 / 8)
    ratio = np.linspace(-2, 2, 8)
    outside = inside * np.exp(ratio)
    outside /= outside.sum()
    # Under "the label's own" the mean of exp(evidence) is one, which is what makes the bound on sums hold.
    assert np.isclose((inside * np.exp(mixed(np.log(outside / inside)))).sum(), 1)
    assert chance(np.zeros(1))[0] == 0.5


def test_densities_of_few_texts_say_nothing() -> None:
    few, many = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    few[place(np.array([1.0] * 5))] += 1
    many[place(np.linspace(-9, 9, 500))] += 10
    assert not _log_ratio(few, many).any()
    assert _log_ratio(many, np.roll(many, 8)).any()
