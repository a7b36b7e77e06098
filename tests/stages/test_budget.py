"""A scan within limits of time and memory looks at what it can, says what it did not reach, and goes on the next time."""

import time

import pyarrow.parquet as pq
import pytest

import dataaudit
from dataaudit.cli import run
from dataaudit.engine import Serial
from dataaudit.engine.distributed import LEAST_MEMORY, OWN_MEMORY, shared_out
from dataaudit.errors import ConfigurationError
from dataaudit.model import READING, Settings
from dataaudit.stages.extract import BUDGET, extract, extract_shard
from dataaudit.stages.inventory import prepare
from tests.planted import contents, corpus, write_shards

SHARDS = 12
SETTINGS = Settings(content="text", target="label", encoder="hashed", serial=True, seed=7)


def slowly(monkeypatch, seconds):
    """Reading a shard takes at least so long."""
    from dataaudit.stages import extract as stage

    original = stage._extract_once

    def reading(*given):
        time.sleep(seconds)
        return original(*given)

    monkeypatch.setattr(stage, "_extract_once", reading)


def test_what_is_not_reached_is_said_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    data = write_shards(corpus(240), tmp_path / "data", SHARDS)
    command = ["scan", str(data), "--out", str(tmp_path / "audit"), "--serial", "--seed", "7", "--encoder", "hashed"]
    slowly(monkeypatch, 0.4)
    assert run([*command, "--time-budget", "4s"]) == 2
    summary = dataaudit.open(tmp_path / "audit").summary
    unreached = summary["coverage"]["unreached"]
    assert 0 < unreached < SHARDS
    assert summary["verdict"]["kind"] == "incomplete"
    assert f"{unreached} shards were not reached within the time budget" in summary["verdict"]["sentence"]
    assert summary["samples"] == (SHARDS - unreached) * 20
    skipped = pq.read_table(tmp_path / "audit" / "skipped.parquet").to_pylist()
    assert sum("time budget" in s["reason"] for s in skipped) == unreached
    assert "not reached" in capsys.readouterr().out

    slowly(monkeypatch, 0)
    assert run([*command, "--time-budget", "1h"]) == 0
    dataaudit.scan([data], tmp_path / "straight", SETTINGS)
    assert contents(tmp_path / "audit") == contents(tmp_path / "straight")
    capsys.readouterr()


def test_finished_shards_count_however_late_it_is_and_the_order_is_not_that_of_names(tmp_path):
    data = write_shards(corpus(240), tmp_path / "data", SHARDS)
    prepared = prepare([str(data)], tmp_path / "audit", SETTINGS)
    seen = []
    some = Serial()
    late = extract(prepared.shards, prepared.plan, prepared.cache, some, until=time.time() - 1)
    assert not any(e.rows for e in late)
    extract(prepared.shards[:5], prepared.plan, prepared.cache, some)
    late = extract(prepared.shards, prepared.plan, prepared.cache, some, until=time.time() - 1)
    assert [bool(e.rows) for e in late] == [True] * 5 + [False] * 7
    assert [e.shard.name for e in late] == [s.name for s in prepared.shards]

    class Noting(Serial):
        def map(self, function, items):
            for item, result in super().map(function, items):
                seen.append(item.name)
                yield item, result

    extract(prepared.shards, prepared.plan, prepared.cache, Noting(), until=time.time() + 600)
    assert sorted(seen[5:]) == [s.name for s in prepared.shards[5:]]
    assert seen[5:] != sorted(seen[5:])


def test_a_shard_that_waited_for_a_worker_beyond_the_budget_is_not_begun(tmp_path):
    data = write_shards(corpus(240), tmp_path / "data", SHARDS)
    prepared = prepare([str(data)], tmp_path / "audit", SETTINGS)
    given = {"plan": prepared.plan, "cache": prepared.cache, "kept": "recipe"}
    waited = extract_shard(prepared.shards[0], **given, until=time.time() - 1)
    assert (waited.rows, [s.stage for s in waited.skipped]) == (0, [BUDGET])
    assert extract_shard(prepared.shards[0], **given, until=time.time() + 600).rows
    assert extract_shard(prepared.shards[0], **given, until=time.time() - 1).rows, "what is finished counts, however late it is"


@pytest.mark.parametrize(("told", "seconds"), [("90s", 90), ("90 m", 5400), ("1.5h", 5400), ("2d", 172_800)])
def test_a_budget_is_an_amount_of_time(told, seconds):
    assert Settings(time_budget=told).seconds_to_read == pytest.approx(READING * seconds)


@pytest.mark.parametrize("setting", ["time_budget", "max_memory"])
@pytest.mark.parametrize("told", ["", "5", "h", "-1h", "0s", "0GB", "1e3GB", "ten GB", "5 parsecs"])
def test_anything_else_is_refused(setting, told):
    with pytest.raises(ConfigurationError, match=setting):
        _ = Settings(**{setting: told}).memory_bytes


def test_memory_is_shared_out_among_as_many_workers_as_can_do_with_it():
    assert Settings(max_memory="8GB").memory_bytes == 8 * 10**9
    assert shared_out(OWN_MEMORY + 4 * LEAST_MEMORY, 2) == (2, 2 * LEAST_MEMORY)
    assert shared_out(OWN_MEMORY + 2 * LEAST_MEMORY - 1, 4) == (1, 2 * LEAST_MEMORY - 1)
    with pytest.raises(ConfigurationError, match="3GiB or more"):
        shared_out(LEAST_MEMORY, 2)


def test_memory_of_a_cluster_is_not_ours_to_bound():
    with pytest.raises(ConfigurationError, match="have their own limits"):
        Settings(max_memory="8GB", scheduler="tcp://x:1")
