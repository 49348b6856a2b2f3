"""A database with an outbox, and a ClickHouse, for the tests that bring one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import Postgres

from logwax_capture.outbox import Outbox
from tests.servers.clickhouse_http import Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster for all tests: each has a database of its own."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A database with an outbox."""
    made = postgres.new_database()
    with closing(Outbox.open(made)) as outbox:
        outbox.create()
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A ClickHouse of its own."""
    made = Server(tmp_path / "engine")
    yield made
    made.close()
