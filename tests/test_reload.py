"""SIGHUP: what can be different without a restart is."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import httpx

from tests.conftest import DEADLINE, Pipeline, find_port, wait_for

LINE = "2026-11-01 10:00:00 cust_1 /orders 200 0.5\n"


def test_sighup_gives_the_api_and_query_port_another_token(pipeline: Pipeline) -> None:
    settings, port = pipeline.directory / ".env.local", find_port()
    (pipeline.directory / "a.log").write_text(LINE)
    settings.write_text("LOG_PATHS=a.log\nAPI_TOKEN=the-first\n")
    process = pipeline.start(QUERY_PORT=port)
    of_api = f"http://127.0.0.1:{pipeline.port}/ready-or-not"
    of_store = f"http://127.0.0.1:{port}/?query=SELECT+1"

    def answers(url: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return httpx.get(url, headers=headers, trust_env=False, timeout=DEADLINE).status_code
        except httpx.TransportError:
            return 0

    wait_for(lambda: answers(of_store, "the-first") == 200, "the first token")
    assert answers(of_api, "the-first") == 404
    settings.write_text("LOG_PATHS=a.log\nAPI_TOKEN=another\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: answers(of_store, "") == 403 and answers(of_store, "another") == 200)
    assert (answers(of_api, "another"), answers(of_api, "the-first")) == (404, 401)
    settings.write_text("LOG_PATHS=a.log\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: answers(of_store, "") == 200, "no token")
    assert answers(of_api, "") == 404
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=DEADLINE)
    assert said == "Reloaded: API_TOKEN.\n" * 2


def test_sighup_reads_more_files_and_says_what_a_restart_needs_and_what_is_wrong(
    pipeline: Pipeline,
) -> None:
    settings = pipeline.directory / ".env.local"
    for name in ("a.log", "b.log"):
        (pipeline.directory / name).write_text(LINE)
    settings.write_text("LOG_PATHS=a.log\n")
    process = pipeline.start()
    assert process.stderr
    stderr = process.stderr.fileno()
    os.set_blocking(stderr, False)
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(1)
    heard = ""

    def hup(expected: str) -> None:
        def has_said() -> bool:
            nonlocal heard
            with suppress(BlockingIOError):
                heard += os.read(stderr, 10_000).decode()
            return expected in heard

        process.send_signal(signal.SIGHUP)
        wait_for(has_said, expected)

    settings.write_text("LOG_PATHS=b.log\nSTREAM_MAX_SIZE=none\nDATABASE_URL=secret\n")
    hup("Nothing is reloaded:\nSTREAM_MAX_SIZE='none': ")
    settings.write_text("LOG_PATHS=b.log\nSTREAM_MAX_SIZE=5\nDATABASE_URL=secret\n")
    hup("Reloaded: LOG_PATHS.\nNot reloaded, only a restart changes it: DATABASE_URL, STREAM_MAX_")
    pipeline.wait_until_stored(2)
    with (pipeline.directory / "a.log").open("a") as log:
        log.write(LINE)  # what is read already is read on
    pipeline.wait_until_stored(3)
    settings.write_text("LOG_PATHS=b.log\n")
    hup("Nothing is reloaded: no setting has changed.")
    assert "secret" not in heard
    assert pipeline.stop() == 0
