import errno
import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataaudit import audit as api
from dataaudit.cli import exit_code, run
from dataaudit.doctor import behaves, cache, named, weights
from dataaudit.errors import SourceError
from dataaudit.features.encoders import text
from dataaudit.model import Progress
from dataaudit.store.directory import AuditDirectory
from tests.features.encoders import tiny
from tests.reports.make_audit import HOSTILE, make_audit


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    return make_audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def scanned(monkeypatch, tmp_path):
    """A fake of the Python API's `scan`: remembers how it was called and hands out a made-up audit."""
    calls = []

    def scan(sources, out, settings, progress):
        calls.append((sources, out, settings))
        progress(Progress("extract", 1, 2, 100))
        progress(Progress("extract", 2, 2, 200))
        return AuditDirectory(make_audit(tmp_path / "made", **scan.audit))

    scan.audit = {}
    scan.calls = calls
    monkeypatch.setattr(api, "scan", scan)
    return scan


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | environment)


def test_help_loads_nothing_heavy():
    heavy = ("numpy", "pyarrow", "pandas", "torch", "dask", "duckdb", "faiss", "onnxruntime", "prefect", "scipy", "numba", "jinja2")
    done = python(f"import sys; from dataaudit.cli import run; run(['--help']); print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout.strip().endswith("[]"), done.stdout[-300:]
    assert "Tells whether a training set has been poisoned" in done.stdout


def test_help_answers_at_once():
    def spent():
        before = os.times()
        python("from dataaudit.cli import run; run(['--help'])")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(spent() for _ in range(3)) < 0.5, "seconds of processor time: the wall clock depends on who else is at work"


@pytest.mark.parametrize("command", ["scan", "report", "show", "query", "explain"])
def test_every_command_has_examples(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"dataaudit {command}" in capsys.readouterr().out.split("Examples:")[1]


def test_findings_make_exit_code_1_and_none_0(scanned, tmp_path, capsys):
    assert run(["scan", "a.tar", "b.tar", "--out", str(tmp_path / "o")]) == 1
    shown = capsys.readouterr()
    assert "Evidence of poisoning: 3 campaigns" in shown.out
    assert "blue heron" in shown.out
    assert shown.err == ""
    scanned.audit = {"campaigns": 0, "hostile": False}
    assert run(["scan", "a.tar", "--out", str(tmp_path / "o")]) == 0
    assert run(["scan", "a.tar", "--out", str(tmp_path / "o"), "--fail-on", "medium"]) == 1
    assert scanned.calls[0][0] == ["a.tar", "b.tar"]


def test_an_incomplete_audit_is_an_error(scanned, tmp_path, monkeypatch):
    scanned.audit = {"campaigns": 0, "hostile": False, "others": 0}
    whole = AuditDirectory.summary.func
    incomplete = property(lambda self: whole(self) | {"verdict": {"kind": "incomplete", "sentence": "The audit is incomplete."}})
    monkeypatch.setattr(AuditDirectory, "summary", incomplete)
    assert run(["scan", "a.tar", "--out", str(tmp_path / "o")]) == 2


@pytest.mark.parametrize(("unread", "code"), [({}, 0), ({"skipped_shards": 1}, 2), ({"skipped_samples": 500}, 2)])
def test_what_could_not_be_read_does_not_hide_behind_a_campaign_that_fails_nothing(tmp_path, unread, code):
    audit = AuditDirectory(make_audit(tmp_path / "audit"))
    audit.summary["coverage"].update(unread)
    audit.summary["verdict"]["kind"] = "poisoned"
    assert exit_code(audit, "critical") == (1 if "critical" in set(audit.findings["severity"]) else code)
    pq.write_table(audit.table("findings").slice(0, 0), audit.path / "findings.parquet")
    assert exit_code(audit, "critical") == code


def test_options_go_over_the_file_and_the_file_over_the_defaults(scanned, tmp_path):
    config = tmp_path / "audit.toml"
    config.write_text('content = "body"\ntarget = "folder"\nmax_skipped = 0\n[detectors.token_trigger]\nmin_count = 9\n')
    run(["scan", "a", "--out", str(tmp_path / "o"), "--config", str(config), "--target", "label", "--serial", "--seed", "7"])
    settings = scanned.calls[0][2]
    assert (settings.content, settings.target, settings.serial, settings.seed) == ("body", "label", True, 7)
    assert (settings.max_skipped, settings.fail_on, settings.workers) == (0, "high", None)
    assert settings.detectors == {"token_trigger": {"min_count": 9}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contents = 'x'", "no setting 'contents'"),
        ("workers = 'two'", "workers must be int"),
        ("workers = true", "workers must be int"),
        ("serial = 1", "serial must be bool"),
        ("fail_on = 'awful'", "fail_on must be one of"),
        ("[detectors]\ntoken_trigger = 3", "must be a table"),
        ("content = ", "not a readable TOML"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(scanned, tmp_path, capsys, text, says):
    config = tmp_path / "audit.toml"
    config.write_text(text)
    assert run(["scan", "a", "--out", str(tmp_path / "o"), "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not scanned.calls


def test_errors_are_one_line_and_crashes_a_traceback_both_exit_2(monkeypatch, tmp_path, capsys):
    def failing(error):
        def scan(*_, **__):
            raise error

        monkeypatch.setattr(api, "scan", scan)
        return run(["scan", "a", "--out", str(tmp_path / "o")]), capsys.readouterr().err

    code, said = failing(SourceError("no such\x1b[31m source\nhere"))
    assert (code, said.count("\n")) == (2, 1)
    assert "⟦U+001B⟧[31m source ⏎ here" in said
    code, said = failing(ZeroDivisionError("a detector crashed"))
    assert code == 2
    assert "Traceback" in said
    assert failing(KeyboardInterrupt()) == (130, "dataaudit: stopped; the same command goes on from here\n")


@pytest.mark.parametrize(
    "arguments", [["scan"], ["scan", "a"], ["nonsense"], ["show", "x"], ["scan", "a", "--out", "o", "--fail-on", "awful"]]
)
def test_wrong_usage_exits_2(arguments, capsys):
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("dataaudit: ")


def test_report_is_written_again(audited, capsys):
    (audited / "report.html").unlink(missing_ok=True)
    assert run(["report", str(audited)]) == 0
    assert (audited / "report.html").stat().st_size < 5 << 20
    assert not {"\x1b", "\u202e", "\u200b"} & set(capsys.readouterr().out)


def test_show_a_finding_by_the_beginning_of_its_id_and_a_sample(audited, capsys):
    assert run(["show", str(audited), "text"]) == 0
    shown = capsys.readouterr().out
    assert "«blue heron»" in shown
    assert "and 9 more samples" in shown
    assert run(["show", str(audited), "train-0.tar#00001"]) == 0
    shown = capsys.readouterr().out
    assert "image0000" in shown
    assert "0.98" in shown
    assert run(["show", str(audited), "hostile0001"]) == 0
    shown = capsys.readouterr().out
    assert "[bold]rich[/bold]" in shown
    assert not {"\x1b", "\u202e", "\u200b"} & set(shown)


def test_show_says_what_is_unknown_or_unclear(audited, tmp_path, capsys):
    assert run(["show", str(audited), "nobody"]) == 2
    assert "neither a finding nor a sample" in capsys.readouterr().err
    assert run(["show", str(audited), "other"]) == 2
    assert "give more of it" in capsys.readouterr().err
    assert run(["show", str(tmp_path), "x"]) == 2


def test_query_prints_tables_csv_and_json_and_says_when_it_cuts(audited, capsys):
    ask = ["query", str(audited), "SELECT sample_id, risk FROM scores ORDER BY risk DESC"]
    assert run([*ask, "--rows", "2", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1] == "train-0.tar#00000,0.99"
    assert len(shown.out.splitlines()) == 3
    assert "only the first 2 rows" in shown.err
    assert run(["query", str(audited), "SELECT subject FROM skipped LIMIT 1", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["subject"] == f"{HOSTILE}#0"
    assert "\u202e" not in shown.out
    assert run(["query", str(audited), "SELECT subject FROM skipped LIMIT 1"]) == 0
    assert "⟦U+202E⟧" in capsys.readouterr().out


def test_query_stores_a_whole_answer_but_never_in_the_audit(audited, tmp_path, capsys):
    assert run(["query", str(audited), "FROM scores", "--out", str(tmp_path / "all.parquet")]) == 0
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 20_000
    assert run(["query", str(audited), "FROM scores", "--out", str(audited / "scores.parquet")]) == 2
    assert not (audited / "scores.parquet").exists()
    assert run(["query", str(audited), "COPY scores TO 'x'"]) == 2
    assert capsys.readouterr().err.endswith("\n")


def test_explain_lists_and_tells(capsys):
    assert run(["explain"]) == 0
    assert "outlier" in capsys.readouterr().out
    assert run(["explain", "outlier"]) == 0
    shown = capsys.readouterr().out
    assert "Innocent causes" in shown
    assert "[detectors.outlier]" in shown
    assert run(["explain", "nothing"]) == 2


def test_doctor_tells_good_weights_and_places_from_bad_ones(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"weights")

    good = hashlib.sha256(b"weights").hexdigest()
    assert weights("w", file, good).status == "ok"
    assert (weights("w", file, "0" * 64).status, weights("w", tmp_path / "absent", good).status) == ("fail", "fail")
    assert cache(tmp_path / "new").status in ("ok", "warn")
    bad = cache(file)
    assert bad.status == "fail"
    assert "DATAAUDIT_CACHE" in bad.do


def test_doctor_runs_without_starting_workers(capsys):
    assert run(["doctor", "--no-cluster"]) in (0, 2)
    shown = capsys.readouterr().out
    assert "encoder minilm" in shown
    assert "one started" not in shown
    for name in ("efficientnet-lite2", "minilm", "hashed"):
        assert re.search(rf"ok +behaviour of {name} +as expected", shown)


def test_doctor_prints_the_name_that_pins_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "cache"))
    file = tiny.write(tmp_path)
    name = f"open_clip:{tiny.MODEL}/{file}"
    found = list(named(f"{name}+hashed"))
    assert [c.status for c in found] == ["ok"] * 5
    assert found[0].found == f"is {name}@sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert "first scan" in found[1].found
    assert [c.status for c in named(f"{name}@sha256:{'0' * 64}")] == ["fail"]


def test_doctor_tells_an_encoder_that_does_something_else(monkeypatch):
    monkeypatch.setattr(text.Hashed, "encode", lambda self, items: np.eye(len(items), 256, dtype=np.float32))
    check = behaves("hashed", "texts")
    assert check.status == "fail"
    assert "does not behave" in check.do


def test_a_full_disk_is_one_line_and_any_other_failure_of_storage_a_traceback(monkeypatch, tmp_path, capsys):
    for number, line in ((errno.ENOSPC, "dataaudit: No space left on device; make room"), (errno.EIO, "Traceback")):

        def scan(*_, number=number, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(api, "scan", scan)
        assert run(["scan", "data", "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.startswith(line)
