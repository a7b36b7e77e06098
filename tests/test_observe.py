"""A run tells machines what it does: JSON lines as it goes on, and metrics that Prometheus can read."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataaudit.cli import run
from dataaudit.errors import ConfigurationError
from dataaudit.model import Progress
from dataaudit.observe import EVERY, Metrics, observers
from tests.planted import corpus, poison, write_shards


def values(path):
    """Metric values by name and labels."""
    families = text_string_to_metric_families(path.read_text())
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_a_scan_leaves_a_log_and_metrics(tmp_path, capsys):
    data = write_shards(poison(corpus()), tmp_path / "data", 3)
    log, metrics = tmp_path / "run.log", tmp_path / "run.prom"
    options = ["--serial", "--encoder", "hashed", "--seed", "7", "--log", str(log), "--metrics", str(metrics)]
    assert run(["scan", str(data), "--out", str(tmp_path / "audit"), *options]) == 1
    events = [json.loads(line) for line in log.read_text().splitlines()]
    read = [e for e in events if e.get("stage") == "extract"]
    assert [(e["done"], e["total"]) for e in read] == [(1, 3), (2, 3), (3, 3)]
    assert read[-1]["samples"] == 600
    assert read[-1]["bytes"] == read[-1]["of_bytes"] == sum(p.stat().st_size for p in data.iterdir())
    assert events[-1]["event"] == "finished"
    assert events[-1]["verdict"] == "poisoned"
    assert all(e["time"].endswith("+00:00") for e in events)
    told = values(metrics)
    assert told["dataaudit_shards",] == told["dataaudit_shards_total",] == 3
    assert told["dataaudit_samples",] == 600
    assert told["dataaudit_skipped",] == 0
    assert told["dataaudit_verdict", "poisoned"] == 1
    assert told["dataaudit_findings", "campaign", "critical"] == 1
    assert told["dataaudit_finished_timestamp_seconds",] > 1.7e9
    assert {"extract", "aggregate", "detect", "judge"} <= {key[1] for key in told if key[0] == "dataaudit_stage_seconds"}
    capsys.readouterr()


def test_metrics_are_written_now_and_then_and_add_up_the_seconds_of_a_stage(tmp_path):
    now = [0.0]
    metrics = Metrics(tmp_path / "a.prom", clock=lambda: now[0])
    for at, stage in ((1.0, "extract"), (2.0, "extract"), (2.5, "aggregate a"), (2.0 + EVERY, "aggregate b, c")):
        now[0] = at
        metrics.progress(Progress(stage, 1, 2, samples=int(at)))
    told = values(tmp_path / "a.prom")
    assert told["dataaudit_stage_seconds", "extract"] == 2
    assert told["dataaudit_stage_seconds", "aggregate"] == EVERY
    assert told["dataaudit_samples",] == 2
    now[0] += 1
    metrics.progress(Progress("detect", 1, 1))
    assert ("dataaudit_stage_seconds", "detect") not in values(tmp_path / "a.prom")


@pytest.mark.parametrize("which", ["log", "metrics"])
def test_a_file_that_cannot_be_written_is_said_before_any_work(tmp_path, which):
    wanted = {"log": None, "metrics": None, which: tmp_path / "nowhere" / "file"}
    with pytest.raises(ConfigurationError, match="cannot be written"), observers(**wanted):
        pass


def test_hostile_names_stay_data_in_the_log(tmp_path):
    path = tmp_path / "log"
    with observers(path, None) as (log,):
        log.progress(Progress('a\n{"event": "finished"}\x1b[2J', 1, 1))
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["event"] == "progress"
    assert "\x1b" not in line
