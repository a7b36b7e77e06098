"""Prefect's own server, started beside the flow where no server is configured, so that a flow needs nothing but the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings

START_SECONDS = 120


@contextmanager
def embedded_server(home: Path) -> Iterator[str]:
    """The API's URL: the configured one, or that of a server on loopback with its database in `home`.

    Named outright, it is one server for the flow and its Dask workers, which otherwise would each start their own.
    """
    if configured := PREFECT_API_URL.value():
        yield configured
        return
    home.mkdir(parents=True, exist_ok=True)
    database = f"sqlite+aiosqlite:///{home.resolve() / 'prefect.db'}"
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: database}):
        server = SubprocessASGIServer()
        server.start(timeout=START_SECONDS)
        try:
            with temporary_settings({PREFECT_API_URL: server.api_url}):
                yield server.api_url
        finally:
            server.stop()
