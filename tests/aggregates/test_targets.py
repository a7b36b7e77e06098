"""Labels are counted by name; responses that say alike share a cluster, and blank ones have a target of their own."""

import numpy as np
import pyarrow as pa
import pytest

from dataaudit.aggregates.targets import AGAINST, Targets, TargetsView, spherical_k_means
from dataaudit.errors import ConfigurationError
from dataaudit.features import Batch, ngrams
from dataaudit.features.embedding import quantise, to_column
from dataaudit.features.target_embedding import TargetEmbedding
from dataaudit.model import Columns, Plan, Sample, preference

LABELLED = {"plan": Plan("labelled-text", Columns("text", "label"), "label", "hashed", "0" * 32)}
ANSWERED = {"plan": Plan("instructions", Columns("prompt", "response"), "text", "hashed", "0" * 32)}


def test_labels_are_numbered_by_name_and_counted():
    table = pa.table({"target": ["spam", "ham", None, "spam"], "rank": pa.array([1, 2, 3, 4], pa.uint64())})
    unit = Targets()
    view = unit.finish(unit.start(table, LABELLED), LABELLED)
    assert view.names.tolist() == ["ham", "spam"]
    assert view.counts.tolist() == [1, 2]
    assert view.index(table).tolist() == [1, 0, -1, 1]


def test_a_caption_has_the_target_of_each_of_its_words():
    plan = Plan("captioned-images", Columns("jpg", "txt"), "text", "given+hashed", "0" * 32)
    captions = ["a red cat", "a dog and a cat", "a dog", ""]
    words = ngrams.hashes(["cat", "dog"], plan.key("ngrams"))[0]
    table = pa.table({"target": captions, "caption_phrases": ngrams.column(captions, plan)})
    view = TargetsView("caption", np.array(["cat", "dog"]), np.zeros(2, np.int64), np.empty((0, 0), np.float32), words=np.ravel(words))
    wanted = np.array([1, 0, 2], np.int32)
    assert view.index(table).tolist() == [0, 0, 1, -1]
    assert view.having(table, wanted).tolist() == [[False, True, False], [True, True, False], [True, False, False], [False] * 3]


def test_a_label_has_its_own_target_only():
    table = pa.table({"target": ["spam", "ham", None], "rank": pa.array([1, 2, 3], pa.uint64())})
    unit = Targets()
    view = unit.finish(unit.start(table, LABELLED), LABELLED)
    assert view.having(table, np.array([1], np.int32)).tolist() == [[True], [False], [False]]


def test_answers_of_one_kind_share_a_target():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(16)[:3], 40, axis=0) + 0.05 * rng.normal(size=(120, 16))
    table = pa.table(
        {
            "target": [f"answer {i}" for i in range(120)],
            "rank": pa.array(rng.permutation(120), pa.uint64()),
            "target_embedding": to_column(quantise(kinds)),
        }
    )
    unit = Targets(clusters=6)
    found = unit.finish(unit.start(table, ANSWERED), ANSWERED).index(table)
    kinds_of = [set(found[k * 40 : k * 40 + 40].tolist()) for k in range(3)]
    assert not kinds_of[0] & kinds_of[1]
    assert not kinds_of[1] & kinds_of[2]


def test_fewer_rows_than_clusters_are_their_own_centroids():
    rows = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(spherical_k_means(rows, 8), rows)


def test_a_column_of_ids_is_no_set_of_classes():
    table = pa.table({"target": [f"id {i}" for i in range(30)], "rank": pa.array(range(30), pa.uint64())})
    with pytest.raises(ConfigurationError, match="--target"):
        Targets(max_labels=20).start(table, LABELLED)


def test_answers_without_a_word_are_one_target():
    table = pa.table(
        {"target": [" ", ""], "rank": pa.array([1, 2], pa.uint64()), "target_embedding": to_column(np.zeros((2, 4), np.int16))}
    )
    unit = Targets()
    view = unit.finish(unit.start(table, ANSWERED), ANSWERED)
    assert view.names[view.index(table)].tolist() == ["no words", "no words"]


def test_a_preference_against_the_rest_is_a_target_of_its_own():
    plan = Plan("instructions", Columns("prompt", "chosen/rejected"), "text", "hashed", "0" * 32)
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(200)]
    pairs = [(" ".join(rng.choice(words, 12)), "no idea") for _ in range(600)]
    flipped = [(b, a) if i % 60 == 0 else (a, b) for i, (a, b) in enumerate(pairs)]
    samples = [Sample(str(i), str(i), "why", preference(a, b), i, 1) for i, (a, b) in enumerate(flipped)]
    table = pa.table(
        {
            "target": [s.target for s in samples],
            "rank": pa.array(rng.permutation(600), pa.uint64()),
            "target_embedding": TargetEmbedding().compute(Batch(samples, plan)),
        }
    )
    unit, views = Targets(), {"plan": plan}
    whole = unit.finish(unit.start(table, views), views)
    parts = unit.finish(unit.merge(unit.start(table.slice(100), views), unit.start(table.slice(0, 100), views)), views)
    assert np.array_equal(whole.index(table), parts.index(table))
    named = whole.names[whole.index(table)]
    assert np.flatnonzero(named == AGAINST).tolist() == list(range(0, 600, 60))
