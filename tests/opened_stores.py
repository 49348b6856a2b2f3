"""Stores of every kind, empty and open, for as long as a test wants them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from connectors.store import Store, open_store
from settings import Settings
from tests.servers.clickhouse_http import ServerProcess
from tests.servers.influxd import Influxd


def open_made(name: str, directory: Path, **where: str) -> Store:
    """The store of this name in a directory, or `where` it is."""
    chosen = {"store": name, "data_dir": directory, "instance": "host", **where}
    return open_store(Settings(_env_file=None, **chosen))  # type: ignore[arg-type]


@contextmanager
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The store that a fixture's parameter names, on a server of its own if it needs one."""
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as ended:
        where = {}
        if request.param == "clickhouse":
            server = ServerProcess(directory / "server")
            ended.callback(server.stop)
            where = {"clickhouse_url": server.url}
        elif request.param == "influxdb":
            influxd = ended.enter_context(Influxd(directory / "server"))
            influxd.create()
            where = {"influxdb_api": "v1", "influxdb_url": influxd.url}
        elif request.param == "mongodb":
            url = request.getfixturevalue("mongodb_server")
            where = {"mongodb_url": url, "mongodb_database": f"logwax_{directory.name}"}
        yield ended.enter_context(closing(open_made(request.param, directory, **where)))
