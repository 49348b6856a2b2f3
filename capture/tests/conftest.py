"""What several tests use."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

DEADLINE = 30.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """The same option as for the other tests, unless those have it."""
    try:
        parser.addoption("--soak", action="store_true", help="run the long tests at full length")
    except ValueError:
        return  # they run together


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run at full length."""
    return bool(request.config.getoption("--soak"))


def wait_for(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Return when `condition` is true; fail with `what` if it is not in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        time.sleep(0.01)
