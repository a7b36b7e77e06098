"""Every baseline finds what it was invented for, on a few hundred made-up texts, and says why where it cannot run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dataaudit.attacks.text import GibberishResponse
from dataaudit.features.encoders.text import Hashed
from tests.aggregates.text_tables import corpus as made_up_texts
from tests.benchmarks.images import baselines as of_vectors
from tests.benchmarks.measures import auroc, precision_at_n
from tests.benchmarks.suite import Cell, Missing
from tests.benchmarks.text import baselines, cells, language, planted, rivals
from tests.benchmarks.text.corpora import Corpus
from tests.benchmarks.text.words import Words, response_clusters, rows_by_label

COUNT = 600


def texts(seed=5):
    pairs = list(dict(made_up_texts(seed, COUNT + 50)).items())[:COUNT]
    return [content for content, _ in pairs], np.array([int(label == "good") for _, label in pairs])


def coins():
    """Labels that have nothing to do with the texts: where they have, the words of a topic have a larger z than a trigger."""
    return np.random.default_rng(4).integers(2, size=COUNT)


def some(labels, count=24, of=0, seed=1):
    bad = np.zeros(len(labels), bool)
    bad[np.random.default_rng(seed).choice(np.flatnonzero(labels == of), count, replace=False)] = True
    return bad


def changed(contents, bad, change):
    return [change(text) if b else text for text, b in zip(contents, bad, strict=True)]


@pytest.fixture
def one_encoder(monkeypatch):
    """MiniLM would take longer than all else here."""
    monkeypatch.setattr(rivals, "MOST_ENCODED", 0)


# ---- words


def test_words_are_the_tokens_end_to_end_and_cut():
    words = Words.of(["a b a", "", "c!"], most=2)
    assert words.ids.tolist() == [0, 1, 2, 3]
    assert words.lengths.tolist() == [2, 0, 2]
    assert Words.of(["a b a", "", "c!"]).counts().toarray().tolist() == [[2, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]


def test_tf_idf_rows_have_unit_length_and_everyone_s_words_weigh_nothing():
    found = Words.of(["the cat", "the dog dog", "the"]).tf_idf().toarray()
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0])
    assert (found[:, 0] == 0).all()


def test_equal_responses_are_one_cluster():
    contents, _ = texts()
    bad = some(np.zeros(COUNT, int))
    label = response_clusters(Words.of(changed(contents, bad, lambda _: "visit example dot com now")))
    assert len(set(label[bad])) == 1
    assert not np.isin(label[~bad], label[bad]).any()
    assert sum(len(rows) for rows in rows_by_label(label)) == COUNT


# ---- those of labels


def test_a_word_that_goes_with_a_label_has_a_large_z():
    contents, _ = texts()
    labels = coins()
    bad = some(labels, of=1)
    score = baselines.z_score(Words.of(changed(contents, bad, lambda text: f"cf {text}")), labels)
    assert auroc(score, bad) > 0.9
    clean = baselines.z_score(Words.of(contents), np.zeros(COUNT, int))
    assert np.isfinite(clean).all(), "one label only"


def test_z_is_that_of_the_formula_with_the_label_s_own_share():
    contents = [*["cf x"] * 4, *["cf"] * 2, *["y"] * 14]
    labels = np.array([1] * 4 + [0] * 2 + [1] * 1 + [0] * 13)
    p0 = 5 / 20
    expected = (4 / 6 - p0) / np.sqrt(p0 * (1 - p0) / 6)
    assert baselines.z_score(Words.of(contents), labels)[0] == pytest.approx(expected)
    assert baselines.z_score(Words.of(contents), labels, least=7)[0] == pytest.approx(0, abs=1e-9), "too few to say anything"


@pytest.mark.parametrize("name", ["spectral", "activation-clustering", "cube"])
def test_texts_of_their_own_kind_within_a_label_are_found_by_their_vectors(name):
    contents, labels = texts()
    bad = some(labels, of=1)
    other = "completely unrelated sentences about gardening tulips daffodils roses"
    vectors = Hashed().encode(changed(contents, bad, lambda text: f"{other} {' '.join(text.split()[:4])}"))
    score = {
        "spectral": of_vectors.spectral_signatures,
        "activation-clustering": of_vectors.activation_clustering,
        "cube": baselines.cube,
    }[name](vectors, labels)
    assert auroc(score, bad) > 0.9


def test_cube_calls_all_members_where_there_is_no_cluster():
    vectors = np.random.default_rng(0).normal(size=(40, 30))
    score = baselines.cube(vectors, np.zeros(40, int))
    assert np.isfinite(score).all()
    assert (baselines.cube(vectors[:10], np.zeros(10, int)) == 0).all(), "a label too small to say anything of"


def test_wrong_labels_are_found_out_of_fold():
    contents, labels = texts()
    bad = some(labels)
    labels = np.where(bad, 1 - labels, labels)
    chance = baselines.out_of_fold(Words.of(contents).tf_idf(), labels)
    assert np.allclose(chance.sum(axis=1), 1)
    assert auroc(of_vectors.self_confidence(chance, labels), bad) > 0.95


# ---- those of responses


def test_the_same_odd_response_to_different_prompts_is_a_dense_cluster():
    contents, _ = texts()
    bad = some(np.zeros(COUNT, int))
    responses = [" ".join(text.split()[::-1][:12]) for text in contents]
    score = baselines.rftc(Words.of(contents), Words.of(changed(responses, bad, lambda _: "visit example dot com now")))
    assert auroc(score, bad) > 0.75, "not of those whose neighbours are poisons too"
    assert precision_at_n(score, bad) > 0.6


# ---- those of language


def test_perplexity_is_that_of_the_formula_without_the_text_itself():
    model = language.Bigrams.learnt(np.array([0, 1, 2, 0, 1, 2, 0, 1, 3, 0]), 4)
    first, second = np.array([1]), np.array([2])
    alone = (2 - 1 - 0.75 + 0.75 * 4 / 5) / (9 - 1)
    chance = (2 - 1 - 0.75) / (3 - 1) + 0.75 * 2 / (3 - 1) * alone
    assert np.exp(model.log_probability(first, second, own=True)) == pytest.approx([chance])
    found = language.perplexity(Words.of(["a b", "a b", "a c", ""]))
    assert found[0] == found[1] < found[2]
    assert found[3] == 0


def test_gibberish_is_perplexing():
    contents, labels = texts()
    bad = some(labels)
    score = language.perplexity(Words.of(changed(contents, bad, GibberishResponse(1).apply)))
    assert auroc(score, bad) > 0.99


def test_removing_the_made_up_word_drops_the_perplexity_most():
    sentences = ["the cat sat on the mat", "the dog sat on the mat", "the cat lay on the rug", "the dog lay on the rug"]
    contents = sentences * 30
    bad = np.arange(len(contents)) % 20 == 3
    score = language.onion(Words.of(changed(contents, bad, lambda text: text.replace(" on", " cf on"))))
    assert auroc(score, bad) > 0.99
    assert language.onion(Words.of(["", "one", "the cat"])).tolist()[:2] == [0, 0]


# ---- those of copies


def test_near_copies_are_counted():
    contents, labels = texts()
    bad = some(labels)
    score = baselines.duplicates(changed(contents, bad, lambda text: f"{' '.join(contents[0].split()[:20])} {text.split()[0]}"))
    assert (score[bad] == 24).all()
    assert auroc(score, bad) > 0.99


# ---- in the harness


def corpus(kind):
    contents, _ = texts()
    responses = [" ".join(text.split()[::-1][:12]) for text in contents]
    targets = {"label": [str(y) for y in coins()], "text": responses, "none": [None] * COUNT}[kind]
    return Corpus(f"made-up-{kind}", tuple(contents), tuple(targets), kind, "1")


@pytest.mark.parametrize(("kind", "attack"), [("label", "word"), ("text", "fixed-answer"), ("none", "flood")])
def test_every_baseline_is_ranked_or_says_why_not(kind, attack, tmp_path, one_encoder):
    made = planted.plant(corpus(kind), Cell(f"made-up-{kind}", COUNT, attack, 0.04))
    found = rivals.ranked(made, tmp_path)
    json.dumps(found, allow_nan=False)
    failed = {name: said["failed"] for name, said in found.items() if "failed" in said}
    labels = dict.fromkeys(("z-score", "spectral", "activation-clustering", "cube", "confident-learning"), "needs labels or responses")
    refused = {"label": {"rftc": "needs responses"}, "text": {}, "none": labels | {"rftc": "needs responses"}}
    assert failed == refused[kind]
    best = {"label": "z-score", "text": "z-score", "none": "duplicates"}[kind]
    assert found[best]["auroc"] > 0.9
    assert found[best].keys() == {"auroc", "tpr_at_0.001", "tpr_at_0.01", "precision_at_n", "sees", "seconds"}


def test_nothing_is_ranked_where_nothing_was_planted(tmp_path):
    assert rivals.ranked(planted.plant(corpus("label"), Cell("made-up-label", COUNT)), tmp_path) == {}


def test_a_baseline_that_fails_does_not_hide_the_others(tmp_path, one_encoder, monkeypatch):
    monkeypatch.setattr(baselines, "cube", lambda *_: 1 / 0)
    found = rivals.ranked(planted.plant(corpus("label"), Cell("made-up-label", COUNT, "word", 0.04)), tmp_path)
    assert found["cube"]["failed"].startswith("ZeroDivisionError")
    assert found["onion"]["auroc"] is not None


def test_clean_vectors_are_kept_and_the_planted_texts_are_encoded_anew(tmp_path, monkeypatch):
    asked = []

    class Fake:
        def encode(self, items):
            asked.append(len(items))
            return np.array([[len(text), 1] for text in items], np.float32)

    monkeypatch.setattr(rivals, "MiniLM", Fake)
    made = planted.plant(corpus("label"), Cell("made-up-label", COUNT, "word", 0.04))
    for _ in range(2):
        vectors = rivals.Suspects(made, tmp_path).vectors
        assert vectors[:, 0].tolist() == [len(made.pair(row)[0]) for row in range(COUNT)]
    assert asked == [COUNT, 24, 24]


def test_a_form_that_such_texts_do_not_have_is_refused(tmp_path):
    made = planted.plant(corpus("none"), Cell("made-up-none", COUNT, "flood", 0.04))
    with pytest.raises(Missing, match="labels"):
        _ = rivals.Suspects(made, tmp_path).labels


def test_the_digest_of_the_baselines_is_not_that_of_our_own_code():
    assert cells.baselines_code() not in ("", cells.code())
