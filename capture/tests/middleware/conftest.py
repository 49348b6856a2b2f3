"""What the tests of the middleware share."""

from __future__ import annotations

import pytest
from middleware_events import Events


@pytest.fixture
def events() -> Events:
    return Events()
