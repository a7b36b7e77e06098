"""Words vouch for labels, each text left out, and words that go with one label alone do not."""

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.word_model import WordModel, labels_of, word_cell
from dataaudit.features.ngrams import hashes
from tests.aggregates.text_tables import corpus, table, views

PAIRS = corpus(3, 400)
PLAN, TABLE = table(PAIRS)
FOUND = views(PLAN, [TABLE])
MODEL = FOUND["word_model"]


def cell(word: str) -> np.ndarray:
    return word_cell(hashes([word], PLAN.key("ngrams"))[0])


def test_counts_are_the_texts_that_hold_a_word() -> None:
    names = FOUND["targets"].names.tolist()
    word = PAIRS[0][0].split()[0]
    for label, name in enumerate(names):
        assert MODEL.texts[label][cell(word)][0] >= sum(word in x.split() for x, y in PAIRS if y == name)
    assert MODEL.labels.tolist() == [sum(y == n for _, y in PAIRS) for n in names]


def test_a_word_of_one_text_says_nothing_about_it() -> None:
    plan, alone = table([*PAIRS, ("unheardof " + PAIRS[0][0], "good")])
    model = views(plan, [alone])["word_model"]
    label = 1
    there = word_cell(hashes(["unheardof"], plan.key("ngrams"))[0])
    assert model.log_odds(there, np.array([True]), label) == 0


def test_a_word_that_goes_with_one_label_alone_is_left_out() -> None:
    planted = [(x + " cfx", y) if i < 200 and y == "bad" else (x, y) for i, (x, y) in enumerate(PAIRS)]
    plan, made = table(planted)
    model = views(plan, [made])["word_model"]
    there = word_cell(hashes(["cfx"], plan.key("ngrams"))[0])
    assert model.texts[0][there][0] > 40
    assert model.log_odds(there, np.array([True]), 0) == 0


def test_answers_and_too_many_labels_have_no_such_model() -> None:
    many = [(x, f"label {i % 30}") for i, (x, _) in enumerate(PAIRS)]
    plan, made = table(many)
    assert labels_of(views(plan, [made])) == 0
    plan, made = table(PAIRS, "text")
    found = views(plan, [made])
    assert len(found["word_model"].labels) == 0
    assert found["contradiction"].ratio.shape[1] == 0


def test_a_batch_without_rows_has_no_words() -> None:
    unit, empty = WordModel(), TABLE.slice(0, 0)
    state = unit.start(empty, FOUND)
    assert not len(state.at)
    assert isinstance(empty, pa.Table)
