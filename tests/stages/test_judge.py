"""What a detector said of a campaign that was let go counts for less, and for nobody else."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.model import Finding
from dataaudit.stages.judge import lowered, risk_shard
from dataaudit.store.cache import Cache

SCORES = np.array([0.95, 0.9, 0.97, 0.1], np.float32)
GROUPS = np.array([0, 0, 1, -1], np.int32)


def finding(kind, group, released=False):
    return Finding(f"f{group}", kind, "made_up", "high", "s", "", 2, (), 0.9, 1.0, "r", groups=(group,), released=released)


def test_members_of_a_campaign_that_was_let_go_keep_their_order_below_a_half():
    said = lowered("made_up", SCORES, [finding("outlier", 0, released=True), finding("campaign", 1)], {"made_up": GROUPS})
    assert said.tolist() == np.array([0.475, 0.45, 0.97, 0.1], np.float32).tolist()
    assert lowered("another", SCORES, [finding("outlier", 0, released=True)], {"made_up": GROUPS}).tolist() == SCORES.tolist()


def test_an_outlier_that_never_was_a_campaign_keeps_its_score():
    assert lowered("made_up", SCORES, [finding("outlier", 0)], {"made_up": GROUPS}).tolist() == SCORES.tolist()


def test_the_written_scores_are_the_lowered_ones(tmp_path):
    table = {"key": list("abcd"), "target": [None] * 4, "digest": list("abcd"), "made_up": SCORES, "made_up__group": GROUPS}
    pq.write_table(pa.table(table), tmp_path / "scores.parquet")
    found = [finding("outlier", 0, released=True), finding("campaign", 1)]
    risk_shard((0, "shard", "scores.parquet"), found, ["made_up"], Cache(tmp_path), tmp_path / "audit")
    (part,) = (tmp_path / "audit" / "scores").glob("*.parquet")
    written = pq.read_table(part)
    assert max(written.column("made_up").to_pylist()[:2]) < 0.5
    assert [risk >= 0.5 for risk in written.column("risk").to_pylist()] == [False, False, True, False]
