"""A scan that is killed goes on where it stopped, and says the same in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from dataaudit.audit import Audit
from dataaudit.model import Settings
from tests.planted import contents, corpus, poison, write_shards

SHARDS = 60


def command(data, out):
    return [sys.executable, "-m", "dataaudit.cli", "scan", str(data), "--out", str(out), "--serial", "--seed", "7", "--encoder", "hashed"]


def markers(out):
    return {p.name: p.stat().st_mtime_ns for p in (out / "features" / "markers").glob("*.json")}


def test_kill_9_midway_then_the_same_command(tmp_path):
    data = write_shards(poison(corpus()), tmp_path / "data", SHARDS)
    killed, straight = tmp_path / "killed", tmp_path / "straight"

    process = subprocess.Popen(command(data, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(markers(killed)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = markers(killed)
    assert 5 <= len(finished) < SHARDS, "the kill came too late or too early to show anything"
    assert not (killed / "audit.json").exists()

    assert subprocess.run(command(data, killed), capture_output=True).returncode == 1
    assert subprocess.run(command(data, straight), capture_output=True).returncode == 1
    assert {name: markers(killed)[name] for name in finished} == finished, "a finished shard was extracted again"
    assert len(markers(killed)) == SHARDS
    assert contents(killed) == contents(straight)


def test_the_salt_stays_with_the_cache_and_out_of_the_report(tmp_path):
    data = write_shards(corpus(60), tmp_path / "data", 2)
    arguments = [a for a in command(data, tmp_path / "audit") if a not in ("--seed", "7")]
    first = subprocess.run(arguments, capture_output=True)
    assert first.returncode == 0, first.stderr.decode()
    salt = (tmp_path / "audit" / "features" / "salt").read_text()
    before = contents(tmp_path / "audit")
    assert subprocess.run(arguments, capture_output=True).returncode == 0
    assert contents(tmp_path / "audit") == before
    assert salt not in json.dumps(before)
    assert salt not in (tmp_path / "audit" / "report.html").read_text()
    assert (tmp_path / "audit" / "features" / "salt").stat().st_mode & 0o077 == 0


def test_relative_folders_are_those_of_the_command_wherever_a_worker_stands(tmp_path, monkeypatch):
    data = write_shards(corpus(60), tmp_path / "data", 1)
    monkeypatch.chdir(tmp_path)
    settings = Settings(serial=True, encoder="hashed", seed=7)
    for chosen, cache in ((settings, tmp_path / "out" / "features"), (replace(settings, cache="kept"), tmp_path / "kept")):
        audit = Audit.begin([str(data)], Path("out"), chosen)
        assert (audit.out, audit.prepared.cache.root) == (tmp_path / "out", cache)
