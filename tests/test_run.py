"""The first hour: `logwax run` on files of one's own, and what is asked of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, ROOT, wait_for
from tests.refused_questions import REFUSED

ACCESS = '203.0.113.7 - - [22/Nov/2026:20:15:05 +0000] "GET /a HTTP/1.1" {} 5 "-" "curl"\n'


class Person:
    """Somebody with a home of their own, in a directory that is no checkout."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.here = directory / "here"
        self.home.mkdir()
        self.here.mkdir()
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE, **variables: object
    ) -> subprocess.Popen[str]:
        given = {name: str(value) for name, value in variables.items()}
        process = subprocess.Popen(
            [Path(sys.executable).with_name("logwax"), *arguments],
            cwd=self.here,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.home),
                "STREAM_MAX_WAIT_TIME_IN_SECONDS": "0.1",
                **given,
            },
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def logwax(self, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=DEADLINE)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def write(self, name: str, *lines: str) -> Path:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        return path

    def data(self) -> list[Path]:
        return sorted((self.home / ".local/state/logwax").glob("*"))


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    somebody = Person(tmp_path)
    yield somebody
    for process in somebody.started:
        if process.poll() is None:
            process.terminate()  # its pipeline ends with it
            process.communicate(timeout=DEADLINE)


def column(result: subprocess.CompletedProcess[str], name: str) -> list[object]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line)[name] for line in result.stdout.splitlines()]


# --- run ---------------------------------------------------------------------------------------


def test_a_run_finds_the_format_says_what_it_does_and_what_came_in(person: Person) -> None:
    log = person.write("access.log", *(ACCESS.format(status) for status in (200, 404)), "odd\n")
    done = person.logwax("run", "access.log", "--once")
    assert (done.returncode, done.stderr) == (
        0,
        f"'{log}': combined fits 2 of 3 lines, gunicorn 2.\n",
    )
    (data,) = person.data()
    assert f"File    {log}, {log.stat().st_size:,} bytes" in done.stdout
    assert "Format  2 of 3 lines fit combined; the first that does not: not_com" in done.stdout
    assert f"Store   embedded, in {data}/clickhouse" in done.stdout
    assert re.search(r"^lines=3 stored=2 dead=1 .* reasons=not_combined:1$", done.stdout, re.M)
    assert data.stat().st_mode & 0o77 == 0

    person.write("access.log", ACCESS.format(500))
    assert "lines=1 stored=1 dead=0" in person.logwax("run", "./access.log", "--once").stdout
    statuses = person.logwax("query", "SELECT status_code FROM logs ORDER BY 1")
    assert column(statuses, "status_code") == [200, 404, 500]


def test_names_with_every_special_character_are_files_and_not_patterns(person: Person) -> None:
    names = ["a[1],b?.log", " c*.log", "d,e.log"]
    for name in names:
        person.write(name, ACCESS.format(200))
    person.write("a1.log", ACCESS.format(500))
    person.write("a[1].log", ACCESS.format(500))
    assert person.logwax("run", *names, "--once").returncode == 0
    found = person.logwax("query", "SELECT DISTINCT source FROM logs ORDER BY source")
    assert column(found, "source") == sorted(str(person.here / name) for name in names)


def test_of_a_directory_the_logs_are_read_and_of_a_glob_what_it_leads_to(person: Person) -> None:
    for name in ("web/access.log", "web/access.log.1", "web/notes.txt", "app/a,b.json"):
        line = '{"time": 1795000000, "status": 200}\n' if "app" in name else ACCESS.format(200)
        person.write(name, line)
    person.logwax("run", "web", "--once")
    sources = "SELECT DISTINCT source FROM logs ORDER BY source"
    expected = [str(person.here / "web" / name) for name in ("access.log", "access.log.1")]
    assert column(person.logwax("query", sources), "source") == expected
    person.logwax("run", "app/*,*.json", "--once", DATA_DIR="elsewhere")
    found = person.logwax("query", sources, DATA_DIR="elsewhere")
    assert column(found, "source") == [str(person.here / "app/a,b.json")]


def test_what_rotation_adds_to_a_command_line_is_no_other_set_of_files(person: Person) -> None:
    first = person.write("access.log", ACCESS.format(200))
    person.logwax("run", "access.log", "--once")
    first.rename(person.here / "access.log.1")
    person.write("access.log", ACCESS.format(404))
    done = person.logwax("run", "access.log", "access.log.1", "--once")
    assert "lines=1 stored=1" in done.stdout
    assert "lines=0" in person.logwax("run", "access.log*", "--once").stdout
    assert len(person.data()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.log", "--once", "--format", "json"], "There is no such file: nowhere.log."),
        (["nowhere/logs"], "There is no such file: nowhere/logs."),
        ([], "Name files or directories: logwax run PATH, or write logwax.toml."),
        (["prose.txt", "--format", "morse"], "'morse' is unknown; known are"),
        (["prose.txt", "--format", "json", "--store", "paper"], "'paper' is unknown; known are"),
        (["prose.txt", "--format", "json", "--once", "--open"], "There is no page to open"),
    ],
)
def test_what_cannot_be_run_is_said_and_leaves_nothing(
    person: Person, arguments: list[str], sentence: str
) -> None:
    person.write("prose.txt", "It was a dark and stormy night.\n")
    done = person.logwax("run", *arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert person.data() == []


def test_without_paths_a_run_reads_what_the_rules_name_by_their_formats(person: Person) -> None:
    person.write("timed.log", '10.0.0.1 [22/Nov/2026:20:15:05 +0000] "GET /a" 0.25\n')
    timed = '$remote_addr [$time_local] "$request" $request_time'
    rule = f"[[files]]\npaths = ['timed.log']\nformat = '{timed}'\n"
    person.write("logwax.toml", rule)
    done = person.logwax("run", "--once")
    assert f"1 of 1 lines fit {timed}" in done.stdout
    assert column(person.logwax("query", "SELECT duration FROM logs"), "duration") == [0.25]


def test_the_installed_package_runs_in_a_directory_that_has_one_of_its_names(
    person: Person,
) -> None:
    person.write("access.log", ACCESS.format(200))
    for package in ("flows", "connectors", "native"):
        person.write(f"{package}/__init__.py", "raise SystemExit('not this one')\n")
    assert "stored=1" in person.logwax("run", "access.log", "--once").stdout


def test_options_win_over_settings_which_count_where_none_is_given(person: Person) -> None:
    person.write("a.log", "2026-11-01 10:00:00 c1 /a 200 0.1\n")
    person.write(".env.local", "LOG_FORMAT=api_requests\nDATA_DIR=mine\n")
    assert "stored=1 dead=0" in person.logwax("run", "a.log", "--once").stdout
    assert (person.here / "mine" / "clickhouse").exists()
    done = person.logwax("run", "a.log", "--once", "--format", "json", DATA_DIR="other")
    assert "stored=0 dead=1" in done.stdout
    assert "; LOG_FORMAT=api_requests takes 1" in done.stdout


# --- while it runs -----------------------------------------------------------------------------


@pytest.fixture
def running(person: Person) -> subprocess.Popen[str]:
    """A pipeline of one's own files, with two rows and a dead letter, on a port that was free."""
    person.write("access.log", ACCESS.format(200), ACCESS.format(404), "b\x1b[31md\n")
    with socket.socket() as taken:  # it may be taken already: that is as good
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            pass
        # a browser that notes which page it is asked for
        browser = person.write("browser", "#!/bin/sh\n", f'echo "$1" >{person.here}/opened\n')
        browser.chmod(0o700)
        process = person.start(
            "run", "access.log", "--format", "combined", "--open", BROWSER=browser
        )
        assert process.stdout
        said = process.stdout.readline()
        assert re.fullmatch(r"Port 8000 is taken: the API is at port \d+\.\n", said)
        while "| lag" not in process.stdout.readline():  # of its progress
            assert process.poll() is None

    def has_stored() -> bool:
        return person.logwax("query", "SELECT count() FROM logs").stdout == '{"count()": 2}\n'

    wait_for(has_stored, "two rows", pause=0.25)
    return process


def test_a_running_pipeline_is_asked_but_cannot_be_changed(
    person: Person, running: subprocess.Popen[str]
) -> None:
    file, log = person.here / "out.tsv", person.here / "access.log"
    (data,) = person.data()
    api = json.loads((data / "embedded.lock").read_text())["api"]
    with httpx.Client(timeout=DEADLINE, trust_env=False) as asking:
        asking.headers["Authorization"] = f"Bearer {(data / 'api.token').read_text()}"
        for sql in REFUSED:
            question = {"sql": sql.format(file=file, log=log), "most": 10}
            (event,) = map(
                json.loads, asking.post(f"{api}/commands/query", json=question).iter_lines()
            )
            assert event["event"] == "error", sql
            assert re.search("ClickHouse does not answer that|can be asked", event["detail"]), sql
    assert not file.exists()
    tables = person.logwax("query", "SHOW TABLES")
    assert (person.here / "opened").read_text() == f"{api}\n"
    assert column(tables, "name") == ["dead_letters", "ingest_blocks", "logs", "otel_logs"]
    for sql, answer in {
        "SELECT 'file(', 1 AS n -- and a comment;": 1,
        "WITH 2 AS n SELECT n;": 2,
        "(SELECT 3 AS n)": 3,
    }.items():
        assert column(person.logwax("query", sql), "n") == [answer]

    dead = person.logwax("dead", "--reason", "not_combined")
    assert "not_combined: 1\n" in dead.stdout
    assert f"{log} at byte {2 * len(ACCESS.format(200))}\n" in dead.stdout
    assert "\\x1b[31md" in dead.stdout
    assert "\x1b" not in dead.stdout
    unknown = person.logwax("dead", "--reason", "bad_statsu")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "there are not_combined" in unknown.stderr

    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=DEADLINE)
    assert (running.returncode, err) == (0, "")
    assert "lines=3 stored=2 dead=1" in out
    assert column(person.logwax("query", "SELECT count() AS n FROM logs"), "n") == [2]


def test_an_answer_is_cut_where_it_would_be_too_long(person: Person) -> None:
    person.write("access.log", ACCESS.format(200))
    person.logwax("run", "access.log", "--once")
    found = person.logwax("query", "SELECT number FROM system.numbers")
    assert len(found.stdout.splitlines()) == 100_000
    assert "These are the first 100,000 rows" in found.stderr
    odd = person.logwax("query", "SELECT unhex('ff41') AS a, char(27, 155) AS b, NULL AS c")
    assert json.loads(odd.stdout) == {"a": "\\xffA", "b": "\x1b\\x9b", "c": None}
    assert odd.stdout.isprintable() or odd.stdout.rstrip("\n").isprintable()


def test_of_several_stores_one_has_to_be_chosen(person: Person) -> None:
    for name in ("one.log", "two.log"):
        person.write(name, ACCESS.format(200))
        person.logwax("run", name, "--once")
    done = person.logwax("dead")
    assert done.returncode == 1
    one, two = person.data()
    assert done.stderr.splitlines()[1:] == [
        f"  DATA_DIR={data}  # {person.here / name}"
        for data, name in ((one, "one.log"), (two, "two.log"))
    ]
    assert person.logwax("dead", DATA_DIR=one).stdout == "There are no dead letters.\n"
    audit = person.logwax("audit", DATA_DIR=two)  # it knows the files and their format
    assert "total of 1 files: lines=1 stored=1" in audit.stdout


def test_without_a_store_a_command_says_so_and_makes_none(person: Person) -> None:
    done = person.logwax("query", "SELECT 1")
    assert (done.returncode, done.stderr) == (1, "There is no store in DATA_DIR=data.\n")
    assert list(person.here.iterdir()) == []


# --- before it runs ----------------------------------------------------------------------------


def test_a_try_shows_rows_and_misfits_and_stores_nothing(person: Person) -> None:
    person.write("access.log", ACCESS.format(200), "odd\n", ACCESS.format(200))
    done = person.logwax("try", "access.log", "--format", "combined")
    assert done.returncode == 1
    row, _, letter = map(json.loads, done.stdout.splitlines())
    assert (row["client_ip"], letter["reason"], letter["raw"]) == (
        "203.0.113.7",
        "not_combined",
        "odd",
    )
    assert "2 of 3 lines fit combined.\nnot_combined: 1\n" in done.stderr
    wrong = person.logwax("try", "access.log", "--format", "json")
    assert "0 of 3 lines fit json; LOG_FORMAT=combined takes 2." in wrong.stderr
    assert person.logwax("try", "nowhere").stderr == (
        "Cannot read 'nowhere': No such file or directory.\n"
    )
    assert [path.name for path in person.here.iterdir()] == ["access.log"]


def test_a_try_whose_reader_has_seen_enough_says_nothing(person: Person) -> None:
    person.write("access.log", *(ACCESS.format(200) for _ in range(20)))
    reader, writer = os.pipe()
    os.close(reader)
    process = person.start("try", "access.log", "--format", "combined", stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=DEADLINE)[1] == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_check_looks_at_the_newest_lines_of_each_file(person: Person, encoding: str) -> None:
    old = "".join(ACCESS.format(200) for _ in range(5000))
    new = "".join(ACCESS.format(200) for _ in range(98)) + 'odd\n{"time": 1, "status": 2}\n'
    (person.here / "a.log").write_bytes(("old\n" + old + new).encode(encoding))
    (person.here / "b.log").write_bytes('{"time": 1795000000, "status": 2}\n'.encode(encoding))
    done = person.logwax(
        "check", LOG_PATHS="[ab].log", LOG_FORMAT="combined", LOG_ENCODING=encoding, API_PORT=0
    )
    assert done.returncode == 0
    a, b = person.here / "a.log", person.here / "b.log"
    assert "a.log: 98 of 100 lines fit combined; the first that does not: not_comb" in done.stdout
    assert "b.log: 0 of 1 lines fit combined; the first" in done.stdout
    assert "; LOG_FORMAT=json takes 1." in done.stdout
    assert a.exists() and b.exists()
