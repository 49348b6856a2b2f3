"""What `logwax_capture` writes into files is read by the format `json`, into typed columns."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from flows.parsing.choice import describe
from flows.parsing.dialects import ALIASES
from logwax_capture.errors import SettingError
from logwax_capture.event_queue import EventQueue
from logwax_capture.handler import LONGEST, LogwaxHandler, LogwaxLogger
from logwax_capture.local import MultiThreadedLogger
from logwax_capture.middleware import PageEvents, RequestLog
from settings import Settings
from tests.parsing_checks import certain, parse, row_of

BOTH = pytest.mark.parametrize("kind", [logging.Logger, LogwaxLogger])


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[LogwaxHandler]:
    handler = LogwaxHandler(tmp_path / "app.log")
    yield handler
    handler.close()


def logger_of(kind: type[logging.Logger], handler: logging.Handler) -> logging.Logger:
    logger = kind("shop.orders", logging.INFO)
    logger.addHandler(handler)
    return logger


@BOTH
@pytest.mark.usefixtures("both_ways")
def test_a_call_is_a_row_with_typed_columns(
    handler: LogwaxHandler, kind: type[logging.Logger]
) -> None:
    fields = {
        "customer_id": "c-7",
        "method": "POST",
        "path": "/orders?x=1",
        "status": 201,
        "duration_ms": 48.31,
        "client_ip": "203.0.113.7",
        "order": {"id": 7},
    }
    begin = datetime.now(timezone.utc)
    logger_of(kind, handler).info("Jörg paid", extra=fields)
    row = row_of("json", Path(handler.path).read_text().rstrip("\n"))
    assert abs(row.pop("timestamp") - begin) < timedelta(minutes=1)
    assert json.loads(row.pop("attributes")) == {
        "logger": "shop.orders",
        "process": os.getpid(),
        "thread": threading.current_thread().name,
        "order": {"id": 7},
    }
    assert {name: value for name, value in row.items() if value} == {
        "level": "INFO",
        "message": "Jörg paid",
        "customer_id": "c-7",
        "method": "POST",
        "request_path": "/orders?x=1",
        "status_code": 201,
        "duration": 0.04831,
        "client_ip": "203.0.113.7",
    }


@BOTH
@pytest.mark.usefixtures("both_ways")
def test_whatever_is_logged_no_line_is_a_dead_letter(
    handler: LogwaxHandler, kind: type[logging.Logger]
) -> None:
    logger = logger_of(kind, handler)
    for value in (math.nan, -math.inf, 10**400, "\udcff\x00\n", b"\xff", {1: {2}}, object()):
        logger.info("%s\ud800\n\x00", "x", extra={"value": value, "timestamp": "none", "level": 7})
    try:
        raise ValueError("half \udcff")
    except ValueError:
        logger.exception("x" * 2_000_000)
    parsed = parse("json", Path(handler.path).read_bytes())
    assert parsed.rejected.is_empty()
    rows = parsed.rows.sort("offset")
    assert rows["level"].to_list() == ["INFO"] * 7 + ["ERROR"]
    assert "ValueError: half \ufffd" in json.loads(rows["attributes"][7])["exception"]


def test_the_usual_lines_are_read_by_the_compiled_part(handler: LogwaxHandler) -> None:
    logger = logger_of(logging.Logger, handler)
    for number in range(100):
        logger.info("order %d", number, extra={"order": number, "duration_ms": number / 8})
    form = describe("json").make(ZoneInfo("UTC"))
    assert all(certain(form, Path(handler.path).read_text().splitlines()))


def test_the_longest_line_is_what_logwax_takes_by_default() -> None:
    assert Settings.model_fields["log_max_line_bytes"].default >= LONGEST


def test_an_export_of_the_local_logger_is_read_like_any_file(tmp_path: Path) -> None:
    with MultiThreadedLogger(tmp_path / "app.db") as logger:
        logger.log("ERROR", "api", "failed", {"status_code": 500, "user_id": 7})
        logger.export(tmp_path / "app.log")
    row = row_of("json", (tmp_path / "app.log").read_text().rstrip("\n"))
    assert (row["level"], row["message"], row["status_code"]) == ("ERROR", "failed", 500)
    assert json.loads(row["attributes"])["user_id"] == 7
    assert abs(row["timestamp"] - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_no_field_of_a_page_can_be_taken_for_what_the_server_says(tmp_path: Path) -> None:
    """A key that means the same column would come before the server's, by its rank."""
    log = RequestLog(EventQueue(lambda *_: None, spill_dir=tmp_path), secret="of this test only")
    events = ("datetime", "visited_by", "ip_address", "user_agent", "path_info", "referrer")
    known = (*events, "method", "status_code")
    ours = {alias.column: rank for rank, alias in enumerate(ALIASES) if alias.key in known}
    keys = [alias.key for rank, alias in enumerate(ALIASES) if rank <= ours.get(alias.column, -1)]
    assert len(keys) > 25
    for key in keys:
        with pytest.raises(SettingError, match="cannot be called"):
            PageEvents(log, {"event.seen": {key: str}})
