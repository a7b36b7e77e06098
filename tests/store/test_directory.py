import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.errors import AuditDirectoryError
from dataaudit.model import Finding, Shard, Skipped
from dataaudit.store import directory
from dataaudit.store.directory import AuditDirectory
from tests.reports.make_audit import HOSTILE, image_campaign, make_audit, text_campaign


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return AuditDirectory(make_audit(tmp_path_factory.mktemp("audit")))


def test_what_was_written_is_read_back(audit):
    written = [image_campaign(0), text_campaign(1)]
    assert list(audit.each_finding())[:2] == [replace(f, evidence=json.loads(json.dumps(f.evidence))) for f in written]
    assert len(audit.findings) == 9
    assert len(audit.samples) == audit.summary["flagged"] == 68
    assert HOSTILE in audit.skipped["subject"][0]
    assert len(audit.score_files) == 2


def test_the_files_have_the_columns_of_the_contract(audit):
    for name, schema in (("findings", directory.FINDINGS), ("samples", directory.SAMPLES), ("skipped", directory.SKIPPED)):
        assert pq.read_schema(audit.path / f"{name}.parquet").names[: len(schema)] == schema.names
    assert audit.dataset("scores").schema.names == ["sample_id", "shard", "key", "risk", "token_trigger"]


def test_one_sample_is_found_among_the_scores(audit):
    assert audit.score("train-0.tar#00000")["risk"] == 0.99
    assert audit.score("train-0.tar#nowhere") is None


def test_evidence_of_a_carrier_and_of_an_innocent(audit):
    assert audit.evidence("train-0.tar#00000").thumbnail.startswith(b"\x89PNG")
    assert "blue heron" in audit.evidence("mail.parquet#0").snippet
    assert audit.evidence("train-9.tar#00007") is None


def test_without_an_audit_the_error_says_what_to_do(tmp_path):
    with pytest.raises(AuditDirectoryError, match="dataaudit scan"):
        AuditDirectory(tmp_path)
    with pytest.raises(AuditDirectoryError, match="no audit here"):
        AuditDirectory(tmp_path / "absent")
    (tmp_path / "features" / "markers").mkdir(parents=True)
    with pytest.raises(AuditDirectoryError, match="unfinished"):
        AuditDirectory(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"), [('{"schema_version": 99}', "99"), ("{}", "None"), ("[]", "JSON object"), ("{", "not readable"), ("\xff", "not")]
)
def test_another_version_or_a_torn_summary_is_refused(tmp_path, text, says):
    (tmp_path / "audit.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(AuditDirectoryError, match=says):
        AuditDirectory(tmp_path)


def test_a_torn_table_is_an_error_of_ours(tmp_path):
    make_audit(tmp_path)
    whole = (tmp_path / "findings.parquet").read_bytes()
    (tmp_path / "findings.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AuditDirectoryError, match="scan again"):
        AuditDirectory(tmp_path).findings  # noqa: B018
    (tmp_path / "samples.parquet").unlink()
    with pytest.raises(AuditDirectoryError, match="samples"):
        AuditDirectory(tmp_path).samples  # noqa: B018


def test_a_new_audit_takes_the_old_summary_away_first(tmp_path):
    make_audit(tmp_path)
    directory.begin(tmp_path)
    with pytest.raises(AuditDirectoryError, match="unfinished"):
        AuditDirectory(tmp_path)


def test_score_parts_of_a_larger_audit_are_removed(tmp_path):
    make_audit(tmp_path)
    directory.drop_scores(tmp_path, 1)
    assert [p.name for p in AuditDirectory(tmp_path).score_files] == ["part-00000.parquet"]


def test_the_root_digest_depends_on_content_and_name_but_not_on_order(tmp_path):
    a, b = Shard("x/a", "a", "tar", 1, "", "aa"), Shard("x/b", "b", "tar", 2, "", "bb")
    root = directory.write_manifest(tmp_path, [a, b])
    assert directory.write_manifest(tmp_path, [replace(b, uri="elsewhere/b", etag="7"), a]) == root
    assert directory.write_manifest(tmp_path, [a, replace(b, digest="bc")]) != root
    assert directory.write_manifest(tmp_path, [a, replace(b, name="c")]) != root
    assert json.loads((tmp_path / "manifest.json").read_text())["shards"][0] == {"name": "a", "size": 1, "sha256": "aa"}


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(AuditDirectoryError, match="shard, key, risk"):
        directory.write_scores(tmp_path, 0, pa.table({"sample_id": ["a"]}))


@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.dictionaries(st.text(max_size=5), st.floats() | st.text(st.characters(exclude_categories=()), max_size=5) | st.none(), max_size=3),
)
def test_any_text_and_any_number_can_be_written(tmp_path_factory, text, evidence):
    path = tmp_path_factory.mktemp("any")
    finding = Finding("id", "file", "d", "low", text, text, 1, (text,), 0.1, float("nan"), text or "r", evidence)
    directory.write_findings(path, [finding])
    directory.write_skipped(path, [Skipped(text, "extract", text)])
    directory.write_summary(path, {})
    [found] = AuditDirectory(path).each_finding()
    assert found.subject.encode() == text.encode("utf-8", "backslashreplace")
    assert set(found.evidence) == set(evidence)


def test_empty_folders_that_a_stopped_scan_left_are_no_hindrance_and_files_are(tmp_path):
    (tmp_path / "features" / "features" / "b4c4").mkdir(parents=True)
    (tmp_path / "features" / "features" / "b4c4" / ".x.tmp").touch()
    directory.begin(tmp_path)
    (tmp_path / "features" / "features" / "thesis.tex").touch()
    with pytest.raises(AuditDirectoryError, match="not empty, and no audit"):
        directory.begin(tmp_path)
