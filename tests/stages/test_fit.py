"""A proxy is trained beside everything else: the same however the data lies and whoever runs it, and nothing else notices."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import dataaudit
from dataaudit.audit import Audit
from dataaudit.cli import run
from dataaudit.engine import Serial
from dataaudit.features.encoders import proxy
from dataaudit.model import Progress, Settings
from dataaudit.stages.extract import Extracted, extract
from dataaudit.stages.fit import fit, pairs_of
from tests.planted import contents
from tests.test_captions import pairs, written

SETTINGS = Settings(seed=3, encoder="efficientnet-lite2+hashed", proxy=True, detectors={"proxy": {"least": 50}})
PAIRS = pairs(0)[:90]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("fit") / "data", PAIRS, shards=3)


def begun(data: Path, out: Path) -> tuple[Audit, list[Extracted]]:
    """An audit after extraction."""
    audit = Audit.begin([str(data)], out, replace(SETTINGS, serial=True))
    return audit, extract(audit.prepared.shards, audit.prepared.plan, audit.prepared.cache, Serial())


def checkpoints(audit: Audit) -> list[bytes]:
    return [path.read_bytes() for path in sorted((audit.prepared.cache.root / "proxies").iterdir())]


def test_a_run_that_was_stopped_goes_on_to_the_same_proxy(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "VISION", proxy.VISION | {"width": 8})
    straight, shards = begun(data, tmp_path / "straight")
    plan = fit(shards, straight.prepared.plan, straight.prepared.cache, Serial())
    stopped, again = begun(data, tmp_path / "stopped")

    def stop(event: Progress) -> None:
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(again, stopped.prepared.plan, stopped.prepared.cache, Serial(), stop)
    assert fit(again, stopped.prepared.plan, stopped.prepared.cache, Serial()) == plan
    assert checkpoints(stopped) == checkpoints(straight)
    assert len(checkpoints(straight)) == 1, "only the last checkpoint is kept"
    for shard in shards:
        seen = pq.read_table(straight.prepared.cache.features(plan.proxy, shard.table))
        assert seen.column_names == [proxy.COLUMN]
        assert seen.num_rows == shard.rows


def test_other_shards_teach_the_same_pairs(data: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "data", PAIRS[::-1], shards=2)
    learnt = []
    for folder, out in ((data, tmp_path / "a"), (other, tmp_path / "b")):
        audit, shards = begun(folder, out)
        tables = sorted((e.table, e.features) for e in shards)
        learnt.append(pairs_of(tables, audit.prepared.plan, audit.prepared.cache))
        few = pairs_of(tables, audit.prepared.plan, audit.prepared.cache, most=10)
        assert few.captions == learnt[-1].captions[:10]
    one, another = learnt
    assert one.captions == another.captions
    assert np.array_equal(one.pictures, another.pictures)
    assert len(one.captions) == len(PAIRS)


def test_one_process_and_a_flow_on_a_cluster_say_the_same_and_features_are_used_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = replace(SETTINGS, serial=True, proxy=False, detectors={}, cache=str(tmp_path / "cache"))
    dataaudit.scan([data], tmp_path / "without", without)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file() and "scores" not in path.parts}
    serial = dataaudit.scan([data], tmp_path / "serial", replace(SETTINGS, serial=True, cache=str(tmp_path / "cache")))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    new = {path.relative_to(tmp_path / "cache").parts[0] for path in (tmp_path / "cache").rglob("*") if path.is_file() and path not in kept}
    assert new == {"features", "proxies", "scores", "states", "views"}
    assert len([*(tmp_path / "cache" / "views").iterdir()]) == sum("views" in path.parts for path in kept) + 1

    scores = pq.read_table(serial.path / "scores").column("proxy").to_numpy()
    assert len(set(scores.tolist())) > len(PAIRS) / 2

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    from prefect.testing.utilities import prefect_test_harness

    from flows.audit import run as flow

    with prefect_test_harness(server_startup_timeout=120):
        flow([str(data)], tmp_path / "flow", replace(SETTINGS, workers=2))
    assert contents(tmp_path / "flow") == contents(serial.path)


def test_pairs_without_a_caption_are_not_learnt(tmp_path: Path) -> None:
    some = [(picture, "" if number < 10 else said) for number, (picture, said) in enumerate(PAIRS)]
    audit, shards = begun(written(tmp_path / "data", some), tmp_path / "audit")
    tables = sorted((e.table, e.features) for e in shards)
    assert len(pairs_of(tables, audit.prepared.plan, audit.prepared.cache).captions) == len(PAIRS) - 10


def test_labels_become_captions(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for number, (picture, said) in enumerate(PAIRS):
            for ending, content in (("png", picture), ("cls", said.split()[-1].encode())):
                member = tarfile.TarInfo(f"{number:06d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    audit, shards = begun(tmp_path / "data.tar", tmp_path / "audit")
    tables = sorted((e.table, e.features) for e in shards)
    assert all(c.startswith("a photo of a ") for c in pairs_of(tables, audit.prepared.plan, audit.prepared.cache).captions)


def test_what_no_proxy_can_learn_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "a letter", "label": "post"}\n' * 3)
    assert run(["scan", str(tmp_path / "texts.jsonl"), "--out", str(tmp_path / "audit"), "--serial", "--proxy"]) == 2
    assert "a proxy learns from pictures with captions or labels" in capsys.readouterr().err


def test_without_one_the_audit_says_how_to_get_it(data: Path, tmp_path: Path) -> None:
    audit, _ = begun(data, tmp_path / "audit")
    from dataaudit.detectors.proxy import Proxy

    assert Proxy().unavailable(audit.prepared.plan) == "no proxy was asked for (--proxy)"
    assert Proxy().unavailable(replace(audit.prepared.plan, proxy="x")) is None
    assert "labels" in (Proxy().unavailable(replace(audit.prepared.plan, modality="text")) or "")
