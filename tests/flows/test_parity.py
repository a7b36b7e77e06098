"""One composition, three ways to run it: in this process, on Dask, as a Prefect flow. The reports are identical."""

import pytest

import dataaudit
from tests.planted import TRIGGER, campaigns, contents, corpus, poison, write_shards

SETTINGS = {"seed": 7, "encoder": "hashed"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_shards(poison(corpus()), tmp_path_factory.mktemp("parity") / "data", 6))


@pytest.fixture(scope="module")
def serial(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("serial") / "audit"
    dataaudit.scan([data], out, dataaudit.Settings(serial=True, **SETTINGS))
    assert any(TRIGGER in str(c[3]) for c in campaigns(out))
    return out


def test_dask_says_what_the_serial_engine_says(data, serial, tmp_path):
    dataaudit.scan([data], tmp_path / "audit", dataaudit.Settings(workers=2, **SETTINGS))
    assert contents(tmp_path / "audit") == contents(serial)


def test_the_prefect_flow_says_it_too(data, serial, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    from prefect.testing.utilities import prefect_test_harness

    from flows.audit import run

    with prefect_test_harness(server_startup_timeout=120):
        run([data], tmp_path / "audit", dataaudit.Settings(workers=2, **SETTINGS))
        assert artifact("verdict").startswith("# poisoned")
    assert contents(tmp_path / "audit") == contents(serial)


def artifact(key: str) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return str(found.data)
