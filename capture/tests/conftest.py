"""What the tests of the package share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # the tests of Logwax have it, too
        parser.addoption("--soak", action="store_true", help="run the long tests at full length")


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run at full length."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture
def in_kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time is not that of UTC."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(condition, what)` returns when it is true, and fails after 30 s."""

    def wait(condition: Callable[[], object], what: str = "what was expected") -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"waited 30 s for {what}"
            time.sleep(0.01)

    return wait
