"""Databases with an outbox, of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import Postgres

from logwax_capture.outbox import Outbox


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster for all tests: each has a database of its own."""
    pytest.importorskip("psycopg")
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def outbox(url: str) -> Iterator[Outbox]:
    """An outbox with its tables and nothing in it."""
    made = Outbox.open(url)
    made.create()
    yield made
    made.close()
