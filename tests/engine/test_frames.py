from dataaudit.engine.frames import frame
from dataaudit.store.directory import AuditDirectory
from tests.reports.make_audit import make_audit


def test_scores_are_a_lazy_frame_with_one_partition_a_part(tmp_path):
    scores = frame(AuditDirectory(make_audit(tmp_path)).score_files)
    assert scores.npartitions == 2
    assert list(scores.columns) == ["sample_id", "shard", "key", "risk", "token_trigger"]
    assert int((scores["risk"] >= 0.5).sum().compute(scheduler="synchronous")) == 68
    assert list(frame(AuditDirectory(tmp_path).score_files, ["risk"]).columns) == ["risk"]
