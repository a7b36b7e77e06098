import hashlib
import threading
from types import SimpleNamespace

import pytest

from dataaudit.errors import AuditDirectoryError, QueryError
from dataaudit.store.query import _interrupt, query
from tests.reports.make_audit import make_audit


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return make_audit(tmp_path_factory.mktemp("audit"))


def digests(path):
    return {p.relative_to(path): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("SELECT count(*) AS n FROM scores", 20_000),
        ("FROM findings SELECT count(*)", 9),
        ("SELECT count(*) FROM samples s JOIN scores USING (sample_id) WHERE s.risk >= 0.5", 68),
        ("WITH x AS (SELECT unnest(findings) AS f FROM samples) SELECT count(*) FROM x WHERE f = 'text0001'", 17),
        ("SELECT evidence->>'$.phrase' FROM findings WHERE id = 'text0001'", "blue heron"),
        ("SELECT stage FROM skipped; -- a comment", "extract"),
        ("SELECT count(*) FROM range(7)", 7),
        ("DESCRIBE scores", "sample_id"),
    ],
)
def test_questions_are_answered(audit, sql, first):
    assert query(audit, sql).column(0)[0].as_py() == first


def test_rows_are_limited(audit):
    assert query(audit, "FROM scores").num_rows == 10_000
    assert query(audit, "FROM scores", limit_rows=3).num_rows == 3
    assert query(audit, "FROM scores", limit_rows=None).num_rows == 20_000
    assert query(audit, "FROM scores WHERE risk > 2").num_rows == 0


REFUSED = [
    "COPY scores TO '{dir}/stolen.csv'",
    "COPY (SELECT 1) TO '{dir}/audit.json'",
    "EXPORT DATABASE '{dir}/x'",
    "ATTACH '{dir}/x.db'",
    "SELECT * FROM read_parquet('{dir}/findings.parquet')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "FROM '{dir}/findings.parquet'",
    "FROM '/etc/passwd'",
    "SELECT (SELECT content FROM read_blob('/etc/passwd'))",
    "WITH x AS MATERIALIZED (FROM parquet_metadata('{dir}/findings.parquet')) FROM x",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('scores')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    'SELECT * FROM "ARROW_SCAN"(1, 2, 3)',
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "PRAGMA version",
    "PRAGMA database_list",
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL pragma_version()",
    "CREATE TABLE x AS SELECT 1",
    "DROP VIEW scores",
    "INSERT INTO scores VALUES (1)",
    "DELETE FROM samples",
    "UPDATE samples SET risk = 0",
    "WITH x AS (INSERT INTO scores VALUES (1)) SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY scores TO '{dir}/x'",
    "EXPLAIN ANALYZE SELECT 1",
    "audit",
    "FROM audit",
    "FROM connection",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_everything_else_is_refused_and_changes_nothing(audit, sql):
    before = digests(audit)
    with pytest.raises(QueryError) as refused:
        query(audit, sql.format(dir=audit))
    assert "root:" not in str(refused.value)
    assert digests(audit) == before


def test_a_query_that_takes_too_long_is_stopped(audit):
    # 8,000,000,000,000 combinations, and no pair alone can rule them out: no machine is done in time.
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s"):
        query(audit, "SELECT count(*) FROM scores a, scores b, scores c", timeout=0.3)
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s"):
        query(audit, "SELECT a.risk FROM scores a, scores b, scores c WHERE a.risk + b.risk + c.risk > 5", timeout=0.3)


def test_an_interrupt_that_was_forgotten_is_given_again():
    done, calls = threading.Event(), []
    connection = SimpleNamespace(interrupt=lambda: done.set() if len(calls) == 2 else calls.append(1))
    _interrupt(connection, 0.01, done)
    assert len(calls) == 2


def test_a_query_that_takes_too_much_memory_is_stopped(audit):
    with pytest.raises(QueryError, match="memory"):
        query(audit, "SELECT list(a.sample_id || b.sample_id) FROM scores a, scores b", memory="100MB")


def test_a_mistake_names_the_tables(audit):
    with pytest.raises(QueryError, match="findings, samples, scores, skipped"):
        query(audit, "SELEC 1")
    with pytest.raises(QueryError, match="100,000"):
        query(audit, "SELECT 1 --" + "x" * 200_000)


def test_no_audit_no_query(tmp_path):
    with pytest.raises(AuditDirectoryError):
        query(tmp_path, "SELECT 1")
