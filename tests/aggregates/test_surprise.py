from __future__ import annotations

import numpy as np

from tests.aggregates.text_tables import corpus, table, views


def test_gibberish_among_answers_is_unlike_text_and_nothing_else_is() -> None:
    rng = np.random.default_rng(0)
    answers = [(f"question {i}", x[:80]) for i, (x, _) in enumerate(corpus(3, 600))]
    for i in range(10):
        answers[i] = (answers[i][0], "".join(rng.choice(list("qwxzjkvhfp#$%7"), 40)))
    plan, whole = table(answers, "text")
    marked = views(plan, [whole])["surprise"].unlike(whole)
    assert marked[:10].all()
    assert marked[10:].sum() <= 2


def test_a_stretched_word_is_not_gibberish() -> None:
    answers = [(f"question {i}", x[:80]) for i, (x, _) in enumerate(corpus(4, 300))]
    stretched = answers[0][1][:30] + answers[0][1][29] * 60
    plan, whole = table([*answers, ("so?", stretched)], "text")
    assert not views(plan, [whole])["surprise"].unlike(whole)[-1]
