"""Both engines give every item its result, whatever dies meanwhile."""

import os
import threading
import time
from pathlib import Path

import dask
import pytest

from dataaudit.engine import Lost, Serial
from dataaudit.engine.distributed import connect, local
from dataaudit.errors import EngineError


def square(n: int) -> int:
    return n * n


def die_once(path: str) -> str:
    """Takes its worker along the first time, as an out-of-memory kill does."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), 9)
    return "survived"


def always_die(_: int) -> None:
    os.kill(os.getpid(), 9)


def crash(n: int) -> int:
    raise ValueError(f"item {n} is wrong")


@pytest.fixture(scope="module")
def cluster():
    with local(2) as engine:
        yield engine


def test_every_item_has_its_result_on_both_engines(cluster):
    items = list(range(23))
    assert dict(Serial().map(square, items)) == dict(cluster.map(square, items)) == {n: n * n for n in items}


def test_no_items_are_no_results(cluster):
    assert list(cluster.map(square, [])) == []


def test_an_exception_is_raised_here_and_not_lost(cluster):
    for engine in (Serial(), cluster):
        with pytest.raises(ValueError, match="item 1 is wrong"):
            list(engine.map(crash, [1]))


def test_a_worker_that_dies_takes_nothing_with_it(cluster, tmp_path):
    assert list(cluster.map(die_once, [str(tmp_path / "died")])) == [(str(tmp_path / "died"), "survived")]


def test_an_item_that_kills_its_workers_is_lost_and_says_so():
    with local(1) as engine:
        ((item, result),) = engine.map(always_die, [7])
    assert item == 7
    assert isinstance(result, Lost)
    assert "died" in result.reason


def test_a_running_scheduler_is_used_and_left_running(cluster):
    with connect(cluster.address) as engine:
        assert engine.workers == 2
        assert dict(engine.map(square, [3])) == {3: 9}
    assert dict(cluster.map(square, [4])) == {4: 16}


def test_a_scheduler_that_goes_away_ends_the_work_and_is_named():
    with local(1) as engine:
        away = threading.Timer(1, engine.cluster.close)
        away.start()
        with pytest.raises(EngineError, match="scheduler is gone"):
            list(engine.map(time.sleep, [60]))
        away.join()


def test_a_scheduler_that_is_not_there_is_named():
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:1 .*dask scheduler"):
        connect("tcp://127.0.0.1:1", timeout=1)


def test_an_address_without_the_encryption_that_is_required_is_said_so():
    with dask.config.set({"distributed.comm.require-encryption": True}), pytest.raises(EngineError, match="TLS settings"):
        connect("tcp://127.0.0.1:1", timeout=1)


def test_a_tls_address_without_a_certificate_is_said_so():
    with pytest.raises(EngineError, match="TLS settings"):
        connect("tls://127.0.0.1:1", timeout=1)


def test_nobody_elses_dask_computes_on_our_workers_or_looks_for_them(cluster):
    assert cluster.client.nthreads()
    assert dask.config.get("scheduler", None) is None
