"""SIGHUP: what can be different without a restart is."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from tests.conftest import Pipeline, wait_for

LINE = "2026-11-01 10:00:00 cust_1 /orders 200 0.5\n"


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
