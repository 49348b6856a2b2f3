"""What `python -m log_generator` writes, seen as its reader sees it: processes and files."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import wait_for

PROJECT = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS = 30
FORMATS = ("api_requests", "json", "combined", "logfmt")
JSON_KEYS = {
    "ts": str,
    "customer_id": str,
    "method": str,
    "path": str,
    "status": int,
    "duration_ms": float,
    "ip": str,
    "user_agent": str,
    "request_id": str,
}
PATTERNS = {
    "api_requests": r"(?P<ts>\S+ \S+) (?P<customer_id>\S+) (?P<path>/\S*) (?P<status>\d+)"
    r" (?P<duration>\d+\.\d+)",
    "combined": r'(?P<ip>\S+) - (?P<customer_id>\S+) \[(?P<ts>[^]]+)\] "(?P<method>[A-Z]+)'
    r' (?P<path>/\S*) HTTP/1\.1" (?P<status>\d{3}) (?P<bytes>[1-9]\d*|-)'
    r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"',
}
"""The formats without keys, by their definitions."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A path whose directory does not exist yet."""
    return tmp_path / "logs" / "requests.log"


def start(log: Path, **settings: object) -> subprocess.Popen[str]:
    """The generator at full speed unless told otherwise, away from any `.env.local`."""
    given = {"LOG_FILE_PATH": log, "LOG_INTERVAL_SECONDS": 0} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "log_generator"],
        cwd=log.parent.parent,
        env={"PYTHONPATH": str(PROJECT)} | {name: str(value) for name, value in given.items()},
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(log: Path, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """A generator that goes on for ever; killed at the end if the test has not stopped it."""
    process = start(log, **settings)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of a process that is to end by itself."""
    try:
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        process.kill()
    return process.returncode, errors


def written(log: Path, lines: int, **settings: object) -> list[str]:
    """The lines of a file after a run of `lines` lines."""
    assert finish(start(log, MAX_LOGS_TO_GENERATE=lines, **settings)) == (0, "")
    return read(log)


def read(log: Path) -> list[str]:
    """The lines of the file, split at newlines only."""
    *lines, rest = log.read_bytes().decode().split("\n")
    assert rest == "", "the last line has no newline"
    return lines


def size(path: Path) -> int:
    """Bytes in the file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def fields(line: str, name: str) -> dict[str, str]:
    """The parts of a line by the definition of its format; ValueError if it does not fit."""
    if name == "json":
        record = json.loads(line)
        if not isinstance(record, dict) or {k: type(v) for k, v in record.items()} != JSON_KEYS:
            raise ValueError(line)
        return {key: str(value) for key, value in record.items()}
    if name == "logfmt":
        return dict(word.split("=", 1) for word in shlex.split(line))
    match = re.fullmatch(PATTERNS[name], line)
    if match is None:
        raise ValueError(line)
    return match.groupdict()


def moment(text: str, name: str) -> datetime:
    """The time as the format writes it; ValueError if it is none."""
    if name == "combined":
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    return datetime.fromisoformat(text)


def is_well_formed(line: str, name: str) -> bool:
    """Whether the line fits its format and says a time, a customer, a path and a status."""
    try:
        found = fields(line, name)
        moment(found["ts"], name)
        return (
            re.fullmatch(r"cust_\d+", found["customer_id"]) is not None
            and found["path"].startswith("/")
            and 100 <= int(found["status"]) <= 599
        )
    except (ValueError, KeyError):
        return False


def test_writes_as_many_lines_as_asked_for_and_makes_the_directory(log: Path) -> None:
    assert len(written(log, 60_001)) == 60_001


def test_the_last_append_is_smaller_when_the_lines_run_out(log: Path) -> None:
    lines = written(log, 23, LOG_INTERVAL_SECONDS=0.01, LOG_BATCH_SIZE=5)
    assert len(lines) == 23


def test_appends_to_what_is_there(log: Path) -> None:
    log.parent.mkdir()
    log.write_text("already here\n")
    assert written(log, 3)[0] == "already here"
    assert len(read(log)) == 4


def test_an_append_has_the_batch_size(log: Path) -> None:
    with running(log, LOG_INTERVAL_SECONDS=3600, LOG_BATCH_SIZE=7):
        wait_for(lambda: size(log) > 0)
        assert len(read(log)) == 7


@pytest.mark.parametrize("name", FORMATS)
def test_lines_fit_their_format(log: Path, name: str) -> None:
    lines = written(log, 5_000, LOG_GENERATOR_FORMAT=name)
    assert [line for line in lines if not is_well_formed(line, name)] == []


def test_api_requests_is_the_default_format(log: Path) -> None:
    assert all(is_well_formed(line, "api_requests") for line in written(log, 100))


def test_a_json_line_says_its_time_in_milliseconds_and_its_request_in_hex(log: Path) -> None:
    record = json.loads(written(log, 1, LOG_GENERATOR_FORMAT="json")[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", record["ts"])
    assert re.fullmatch(r"[0-9a-f]{32}", record["request_id"])


def test_logfmt_says_the_same_as_json(log: Path) -> None:
    as_json = written(log, 2_000, LOG_GENERATOR_FORMAT="json", LOG_GENERATOR_SEED=5)
    log.unlink()
    as_logfmt = written(log, 2_000, LOG_GENERATOR_FORMAT="logfmt", LOG_GENERATOR_SEED=5)
    assert [fields(line, "logfmt") | {"ts": ""} for line in as_logfmt] == [
        fields(line, "json") | {"ts": ""} for line in as_json
    ]


def test_combined_has_escaped_quotes_and_absent_referers_and_sizes(log: Path) -> None:
    lines = written(log, 5_000, LOG_GENERATOR_FORMAT="combined", LOG_GENERATOR_SEED=1)
    found = [fields(line, "combined") for line in lines]
    assert any(r"\"" in each["user_agent"] for each in found)
    assert {"-"} < {each["referer"] for each in found}
    assert {"-"} < {each["bytes"] for each in found}


def test_times_are_local_in_the_zone_and_in_the_past(log: Path) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    before = datetime.now(zone) - timedelta(seconds=5 + 1)  # 1 ms a line, cut to the second
    lines = written(log, 5_000, LOG_TIMEZONE=zone.key)
    times = [datetime.fromisoformat(line[:19]).replace(tzinfo=zone) for line in lines]
    assert before <= min(times)
    assert max(times) <= datetime.now(zone)


@pytest.mark.parametrize("name", ["json", "combined", "logfmt"])
def test_a_time_carries_the_offset_of_the_zone(log: Path, name: str) -> None:
    line = written(log, 1, LOG_GENERATOR_FORMAT=name, LOG_TIMEZONE="Asia/Kolkata")[0]
    when = moment(fields(line, name)["ts"], name)
    assert when.utcoffset() == timedelta(hours=5, minutes=30)
    assert abs(datetime.now(timezone.utc) - when) < timedelta(minutes=5)


def test_times_never_go_back_and_share_seconds(log: Path) -> None:
    lines = written(log, 200, LOG_INTERVAL_SECONDS=0.01, LOG_BATCH_SIZE=20)
    times = [line[:19] for line in lines]
    assert times == sorted(times)
    assert max(Counter(times).values()) > 1


def test_the_same_seed_writes_the_same_values_however_they_are_batched(log: Path) -> None:
    at_once = written(log, 60, LOG_GENERATOR_SEED=7)
    log.unlink()
    in_parts = written(log, 60, LOG_GENERATOR_SEED=7, LOG_INTERVAL_SECONDS=0.01, LOG_BATCH_SIZE=7)
    assert [line[19:] for line in in_parts] == [line[19:] for line in at_once]


def test_another_seed_writes_other_values(log: Path) -> None:
    one = written(log, 60, LOG_GENERATOR_SEED=7)
    log.unlink()
    other = written(log, 60, LOG_GENERATOR_SEED=8)
    assert [line[19:] for line in one] != [line[19:] for line in other]


def test_cust_1_is_there_at_once_and_is_the_most_frequent(log: Path) -> None:
    customers = [line.split()[2] for line in written(log, 20_000, LOG_GENERATOR_SEED=3)]
    assert "cust_1" in customers[:36]
    assert Counter(customers).most_common(1)[0][0] == "cust_1"
    assert len(set(customers)) > 500


def test_most_requests_succeed_and_some_customers_fail_more_than_others(log: Path) -> None:
    lines = [line.split() for line in written(log, 50_000, LOG_GENERATOR_SEED=3)]
    statuses = Counter(status for *_, status, _ in lines)
    requests = Counter(customer for _, _, customer, *_ in lines)
    failures = Counter(customer for _, _, customer, _, status, _ in lines if status >= "400")
    rates = [failures[customer] / count for customer, count in requests.items() if count > 100]
    assert statuses["200"] > len(lines) / 2
    assert max(rates) > 4 * (sum(rates) / len(rates))


@pytest.mark.parametrize("name", FORMATS)
def test_a_bad_line_is_malformed_and_is_one_line(log: Path, name: str) -> None:
    lines = written(log, 5_000, LOG_GENERATOR_FORMAT=name, LOG_GENERATOR_BAD_RATIO=1)
    assert len(lines) == 5_000
    assert [line for line in lines if is_well_formed(line, name) or not line] == []


def test_bad_lines_are_as_frequent_as_asked_for(log: Path) -> None:
    lines = written(log, 20_000, LOG_GENERATOR_BAD_RATIO=0.1, LOG_GENERATOR_SEED=2)
    bad = sum(not is_well_formed(line, "api_requests") for line in lines)
    assert bad == pytest.approx(2_000, rel=0.1)


def test_bad_lines_are_of_several_kinds(log: Path) -> None:
    kinds = {
        "truncated": r'\{"ts":"[^}]*',
        "bad status": r'\{.*"status":"n/a".*\}',
        "bad date": r'\{"ts":"9999-99-99T.*\}',
        "foreign output": r"Traceback .*",
    }
    lines = written(
        log, 500, LOG_GENERATOR_FORMAT="json", LOG_GENERATOR_BAD_RATIO=1, LOG_GENERATOR_SEED=2
    )
    found = {kind for line in lines for kind in kinds if re.fullmatch(kinds[kind], line)}
    assert found == set(kinds)


def test_two_generators_append_to_one_file_without_mixing_lines(log: Path) -> None:
    both = [start(log, MAX_LOGS_TO_GENERATE=150_000) for _ in range(2)]
    assert [finish(process) for process in both] == [(0, ""), (0, "")]
    lines = read(log)
    assert len(lines) == 300_000
    assert all(is_well_formed(line, "api_requests") for line in lines)


def test_a_rotated_file_ends_and_a_new_one_begins(log: Path) -> None:
    rotated = log.with_suffix(".1")
    with running(log, LOG_INTERVAL_SECONDS=0.01):
        wait_for(lambda: size(log) > 0)
        log.rename(rotated)
        wait_for(lambda: size(log) > 0)
    assert all(is_well_formed(line, "api_requests") for line in read(rotated) + read(log))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_full_speed_ends_it_after_a_whole_line(log: Path, number: int) -> None:
    with running(log) as process:
        wait_for(lambda: size(log) > 0)
        process.send_signal(number)
        assert finish(process) == (0, "")
    assert is_well_formed(read(log)[-1], "api_requests")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_the_next_append(log: Path, number: int) -> None:
    with running(log, LOG_INTERVAL_SECONDS=3600) as process:
        wait_for(lambda: size(log) > 0)
        process.send_signal(number)
        assert finish(process) == (0, "")


def test_every_wrong_setting_is_named_and_nothing_is_written(log: Path) -> None:
    process = start(log, LOG_BATCH_SIZE=0, LOG_GENERATOR_FORMAT="xml", LOG_TIMEZONE="Mars/Base")
    code, errors = finish(process)
    assert code == 2
    assert [line.split("=")[0] for line in errors.splitlines()] == [
        "LOG_TIMEZONE",
        "LOG_BATCH_SIZE",
        "LOG_GENERATOR_FORMAT",
    ]
    assert not log.exists()


def test_a_file_that_cannot_be_written_is_one_sentence(log: Path) -> None:
    log.parent.write_text("a file where the directory should be")
    code, errors = finish(start(log))
    assert code == 1
    assert re.fullmatch(rf"LOG_FILE_PATH={re.escape(str(log))}: cannot be written: .+\n", errors)


def test_a_full_disk_is_one_sentence(log: Path) -> None:
    code, errors = finish(start(Path("/dev/full")))
    assert code == 1
    assert os.strerror(errno.ENOSPC) in errors
