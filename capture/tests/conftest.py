"""What the tests of the package share. They import nothing of Logwax but `logwax_capture`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import Postgres

from logwax_capture.outbox import Outbox


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--soak", action="store_true", help="run the long tests at full length")
    except ValueError:  # that of Logwax itself, whose tests run along
        pass


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run at full length."""
    return bool(request.config.getoption("--soak"))


def wait_for(
    condition: Callable[[], object], what: str = "what was expected", deadline: float = 60.0
) -> None:
    """Return when `condition` is true; fail with `what` if it is not in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster for all tests: each has a database of its own."""
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
