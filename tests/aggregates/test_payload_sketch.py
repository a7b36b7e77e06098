"""What recurs is counted once a text, in any sharding."""

from __future__ import annotations

import numpy as np

from dataaudit.aggregates.payload_sketch import CELLS, PayloadSketch
from tests.aggregates.payload_tables import HOST, hashed, plan_for, questions, table, views

PAIRS = questions(200, 12)
PLAN, WHOLE = plan_for(PAIRS), table(PAIRS)


def test_every_text_that_says_a_payload_is_counted_once():
    twice = [*PAIRS, ("and now", f"https://{HOST}/a https://{HOST}/b")]
    view = views(PLAN, [table(twice)])["payload_sketch"]
    assert view.texts_with(np.array([hashed(HOST, PLAN), hashed("other.example", PLAN)], np.uint64)).tolist() == [13, 0]


def test_a_state_is_sparse_and_merges_as_numbers_do():
    unit = PayloadSketch()
    parts = [unit.start(WHOLE.slice(at, 50), {}) for at in range(0, 200, 50)]
    one = unit.start(WHOLE, {})
    merged = unit.merge(unit.merge(parts[3], parts[1]), unit.merge(parts[0], parts[2]))
    assert np.array_equal(merged.cells, one.cells)
    assert np.array_equal(merged.counts, one.counts)
    assert len(one.cells) < 20
    assert unit.finish(one, {}).texts.shape == (CELLS,)


def test_a_batch_without_the_column_says_nothing():
    state = PayloadSketch().start(WHOLE.select(["rank"]), {})
    assert len(state.cells) == 0
