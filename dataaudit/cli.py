"""The command line: parses, calls the Python API, prints, and chooses the exit code.  Nothing else prints or exits.

Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 an error or an incomplete audit.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from dataaudit import __version__
from dataaudit.errors import AuditDirectoryError, ConfigurationError, DataAuditError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from dataaudit.model import Progress, Settings, Severity
    from dataaudit.store.directory import AuditDirectory

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOTHING, FINDINGS, ERROR, STOPPED = 0, 1, 2, 130
SeverityName = Literal["critical", "high", "medium", "low", "info"]
CONTENT_HELP = (
    "What the model sees: a column (or tar extension), several joined by +, or a conversation up to its last answer, COLUMN:before. "
    "Detected if not named."
)
TARGET_HELP = (
    "What it must learn to say: a column (or tar extension), a conversation's last answer, COLUMN:last, or a preference, CHOSEN/REJECTED. "
    "Detected if not named."
)

ENCODER_HELP = (
    "What embeds the content: efficientnet-lite2, minilm, hashed, open_clip:MODEL/TAG or open_clip:MODEL/PATH.safetensors, which may be "
    "pinned by @REVISION and @sha256:HEX; CONTENT+TARGET names two."
)


PROXY_HELP = (
    "Also train a small CLIP on the data and look at the pictures as it sees them: captioned or labelled images, minutes for 10,000."
)


MEMORY_HELP = "What the processes started here may use together, such as 8GB; there are fewer workers then. By default all there is."
BUDGET_HELP = (
    "Time for the whole audit, such as 90m or 2h: no shard is begun after six tenths of it, the rest is for the analysis. "
    "What was not reached is in the report, and the same command goes on from there."
)


def examples(*lines: str) -> str:
    """Example commands as the end of a help text."""
    return "\n\n".join(["Examples:", *(f"    {line}" for line in lines)])


app = App(
    name="dataaudit",
    version=__version__,
    help="Tells whether a training set has been poisoned, before anyone trains on it.",
    help_epilogue=examples(
        "dataaudit scan data/ --out audit",
        "dataaudit show audit 3f2a9c",
        'dataaudit query audit "FROM scores ORDER BY risk DESC LIMIT 20"',
    ),
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def main() -> None:
    """The console entry point."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.  A deliberate error is one line on stderr, a crash a traceback."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except (DataAuditError, CycloptsError) as error:
        from dataaudit.reports.plain import visible

        print(f"dataaudit: {visible(error, 2000)}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("dataaudit: stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stdout = None
        return ERROR
    except OSError as error:
        if error.errno not in FULL:
            return crashed()
        print(f"dataaudit: {error.strerror}; make room, and the same command goes on from here", file=sys.stderr)
        return ERROR
    except Exception:  # noqa: BLE001 - nothing goes on; without this Python would exit with 1, which means findings
        return crashed()
    return code if isinstance(code, int) else NOTHING


def crashed() -> int:
    """Show the traceback of what nobody foresaw."""
    import traceback

    traceback.print_exc()
    return ERROR


@app.command(
    help_epilogue=examples(
        "dataaudit scan images-{00..09}.tar --out audit",
        "dataaudit scan mails.parquet --content body --target folder --out audit --fail-on medium",
        "dataaudit scan chats.jsonl --content messages:before --target messages:last --out audit",
        "dataaudit scan pairs.parquet --content prompt --target chosen/rejected --out audit",
        "dataaudit scan pairs-{00..09}.tar --out audit --proxy",
        "dataaudit scan s3://bucket/pairs/*.jsonl --out audit --scheduler tcp://scheduler:8786",
        "dataaudit scan corpus/ --out audit --time-budget 2h --max-memory 12GB --log audit.log --metrics dataaudit.prom",
    )
)
def scan(
    sources: Annotated[
        list[str], Parameter(help="Paths, globs or URLs of Parquet, webdataset tar, JSON Lines or image folders; one data set.")
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Where the audit directory goes.")],
    content: Annotated[str | None, Parameter(help=CONTENT_HELP)] = None,
    target: Annotated[str | None, Parameter(help=TARGET_HELP)] = None,
    id: Annotated[str | None, Parameter(help="Column that names a sample.")] = None,  # noqa: A002 - the option's name
    embedding: Annotated[str | None, Parameter(help="Column of vectors to use instead of an encoder.")] = None,
    scheduler: Annotated[str | None, Parameter(help="A running Dask scheduler, such as tcp://host:8786.")] = None,
    serial: Annotated[bool | None, Parameter(help="Everything in this process.", negative="")] = None,
    workers: Annotated[int | None, Parameter(help="Worker processes to start; by default one a core.")] = None,
    encoder: Annotated[str | None, Parameter(help=ENCODER_HELP)] = None,
    proxy: Annotated[bool | None, Parameter(help=PROXY_HELP, negative="")] = None,
    cache: Annotated[str | None, Parameter(help="Where features are kept between audits; by default in the audit directory.")] = None,
    config: Annotated[Path | None, Parameter(help="TOML file with these options and `[detectors.NAME]` settings.")] = None,
    fail_on: Annotated[SeverityName | None, Parameter(help="Exit with 1 for findings of this severity or worse; by default high.")] = None,
    max_skipped: Annotated[float | None, Parameter(help="Share of samples that may be unreadable; by default 0.001.")] = None,
    max_memory: Annotated[str | None, Parameter(help=MEMORY_HELP)] = None,
    time_budget: Annotated[str | None, Parameter(help=BUDGET_HELP)] = None,
    log: Annotated[Path | None, Parameter(help="Append what happens to this file, one JSON object a line.")] = None,
    metrics: Annotated[Path | None, Parameter(help="Keep Prometheus metrics of the run in this file (NAME.prom).")] = None,
    seed: Annotated[int | None, Parameter(help="Fix the random salt, so that two audits are alike. Not for data you distrust.")] = None,
) -> int:
    """Audit a data set.

    Exits with 1 for findings at or above --fail-on, else with 2 for an error or an incomplete audit, else with 0.
    An audit that was stopped goes on where it was when the same command is given again.
    """
    options = {
        "content": content,
        "target": target,
        "id": id,
        "embedding": embedding,
        "scheduler": scheduler,
        "serial": serial,
        "workers": workers,
        "encoder": encoder,
        "proxy": proxy,
        "cache": cache,
        "fail_on": fail_on,
        "max_skipped": max_skipped,
        "max_memory": max_memory,
        "time_budget": time_budget,
        "seed": seed,
    }
    settings = settled(config, options)
    from dataaudit import audit
    from dataaudit.observe import observers
    from dataaudit.reports import terminal

    with observers(log, metrics) as watching, bars() as bar:

        def watch(event: Progress) -> None:
            bar(event)
            for observer in watching:
                observer.progress(event)

        done = audit.scan(sources, out, settings, progress=watch)
        for observer in watching:
            observer.finished(done)
    show_out(terminal.summary(done))
    return exit_code(done, settings.fail_on)


@app.command(
    help_epilogue=examples(
        "dataaudit report audit",
    )
)
def report(directory: Path, /) -> int:
    """Print an audit's summary and write its report.html again."""
    from dataaudit.reports import html, terminal
    from dataaudit.store.directory import AuditDirectory

    audit = AuditDirectory(directory)
    html.write(directory)
    show_out(terminal.summary(audit))
    return NOTHING


@app.command(
    help_epilogue=examples(
        "dataaudit show audit 3f2a9c",
        "dataaudit show audit train-00.tar#000123",
    )
)
def show(directory: Path, id: str, /) -> int:  # noqa: A002 - what the help shows
    """Show one finding or one sample, by its id or, for a finding, the beginning of it."""
    from dataaudit.reports import terminal
    from dataaudit.store.directory import AuditDirectory

    audit = AuditDirectory(directory)
    findings = list(audit.each_finding())
    named = [f for f in findings if f.id == id] or [f for f in findings if id and f.id.startswith(id)]
    if len(named) > 1:
        raise AuditDirectoryError(f"{id!r} begins {len(named)} findings: {', '.join(f.id for f in named[:5])}; give more of it")
    if named:
        show_out(terminal.finding(named[0], audit.evidence_of(named[0].samples[:8])))
        return NOTHING
    score = audit.score(id)
    if score is None:
        raise AuditDirectoryError(
            f"{directory}: neither a finding nor a sample is called {id!r}; `dataaudit report {directory}` lists findings"
        )
    cited = {*(score.get("findings") or ())}
    show_out(terminal.sample(score, [f for f in findings if f.id in cited or id in f.samples], audit.evidence(id)))
    return NOTHING


@app.command(
    help_epilogue=examples(
        'dataaudit query audit "SELECT shard, count(*) FROM samples GROUP BY shard"',
        'dataaudit query audit "FROM scores WHERE risk > 0.4" --out suspects.parquet',
    )
)
def query(
    directory: Path,
    sql: str,
    /,
    *,
    format: Annotated[Literal["table", "csv", "json"], Parameter(help="How to print the answer.")] = "table",  # noqa: A002 - the option's name
    out: Annotated[Path | None, Parameter(help="Write the whole answer to this Parquet file instead.")] = None,
    rows: Annotated[int, Parameter(help="Print at most this many rows.")] = 10_000,
    timeout: Annotated[float, Parameter(help="Seconds after which to give up.")] = 30.0,
) -> int:
    """Ask an audit with SQL: one SELECT over findings, samples, scores and skipped.

    Files, extensions and settings are out of a query's reach.
    """
    if out is not None:
        print(f"{stored(directory, sql, out, timeout):,} rows in {out}", file=sys.stderr)
        return NOTHING
    from dataaudit.store.query import query as ask

    table = ask(directory, sql, rows + 1, timeout)
    shown = table.slice(0, rows)
    if format == "table":
        from dataaudit.reports import terminal

        show_out(terminal.answer(shown))
    else:
        sys.stdout.write(as_csv(shown) if format == "csv" else as_json(shown))
    if table.num_rows > rows:
        print(f"dataaudit: only the first {rows:,} rows; --rows or --out FILE.parquet for more", file=sys.stderr)
    return NOTHING


@app.command(
    help_epilogue=examples(
        "dataaudit explain",
        "dataaudit explain token_trigger",
    )
)
def explain(detector: str | None = None, /) -> int:
    """Explain a detector: the attack, the signal, innocent causes, the source; or list all of them."""
    import inspect
    from dataclasses import MISSING

    from dataaudit.discovery import units

    known = units("dataaudit.detectors")
    if detector is None:
        for name, unit in known.items():
            print(f"{name:20} {(inspect.getdoc(unit) or '').partition(chr(10))[0]}")
        return NOTHING
    if detector not in known:
        raise ConfigurationError(f"no detector {detector!r}; there are {', '.join(known)}")
    print(f"{detector}\n\n{inspect.getdoc(known[detector]) or ''}\n\nSettings, [detectors.{detector}] in a --config file:")
    for field in fields(known[detector]):
        print(f"  {field.name} = {'' if field.default is MISSING else field.default!r}")
    return NOTHING


@app.command(
    help_epilogue=examples(
        "dataaudit doctor",
        "dataaudit doctor --encoder open_clip:ViT-B-32/weights.safetensors",
    )
)
def doctor(
    *,
    cluster: Annotated[bool, Parameter(help="Start a worker too; takes a few seconds.")] = True,
    encoder: Annotated[str | None, Parameter(help="Also load this encoder, and print the name that pins it.")] = None,
) -> int:
    """Check whether this machine can run an audit, and say what to do if not."""
    from rich.text import Text

    from dataaudit import doctor as examine

    tones = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    failed = False
    for check in examine.checks(cluster, encoder):
        failed |= check.status == "fail"
        line = Text.assemble(
            (f"{check.status:5}", tones[check.status]), f"{check.what:28} {check.found}", (f"  → {check.do}" if check.do else "")
        )
        console().print(line, soft_wrap=True)
    return ERROR if failed else NOTHING


def settled(config: Path | None, options: Mapping[str, object]) -> Settings:
    """The settings: defaults, then the file, then the options given."""
    from dataaudit.model import Settings

    given = {name: value for name, value in options.items() if value is not None}
    return Settings(**(configured(config) if config else {}) | given)  # type: ignore[arg-type]


def configured(path: Path) -> dict[str, object]:
    """The settings of a TOML file; an unknown key or a value of another type raises."""
    import tomllib

    from dataaudit.model import SEVERITIES, Settings

    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: not a readable TOML file ({error})") from error
    kinds: dict[str, tuple[type, ...]] = {f.name: (str,) for f in fields(Settings)}
    kinds |= {"workers": (int,), "seed": (int,), "max_skipped": (int, float), "serial": (bool,), "proxy": (bool,), "detectors": (dict,)}
    for name, value in read.items():
        if name not in kinds:
            raise ConfigurationError(f"{path}: no setting {name!r}; there are {', '.join(sorted(kinds))}")
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and bool not in kinds[name]):
            raise ConfigurationError(f"{path}: {name} must be {kinds[name][-1].__name__}, got {value!r}")
    if read.get("fail_on", "high") not in SEVERITIES:
        raise ConfigurationError(f"{path}: fail_on must be one of {', '.join(SEVERITIES)}, got {read['fail_on']!r}")
    for name, section in read.get("detectors", {}).items():
        if not isinstance(section, dict):
            raise ConfigurationError(f"{path}: [detectors.{name}] must be a table of settings, got {section!r}")
    return read


def exit_code(audit: AuditDirectory, fail_on: Severity) -> int:
    """1 for a finding at or above `fail_on`, else 2 for an incomplete audit, else 0."""
    from dataaudit.model import SEVERITIES

    summary = audit.summary
    if summary["verdict"]["kind"] == "incomplete":
        return ERROR
    found = set(audit.table("findings", columns=["severity"]).column("severity").to_pylist())
    if found & set(SEVERITIES[[*SEVERITIES].index(fail_on) :]):
        return FINDINGS
    # The verdict speaks of campaigns first: what was not read must not hide behind one that nobody asked to fail for.
    seen = summary["coverage"]
    unread = seen["skipped_samples"] / max(1, seen["samples"] + seen["skipped_samples"])
    return ERROR if seen["skipped_shards"] or unread > summary["settings"]["max_skipped"] else NOTHING


def stored(directory: Path, sql: str, out: Path, timeout: float) -> int:
    """Stream an answer into a Parquet file; returns its rows."""
    import pyarrow.parquet as pq

    from dataaudit.store.query import answer
    from dataaudit.store.records import atomic

    if directory.resolve() in out.resolve().parents:
        raise ConfigurationError(f"--out {out} lies in the audit directory, which a query never changes; write it elsewhere")
    rows = 0
    with answer(directory, sql, timeout) as streamed, atomic(out) as file, pq.ParquetWriter(file, streamed.schema) as writer:
        for batch in streamed.batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def as_csv(table: Any) -> str:
    """CSV with a header; invisible characters shown on a terminal, lists as JSON."""
    import csv
    import io
    import json

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        writer.writerow([printable(json.dumps(v) if isinstance(v, list) else v) for v in row.values()])
    return out.getvalue()


def as_json(table: Any) -> str:
    """One JSON object a line; what is not ASCII is escaped, so it cannot command a terminal."""
    import json

    return "".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist())


def printable(value: object) -> object:
    """Text for a terminal is made visible; for a file or a pipe it stays as it is."""
    if isinstance(value, str) and sys.stdout.isatty():
        from dataaudit.reports.plain import visible

        return visible(value, 10_000)
    return value


def console(stderr: bool = False) -> Console:
    """Where to print: narrow pipes get wide lines, and no markup is interpreted."""
    from rich.console import Console

    out = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    return out if out.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=160)


def show_out(what: RenderableType) -> None:
    """Print to stdout."""
    console().print(what)


@contextmanager
def bars() -> Iterator[Callable[[Progress], None]]:
    """A progress bar a stage, on stderr; nothing where stderr is no terminal."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:18.18}"),
        progress.BarColumn(bar_width=12),
        progress.TextColumn("{task.fields[pieces]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[samples]}"),
    )
    terminal = console(stderr=True)
    with progress.Progress(*columns, console=terminal, disable=not terminal.is_terminal, speed_estimate_period=600) as shown:
        tasks: dict[str, progress.TaskID] = {}
        begun: dict[str, float] = {}

        def watch(event: Progress) -> None:
            if event.note:
                shown.print(event.note) if terminal.is_terminal else None
                return
            task = tasks.get(event.stage)
            if task is None:
                task = tasks[event.stage] = shown.add_task(event.stage, total=None, samples="", pieces="")
                begun[event.stage] = time.monotonic()
            rate = event.samples / max(time.monotonic() - begun[event.stage], 1.0)
            samples = f"{event.samples:,} samples, {rate:,.0f}/s" if event.samples else ""
            # Shards differ in size, so that what is left is told by bytes where these are known.
            done, total = (event.bytes, event.of_bytes) if event.of_bytes else (event.done, event.total)
            shown.update(task, completed=done, total=total, samples=samples, pieces=f"{event.done}/{event.total}")

        yield watch


if __name__ == "__main__":
    main()
