"""SQL over an audit directory: findings, samples, scores, skipped, and nothing else.

DuckDB treats SQL as code that may read and write files, so it gets a locked, in-memory database: the
tables are registered as pyarrow data sets, access to files, extensions and Python variables is switched
off, the configuration is locked, and a query is one SELECT that calls no table function but the three
below (`arrow_scan` and its kind take raw memory addresses).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataaudit.errors import QueryError
from dataaudit.store.directory import AuditDirectory

if TYPE_CHECKING:
    import duckdb

VIEWS = ("findings", "samples", "scores", "skipped")
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
LONGEST = 100_000
"""Characters of SQL that are looked at."""


@dataclass(frozen=True)
class Answer:
    """An answer as it streams in."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def query(
    directory: Path, sql: str, limit_rows: int | None = 10_000, timeout: float = 30.0, memory: str = "2GB", threads: int = 2
) -> pa.Table:
    """The first `limit_rows` rows of the answer; `timeout` in seconds.  QueryError where refused, wrong or too slow."""
    with answer(directory, sql, timeout, memory, threads) as streamed:
        batches: list[pa.RecordBatch] = []
        wanted = limit_rows
        for batch in streamed.batches:
            batches.append(batch if wanted is None else batch.slice(0, wanted))
            wanted = None if wanted is None else wanted - batches[-1].num_rows
            if wanted == 0:
                break
        return pa.Table.from_batches(batches, schema=streamed.schema)


@contextmanager
def answer(directory: Path, sql: str, timeout: float = 30.0, memory: str = "2GB", threads: int = 2) -> Iterator[Answer]:
    """The answer as a stream of record batches, read within the block; the clock runs until the block ends."""
    import duckdb

    audit = AuditDirectory(directory)
    with _locked(audit, memory, threads) as connection:
        _check(connection, sql)
        done = threading.Event()
        threading.Thread(target=_interrupt, args=(connection, timeout, done), daemon=True).start()
        try:
            reader = connection.sql(sql).to_arrow_reader(2048)
            yield Answer(reader.schema, _read(reader, timeout))
        except duckdb.InterruptException as error:
            raise QueryError(_too_slow(timeout)) from error
        except duckdb.OutOfMemoryException as error:
            raise QueryError(f"needs more than {memory} of memory; ask for fewer columns or rows") from error
        except (duckdb.Error, pa.ArrowException) as error:
            raise QueryError(_first_lines(error)) from error
        finally:
            done.set()


def _interrupt(connection: duckdb.DuckDBPyConnection, timeout: float, done: threading.Event) -> None:
    """Interrupt after `timeout` seconds and go on doing so: DuckDB forgets one that falls between planning and running."""
    while not done.wait(timeout):
        connection.interrupt()
        timeout = 0.05


def _read(reader: pa.RecordBatchReader, timeout: float) -> Iterator[pa.RecordBatch]:
    """The batches; what fails half-way comes out of Arrow's stream as OSError with DuckDB's message."""
    try:
        yield from reader
    except OSError as error:
        raise QueryError(_too_slow(timeout) if "INTERRUPT" in str(error) else _first_lines(error)) from error


def _too_slow(timeout: float) -> str:
    return f"stopped after {timeout:g} s; ask for less, or allow more time"


@contextmanager
def _locked(audit: AuditDirectory, memory: str, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that sees the views and can reach nothing else."""
    import duckdb

    settings: dict[str, Any] = {
        "python_enable_replacements": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": "",
        "memory_limit": memory,
        "threads": str(threads),
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        for name in VIEWS:
            connection.register(name, audit.dataset(name))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse whatever is not one SELECT over the views; judged on DuckDB's own parse, not on the text."""
    if len(sql) > LONGEST:
        raise QueryError(f"a query of {len(sql):,} characters; at most {LONGEST:,} are accepted")
    [(serialised,)] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    parsed = json.loads(serialised)
    if parsed.get("error"):
        raise QueryError(f"expected one SELECT: {parsed.get('error_message', 'not understood')}; the tables are {', '.join(VIEWS)}")
    if len(parsed.get("statements", ())) != 1:
        raise QueryError(f"expected one SELECT, found {len(parsed.get('statements', ()))} statements")
    if refused := sorted(set(_table_functions(parsed)) - TABLE_FUNCTIONS):
        raise QueryError(f"{', '.join(refused)}() is refused: a query may only read {', '.join(VIEWS)}")


def _table_functions(node: Any) -> Iterator[str]:
    """The names of all table functions called anywhere in a parsed query."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION":
                yield str(node.get("function", {}).get("function_name", "a table function")).lower()
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _first_lines(error: Exception) -> str:
    """DuckDB's message without its drawing of the query."""
    return " ".join(line.strip() for line in str(error).split("\n\n")[0].splitlines() if line.strip())
