"""Alerts: when they fire, what their webhooks get, and what of them outlives a process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import polars as pl
import pytest

from api import alerting, webhooks
from api.alert_book import MOST, MOST_CHANGES, Alert, AlertBook, Change, Definition
from api.app import Pipeline as Beside
from api.app import create_app
from api.server import ApiServer
from connectors.batch import COLUMNS, Parsed
from connectors.status import SourceStatus, Status
from connectors.store import Reader
from tests.conftest import DEADLINE, Pipeline, wait_for
from tests.test_clickhouse_store import span
from tests.test_logs_api import open_made

SECOND = 10**6
START = 1_700_000_000 * SECOND
ERRORS = {"name": "errors", "filter": "level = ERROR", "window": "1m", "threshold": 2}


class Receiver:
    """A real server of webhooks: answers `status`, once `may_answer` is set, and keeps bodies."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(json.loads(body))
                receiver.may_answer.wait(DEADLINE)
                self.send_response(receiver.status)
                self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def told(self) -> list[tuple[str, int]]:
        """State and count of what it got."""
        return [(one["state"], one["count"]) for one in self.got]

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as made:
        yield made


class Watched:
    """A store that rows are put into, the API over it, and the time, which is set by hand."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = open_made("sqlite", directory)
        self.now = START
        self.source: SourceStatus | None = SourceStatus()
        self.book = AlertBook(directory)
        self.offset = 0
        self._writer = self.store.writer()
        monkeypatch.setattr("api.alerting._now", lambda: self.now)
        monkeypatch.setattr("api.completeness._FRESH", -1.0)
        made = alerting.Alerting

        def kept(*arguments: Any) -> alerting.Alerting:
            self.alerting = made(*arguments)
            return self.alerting

        monkeypatch.setattr("api.app.Alerting", kept)
        self.restart()

    def restart(self) -> None:
        """The same alerts in another process, as far as they can tell."""
        source = self.source
        beside = Beside(Status(), lambda: cast(SourceStatus, self.source)) if source else None
        self.app = create_app(cast(Reader, self.store.reader), beside, self.book)

    def add(self, rows: int, level: str = "ERROR") -> None:
        """Rows of a second ago."""
        time = datetime.fromtimestamp(self.now / SECOND - 1, timezone.utc)
        found = [
            {"timestamp": time, "level": level, "file_id": 1, "offset": self.offset + n}
            for n in range(rows)
        ]
        schema = {name: COLUMNS[name] for name in found[0]}
        part = span(self.offset, self.offset + rows)
        self._writer.write(Parsed((part,), rows=pl.DataFrame(found, schema)))
        self.offset += rows

    def pass_by(self, seconds: int, *, is_complete: bool = True) -> None:
        """It is later, and everything up to then is stored, or it is not known."""
        self.now += seconds * SECOND
        if self.source:
            self.source = SourceStatus(complete_to=self.now / SECOND if is_complete else None)

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.request(method, path, json=body)

        return asyncio.run(ask())

    def define(self, **changes: object) -> Any:
        answer = self.ask("POST", "/alerts", ERRORS | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def judge(self) -> Any:
        """Look at the alert once; what `/alerts` says of it then."""
        rows = self.store.reader.logs
        for alert in self.book.alerts():
            asyncio.run(self.alerting.judge(alert, rows))
        [shown] = self.ask("GET", "/alerts").json()["alerts"]
        return shown

    def history(self) -> list[tuple[str, int]]:
        """State and count of each change, the oldest first."""
        changes = self.ask("GET", "/alerts/history").json()["changes"]
        return [(one["state"], one["count"]) for one in reversed(changes)]

    def close(self) -> None:
        self._writer.close()
        self.store.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with closing(Watched(tmp_path, monkeypatch)) as made:
        yield made


def test_an_alert_fires_once_and_is_resolved_once(watched: Watched) -> None:
    assert watched.define()["state"] == "ok"
    watched.add(2)
    watched.add(5, "INFO")
    watched.pass_by(1)
    assert (watched.judge()["state"], watched.history()) == ("ok", [])
    watched.add(1)
    for _ in range(3):
        watched.pass_by(1)
        assert (watched.judge()["state"], watched.judge()["count"]) == ("firing", 3)
    watched.pass_by(60)
    for _ in range(3):
        watched.pass_by(1)
        assert (watched.judge()["state"], watched.judge()["count"]) == ("resolved", 0)
    assert watched.history() == [("firing", 3), ("resolved", 0)]


def test_rows_that_may_be_missing_neither_fire_nor_end_an_alert(watched: Watched) -> None:
    watched.define(when="below", threshold=1)
    watched.pass_by(100, is_complete=False)
    unknown = watched.judge()
    assert (unknown["state"], unknown["count"], unknown["problem"]) == (
        "ok",
        None,
        "Nobody knows whether rows are missing.",
    )
    stored_to = watched.now
    watched.now += 90 * SECOND
    behind = SourceStatus(files_behind=3, complete_to=stored_to / SECOND)
    watched.source = behind
    assert watched.judge()["state"] == "firing"  # as of then
    watched.add(1)
    watched.pass_by(1, is_complete=False)
    assert watched.judge()["state"] == "resolved"  # one row is enough, whatever is missing
    watched.now += 90 * SECOND
    watched.source = behind
    assert watched.judge()["problem"] == "Rows may be missing (files behind: 3)."
    assert watched.history() == [("firing", 0), ("resolved", 1)]


def test_what_is_stored_is_enough_to_fire_but_an_end_waits_for_the_rest(watched: Watched) -> None:
    watched.define()
    watched.add(3)
    watched.now += SECOND
    watched.source = SourceStatus(files_behind=1)
    assert watched.judge()["state"] == "firing"
    watched.now += 100 * SECOND
    still = watched.judge()
    assert (still["state"], still["problem"]) == (
        "firing",
        "Rows may be missing (files behind: 1).",
    )
    watched.pass_by(1)
    assert watched.judge()["state"] == "resolved"


def test_without_a_pipeline_an_alert_ends_but_none_fires_for_a_lack_of_rows(
    watched: Watched,
) -> None:
    watched.source = None
    watched.restart()
    watched.define()
    watched.add(3)
    watched.pass_by(1)
    assert watched.judge()["state"] == "firing"
    watched.pass_by(100)
    assert watched.judge()["state"] == "resolved"
    alert = watched.judge()["id"]
    watched.ask("PUT", f"/alerts/{alert}", {**ERRORS, "when": "below"})
    watched.pass_by(100)
    lacking = watched.judge()
    assert (lacking["state"], lacking["problem"]) == (
        "resolved",
        "Nobody knows whether rows are missing: no pipeline is in this process.",
    )


def test_a_state_outlives_the_process_so_that_nothing_is_told_twice(watched: Watched) -> None:
    watched.define()
    watched.add(3)
    watched.pass_by(1)
    watched.judge()
    watched.restart()
    watched.pass_by(1)
    assert watched.judge()["state"] == "firing"
    assert watched.history() == [("firing", 3)]


def test_a_change_that_somebody_has_overtaken_is_not_recorded(watched: Watched) -> None:
    watched.define()
    [alert] = watched.book.alerts()
    assert watched.book.record(alert, change_of(alert, 0))
    assert not watched.book.record(alert, change_of(alert, 1))  # it is firing by now
    [firing] = watched.book.alerts()
    watched.ask("PUT", f"/alerts/{alert.id}", {**ERRORS, "threshold": 9})
    assert not watched.book.record(firing, change_of(alert, 2))
    assert watched.history() == [("firing", 0)]


def change_of(alert: Alert, number: int) -> Change:
    return Change(str(number), alert.id, "errors", "firing", number, number, 0, 1, "{}", "none")


def test_of_each_alert_the_newest_changes_are_kept(watched: Watched) -> None:
    watched.define()
    for number in range(MOST_CHANGES + 2):
        [alert] = watched.book.alerts()
        watched.book.record(alert, change_of(alert, number))
    kept = watched.book.changes(2 * MOST_CHANGES)
    assert [kept[0].count, kept[-1].count, len(kept)] == [MOST_CHANGES + 1, 2, MOST_CHANGES]


# --- definitions -----------------------------------------------------------------------------


def test_an_alert_is_shown_changed_and_removed_and_its_webhook_stays_a_secret(
    watched: Watched,
) -> None:
    made = watched.define(webhook="https://me:pass@hooks.example:8443/T0/secret?key=1")
    assert made["webhook"] == "https://hooks.example:8443/…"
    assert made == watched.ask("GET", "/alerts").json()["alerts"][0]
    path = f"/alerts/{made['id']}"
    changed = watched.ask("PUT", path, {**ERRORS, "window": "120s", "threshold": 7})
    assert changed.json() == made | {"window": "2m", "threshold": 7}
    assert watched.book.alerts()[0].definition.webhook.endswith("/T0/secret?key=1")
    assert watched.ask("PUT", path, {**ERRORS, "webhook": ""}).json()["webhook"] == ""
    assert watched.ask("DELETE", path).status_code == 204
    assert watched.ask("GET", "/alerts").json() == {"alerts": []}
    for method in ("PUT", "DELETE"):
        answer = watched.ask(method, path, ERRORS)
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"There is no alert {made['id']}.",
        )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"filter": "statu = 5"}, "The filter is wrong at character 1"),
        ({"window": "5"}, "window '5': must be a time such as 30s, 5m, 1h, 1d, from 10s to 7d."),
        ({"window": "8d"}, "from 10s to 7d"),
        ({"threshold": 0, "when": "below"}, "never fewer rows than none"),
        ({"webhook": "ftp://hooks.example/"}, "A webhook is an address such as https://"),
        ({"webhook": "http://[::1/"}, "A webhook is an address such as https://"),
        ({"name": "taken"}, "There is an alert 'taken' already"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(
    watched: Watched, wrong: dict[str, Any], why: str
) -> None:
    watched.define(name="taken")
    answer = watched.ask("POST", "/alerts", ERRORS | wrong)
    assert (answer.status_code, why in answer.json()["detail"]) == (422, True), answer.text
    assert len(watched.book.alerts()) == 1


def test_there_is_a_last_alert(watched: Watched) -> None:
    for number in range(MOST):
        watched.define(name=str(number))
    assert "delete one first" in watched.ask("POST", "/alerts", ERRORS).json()["detail"]


def test_a_wrong_method_is_told_the_right_ones(watched: Watched) -> None:
    answer = watched.ask("PATCH", "/alerts")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert watched.ask("OPTIONS", "/alerts/1").headers["Allow"] == "DELETE, OPTIONS, PUT"


def test_a_directory_that_cannot_be_written_is_named(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    watched.book = AlertBook(tmp_path / "file")
    watched.restart()
    answer = watched.ask("POST", "/alerts", ERRORS)
    assert (answer.status_code, "Alerts cannot be kept in" in answer.json()["detail"]) == (
        503,
        True,
    )


def test_one_process_at_a_time_looks_after_alerts(tmp_path: Path) -> None:
    first, second = AlertBook(tmp_path), AlertBook(tmp_path)
    assert not first.is_mine()  # there are none
    first.add(Definition("errors", "", 60, "above", 2, ""))
    assert (first.is_mine(), second.is_mine(), first.is_mine()) == (True, False, True)
    first.let_go()
    assert second.is_mine()
    second.let_go()


# --- webhooks --------------------------------------------------------------------------------


@pytest.fixture
def serve(watched: Watched) -> Iterator[Callable[..., None]]:
    """Serves the API, so that alerts are looked after; `hosts` are those of webhooks."""
    started: list[ApiServer] = []

    def start(hosts: tuple[str, ...] = ()) -> None:
        assert watched.store.reader
        beside = Beside(Status(), lambda: cast(SourceStatus, watched.source))
        server = ApiServer("127.0.0.1", 0)
        server.start(create_app(watched.store.reader, beside, watched.book, hosts))
        started.append(server)

    yield start
    for server in started:
        server.stop()


def test_a_receiver_that_fails_gets_each_change_again_in_order_with_its_id(
    watched: Watched, receiver: Receiver, serve: Callable[..., None], capfd: pytest.CaptureFixture
) -> None:
    receiver.status = 503
    watched.define(webhook=f"{receiver.url}/secret")
    watched.add(3)
    watched.pass_by(1)
    watched.judge()
    watched.pass_by(100)
    watched.judge()
    serve()
    wait_for(lambda: len(receiver.got) > 1, "a second try")
    [resolved, firing] = watched.ask("GET", "/alerts/history").json()["changes"]
    assert (firing["delivery"], firing["problem"]) == ("waiting", "It answered 503.")
    assert resolved["problem"] == ""
    receiver.status = 200
    wait_for(lambda: ("resolved", 0) in receiver.told, "the second change")
    first, *others, last = receiver.got
    assert others == [first] * len(others)
    assert first == {
        "id": firing["id"],
        "text": "errors: 3 rows in 1m, more than 2.",
        "alert": "errors",
        "state": "firing",
        "time": "2023-11-14T22:13:21Z",
        "count": 3,
        "start": "2023-11-14T22:12:21Z",
        "end": "2023-11-14T22:13:21Z",
        "filter": "level = ERROR",
        "when": "above",
        "threshold": 2,
        "window": 60.0,
    }
    assert (last["id"], last["text"]) == (resolved["id"], "errors: resolved, 0 rows in 1m.")
    sent = [{**one, "delivery": "sent", "problem": ""} for one in (resolved, firing)]
    wait_for(lambda: watched.ask("GET", "/alerts/history").json()["changes"] == sent)
    said = capfd.readouterr().err
    assert said.count("Alert 'errors': its webhook is tried again. It answered 503.") == 1


def test_what_a_receiver_has_not_taken_for_a_day_is_said_and_given_up(
    watched: Watched, receiver: Receiver, serve: Callable[..., None], capfd: pytest.CaptureFixture
) -> None:
    receiver.status = 301  # to itself, which nobody follows
    watched.define(webhook=receiver.url)
    watched.add(3)
    watched.pass_by(1)
    watched.judge()
    watched.pass_by(24 * 3600 + 1)
    watched.source = SourceStatus(files_behind=1)
    serve()
    wait_for(lambda: watched.book.changes(1)[0].delivery == "failed", "the end of tries")
    assert len(receiver.got) == 1
    assert "its webhook has not got 'firing'. It answered 301." in capfd.readouterr().err


def test_a_receiver_that_hangs_holds_up_no_other(
    watched: Watched,
    receiver: Receiver,
    serve: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "SECONDS", 0.5)
    with closing(Receiver()) as hanging:
        hanging.may_answer.clear()
        for name, url in (("a", hanging.url), ("b", receiver.url), ("c", "http://127.0.0.1:1/")):
            watched.define(name=name, webhook=url)
        watched.add(3)
        watched.pass_by(1)
        serve()
        wait_for(lambda: receiver.told == [("firing", 3)], "the receiver that answers")

        def problems() -> dict[str, str]:
            return {one.name: one.problem for one in watched.book.changes(9) if one.problem}

        wait_for(lambda: len(problems()) == 2, "both problems")
        assert problems()["a"] == "It did not answer within 0 s."
        assert problems()["c"].startswith("It cannot be reached: ")


def test_only_the_hosts_of_the_operator_are_posted_to(
    watched: Watched, receiver: Receiver, serve: Callable[..., None]
) -> None:
    watched.define(webhook=receiver.url)
    watched.add(3)
    watched.pass_by(1)
    serve(("hooks.example",))
    wait_for(lambda: any(one.problem for one in watched.book.changes(1)), "the refusal")
    assert watched.book.changes(1)[0].problem == (
        "WEBHOOK_HOSTS does not have '127.0.0.1', the host of the webhook."
    )
    assert receiver.got == []


def test_alerts_outlive_a_kill_and_what_was_being_sent_is_sent_again(
    pipeline: Pipeline, receiver: Receiver
) -> None:
    log = pipeline.directory / "app.log"
    log.write_text("")
    settings = {"STORE": "sqlite", "INSTANCE": "alerts", "LOG_FORMAT": "json"}
    process = pipeline.start(LOG_FILE_PATH=log, **settings)
    pipeline.wait_until_healthy()
    url = f"http://127.0.0.1:{pipeline.port}/alerts"
    alert = {**ERRORS, "window": "10s", "webhook": receiver.url}
    assert httpx.post(url, json=alert, verify=False).status_code == 201
    receiver.may_answer.clear()
    with log.open("a") as lines:
        for _ in range(3):
            now = datetime.now(timezone.utc).isoformat()
            lines.write(json.dumps({"timestamp": now, "level": "ERROR"}) + "\n")
    wait_for(lambda: receiver.got, "the webhook")
    process.kill()
    process.communicate()
    receiver.may_answer.set()
    pipeline.start(LOG_FILE_PATH=log, **settings)
    wait_for(lambda: receiver.told[1:] == [("firing", 3), ("resolved", 0)], "all of it")
    assert [one["id"] == receiver.got[0]["id"] for one in receiver.got] == [True, True, False]

    def deliveries() -> list[str]:
        return [one["delivery"] for one in pipeline.get("/alerts/history").json()["changes"]]

    wait_for(lambda: deliveries() == ["sent", "sent"], "the last answer")
    assert pipeline.stop() == 0
