"""Both engines give every item its result, whatever dies meanwhile."""

import os
import threading
import time
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from dataaudit.engine import Lost, Serial, distributed
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


def die_on_three(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), 9)
    return n


def where(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


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


def test_items_beside_one_that_kills_its_workers_are_not_lost_with_it():
    with local(1) as engine:
        results = dict(engine.map(die_on_three, range(8)))
    assert isinstance(results.pop(3), Lost)
    assert results == {n: n for n in range(8) if n != 3}


def test_a_thousand_small_items_take_no_longer_than_dask_does(cluster):
    list(cluster.map(square, range(20)))
    began = time.monotonic()
    assert dict(cluster.map(square, range(1000))) == {n: n * n for n in range(1000)}
    assert time.monotonic() - began < 10  # 3 s on two cores that have nothing else to do


def test_a_cluster_that_grows_meanwhile_has_work_for_all_its_workers(monkeypatch):
    monkeypatch.setattr(distributed, "WINDOW", 2)
    monkeypatch.setattr(distributed, "LOOK_AGAIN", 0.1)
    with local(1) as engine:
        results = engine.map(where, range(40))
        first = [next(results)[1] for _ in range(3)]
        engine.cluster.scale(4)
        engine.client.wait_for_workers(4)
        later = [pid for _, pid in results]
    assert len(set(first)) == 1
    assert len(set(later)) == 4


def test_an_adaptive_cluster_without_workers_is_waited_for():
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL") as cluster:
        cluster.adapt(minimum=0, maximum=1, interval="100ms")
        with connect(cluster.scheduler_address) as engine:
            assert dict(engine.map(square, range(3))) == {0: 0, 1: 1, 2: 4}


def test_a_scheduler_that_gets_no_worker_is_named_with_what_to_start():
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs="CRITICAL") as cluster,
        pytest.raises(EngineError, match="has no workers: start one with `dask worker tcp://"),
    ):
        connect(cluster.scheduler_address, patience=0.5)


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


def test_what_is_loaded_in_a_task_begins_with_one_thread_and_nothing_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    ((_, told),) = Serial().map(os.environ.get, ["OMP_NUM_THREADS"])
    assert told == "1"
    with pytest.raises(ZeroDivisionError):
        list(Serial().map(lambda n: 1 // n, [0]))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
