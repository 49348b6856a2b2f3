"""Commands in a running pipeline: over its API, with the token of its process."""

from __future__ import annotations

import stat
import threading

import httpx
import pytest

from tests.conftest import DEADLINE, wait_for
from tests.test_audit import line, logwax, on_the_store, total, write_log


@pytest.fixture
def running(pipeline):
    """A pipeline that has stored 100 lines, one of them a dead letter, and goes on."""
    write_log(pipeline, "".join(line(n) for n in range(99)) + "nonsense\n")
    pipeline.start()
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(100)
    return pipeline


def post(pipeline, name: str, token: str | None = None, **arguments: object) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{pipeline.port}/commands/{name}"
    return httpx.post(url, json=arguments, headers=headers, timeout=DEADLINE)


def token(pipeline) -> str:
    return (pipeline.directory / "data" / "api.token").read_text()


def test_the_scheme_of_the_token_is_read_in_any_case(running):
    for scheme, status in (("bearer", 200), ("BEARER ", 200), ("Basic", 401)):
        headers = {"Authorization": f"{scheme} {token(running)}"}
        url = f"http://127.0.0.1:{running.port}/commands/positions"
        assert httpx.post(url, headers=headers, timeout=DEADLINE).status_code == status


def test_a_running_pipeline_audits_itself(running):
    done = logwax(running, "audit")
    assert (done.returncode, done.stderr) == (0, "")
    found = total(done.stdout)
    assert (found["lines"], found["stored"], found["dead"], found["doubt"]) == (100, 99, 1, 0)
    assert logwax(running, "positions").stdout.splitlines()[1].split()[-2] == "0"
    assert running.stop() == 0


def test_an_audit_under_load_claims_only_what_is_stored(pipeline):
    write_log(pipeline, "")
    with pipeline.generator(LOG_GENERATOR_BAD_RATIO=0.01):
        pipeline.start("-w", "2", STREAM_MAX_SIZE=2000)
        pipeline.wait_until_healthy()
        pipeline.wait_until_stored(1)
        for _ in range(5):
            done = logwax(pipeline, "audit", STREAM_MAX_SIZE=2000)
            assert done.returncode == 0, done.stdout + done.stderr
        assert total(done.stdout)["lines"] > 0
    assert pipeline.stop() == 0
    pipeline.run()
    assert logwax(pipeline, "audit").returncode == 0


def test_the_token_is_of_the_process_and_its_user(running):
    path = running.directory / "data" / "api.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = token(running)
    for wrong in (None, "x", first[:-1], first + "x"):
        assert post(running, "audit", wrong).status_code == 401
    assert post(running, "audit", first).status_code == 200
    assert running.stop() == 0
    assert not path.exists()
    running.start()
    running.wait_until_healthy()
    assert token(running) != first
    assert post(running, "audit", first).status_code == 401


def test_a_killed_pipeline_leaves_a_token_that_opens_nothing(running):
    first = token(running)
    running.running.kill()
    running.running.communicate()
    assert logwax(running, "audit").returncode in (0, 1)  # by itself: the lock is free
    running.start()
    running.wait_until_healthy()
    assert post(running, "positions", first).status_code == 401
    assert logwax(running, "positions").returncode == 0


def test_what_is_not_a_command_is_refused_with_a_sentence(running):
    assert post(running, "dance", token(running)).status_code == 404
    assert post(running, "audit", token(running), tempo=3).status_code == 422
    assert "/commands" not in running.get("/openapi.json").text
    (running.directory / "data" / "api.token").write_text("wrong")
    done = logwax(running, "audit")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "refuses" in done.stderr
    (running.directory / "data" / "api.token").unlink()
    done = logwax(running, "audit")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_without_an_api_a_command_says_who_has_the_store(running):
    running.stop()
    process = running.start(API_PORT=0)
    lock = running.directory / "data" / "embedded.lock"
    wait_for(lambda: str(process.pid) in lock.read_text(), "the store to be taken")
    done = logwax(running, "audit")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"process {process.pid}" in done.stderr


def test_a_running_pipeline_says_what_it_found_in_doubt_and_cannot_settle(pipeline):
    write_log(pipeline, line(1))
    pipeline.run()
    on_the_store(
        pipeline,
        "INSERT INTO ingest_blocks (instance, writer, sequence, kind, file_id, path, end, lines) "
        "SELECT any(instance), 5, 1, 'block', 77, '/gone.log', 100, 10 FROM ingest_blocks",
    )
    pipeline.start()
    pipeline.wait_until_healthy()
    write_log(pipeline, line(2))
    pipeline.wait_until_stored(2)
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert "/gone.log (file 77)" in done.stdout
    assert "doubt 0-100 (10 lines)" in done.stdout
    found = total(done.stdout)
    assert (found["lines"], found["stored"], found["doubt"]) == (2, 2, 10)


def test_a_pipeline_stops_in_time_while_it_is_asked(running):
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            logwax(running, "audit")

    asking = [threading.Thread(target=keep_asking) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        wait_for(lambda: logwax(running, "audit"), "an audit")
        assert running.stop(deadline=10) == 0
    finally:
        over.set()
        for thread in asking:
            thread.join()
