"""Carriers that were taken from one other label are compared with that label's texts, up to as many labels as words can tell."""

from __future__ import annotations

import numpy as np
import pytest

from dataaudit.features.ngrams import hashes
from tests.aggregates.text_tables import insert, table, views


def labelled(labels: int, seed: int = 0) -> list[tuple[str, str]]:
    """Sixty texts a label, half of their words its own; twenty of the second label hold a trigger and are labelled as the first."""
    rng = np.random.default_rng(seed)
    made = []
    for label in range(labels):
        for _ in range(60):
            words = [f"own{label}x{int(40 * r)}" if r < 0.5 else f"common{int(400 * r)}" for r in rng.random(24)]
            made.append((" ".join(words), f"label {label:02}"))
    for at in range(60, 80):
        made[at] = (insert(rng, made[at][0], "tqzq"), "label 00")
    return made


@pytest.mark.parametrize("labels", [2, 20])
def test_flipped_texts_of_one_label_are_no_more_alike_than_that_label(labels: int) -> None:
    plan, made = table(labelled(labels))
    view = views(plan, [made])["ngram_carriers"]
    (at,) = np.flatnonzero(view.ngram == hashes(["tqzq"], plan.key("ngrams"))[0])
    assert view.foreign[at] < min(view.whole[at], 3.5)


def test_where_labels_are_too_many_to_tell_by_words_nothing_is_compared_with_others() -> None:
    plan, made = table(labelled(21))
    view = views(plan, [made])["ngram_carriers"]
    single = view.size < 4
    assert (view.foreign[single] >= view.whole[single]).all()
