"""Settings: where they come from, which one wins, and what is said of wrong ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import settings
from connectors.errors import SettingsError
from flows.settings import load
from settings import Settings
from tests.conftest import ROOT, Pipeline


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and none of the settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)


def test_everything_has_a_default() -> None:
    found = load()
    assert (found.store, found.log_format, found.data_dir) == (
        "embedded",
        "api_requests",
        Path("data"),
    )
    assert (found.stream_max_size, found.stream_max_wait_time_in_seconds) == (100_000, 1.0)
    assert (found.api_host, found.api_port) == ("127.0.0.1", 8000)
    assert found.follow


def test_settings_come_from_the_environment_and_from_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env.local").write_text("STREAM_MAX_SIZE=5\nFOLLOW=false\n")
    monkeypatch.setenv("API_PORT", "0")
    found = load()
    assert (found.stream_max_size, found.follow, found.api_port) == (5, False, 0)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env.local").write_text("STREAM_MAX_SIZE=5\n")
    monkeypatch.setenv("STREAM_MAX_SIZE", "7")
    assert load().stream_max_size == 7


@pytest.mark.parametrize(
    ("store", "mebibytes"), [("embedded", 24), ("clickhouse", 24), ("influxdb", 12), ("null", 12)]
)
def test_batches_for_clickhouse_are_larger_unless_told(
    store: str, mebibytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", store)
    assert load().batch_bytes == mebibytes * 1024 * 1024
    monkeypatch.setenv("STREAM_MAX_BYTES", "4096")
    assert load().batch_bytes == 4096


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env.local").write_text("RETENTION_DAYS=\n")
    monkeypatch.setenv("STREAM_MAX_SIZE", "")
    monkeypatch.setenv("INSTANCE", "")
    found = load()
    assert (found.stream_max_size, found.retention_days) == (100_000, 0)
    assert found.instance


def test_names_in_the_file_that_are_no_settings_are_ignored() -> None:
    Path(".env.local").write_text("BYTEWAX_WORKERS_PER_PROCESS=2\nSTREAM_MAX_SIZE=5\n")
    assert load().stream_max_size == 5


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env.local").write_text("LOG_TIMEZONE=Mars\n")
    wrong = {
        "LOG_FORMAT": "xml",
        "STORE": "oracle",
        "STREAM_MAX_SIZE": "-1",
        "API_PORT": "70000",
        "FOLLOW": "perhaps",
        "CLICKHOUSE_TABLE": "logs; DROP TABLE logs",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    named = {problem.partition("=")[0]: problem for problem in caught.value.problems}
    assert named.keys() == wrong.keys() | {"LOG_TIMEZONE"}
    for name, value in wrong.items():
        assert repr(value) in named[name]


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [("LOG_FORMAT", "xml", "combined"), ("STORE", "oracle", "embedded")],
)
def test_what_is_unknown_is_answered_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, known: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"is unknown; known are .*{known}"):
        load()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"])
def test_a_time_zone_is_an_iana_name(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("LOG_TIMEZONE", zone)
    assert load().log_timezone == zone


@pytest.mark.parametrize("zone", ["CEST", "localtime", "../etc/passwd", "Europe", "europe/berlin!"])
def test_what_is_no_iana_name_is_refused(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("LOG_TIMEZONE", zone)
    with pytest.raises(SettingsError, match="is not an IANA time zone"):
        load()


@pytest.mark.parametrize(
    ("given", "patterns"),
    [
        ("a.log", ("a.log",)),
        ("a.log,b/*.log", ("a.log", "b/*.log")),
        (" a.log , , b.log ,", ("a.log", "b.log")),
        ("with space.log", ("with space.log",)),
        ("a[,]b.log,c[,x].log", ("a[,]b.log", "c[", "x].log")),
    ],
)
def test_log_paths_are_split_at_their_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, patterns: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LOG_PATHS", given)
    assert load().patterns == patterns


@pytest.mark.parametrize("given", ["", " ", ","])
def test_without_log_paths_the_generators_file_is_read(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("LOG_PATHS", given)
    monkeypatch.setenv("LOG_FILE_PATH", "elsewhere/x.log")
    assert load().patterns == ("elsewhere/x.log",)


def test_the_instance_is_the_machine_id_else_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_id = tmp_path / "machine-id"
    monkeypatch.setattr(settings, "Path", lambda _: machine_id)
    assert settings._default_instance() == socket.gethostname()
    machine_id.write_text("\n")
    assert settings._default_instance() == socket.gethostname()
    machine_id.write_text("0123456789abcdef\n")
    assert settings._default_instance() == "0123456789abcdef"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().api_port = 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("LOG_FORMAT: json\n", 1),
        ('# a comment\n\nLOG_PATHS="/var/log/*.log\nSTORE=null\n', 3),
        ("STORE=null\nINFLUXDB_TOKEN='secret\n", 2),
        ("STORE=null\n\n\n  garbage\n", 4),
        ("STORE='null' json\n", 1),
        ("=json\n", 1),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(text: str, line: int) -> None:
    Path(".env.local").write_text(f"{text}\nLOG_TIMEZONE=Mars\n")
    with pytest.raises(SettingsError) as caught:
        load()
    first, second = caught.value.problems
    assert first.startswith(f".env.local, line {line}, cannot be read: ")
    assert "secret" not in first
    assert second.startswith("LOG_TIMEZONE='Mars': ")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"STORE=null\nLOG_PATHS=/gr\xfc\xdfe/*.log\n", 2),
        ("STORE=null\n".encode("utf-16"), 1),
        ("STORE=null\n".encode("utf-16-le"), 1),
    ],
)
def test_a_file_of_another_encoding_is_refused(data: bytes, line: int) -> None:
    Path(".env.local").write_bytes(data)
    with pytest.raises(SettingsError, match=rf"^\.env\.local, line {line}, is not UTF-8: "):
        load()


def test_a_directory_is_no_file_of_settings() -> None:
    Path(".env.local").mkdir()
    with pytest.raises(SettingsError, match=r"^\.env\.local cannot be read: Is a directory"):
        load()


def test_nothing_is_put_into_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("x", "never")
    Path(".env.local").write_text("INFLUXDB_TOKEN=pa${x}ss\nINSTANCE='${HOME}:$x'\n")
    found = load()
    assert (found.influxdb_token.get_secret_value(), found.instance) == ("pa${x}ss", "${HOME}:$x")


def test_the_file_is_read_as_shells_read_it() -> None:
    Path(".env.local").write_bytes(
        b"\xef\xbb\xbfexport STORE=null # discard\r\n# a comment\r\n\r\n"
        b"  log_format = 'json'\r\nLOG_PATHS=\"a b.log,\r\nc.log\"\r\n"
    )
    found = load()
    assert (found.store, found.log_format, found.patterns) == (
        "null",
        "json",
        ("a b.log", "c.log"),
    )


def test_a_name_that_is_nearly_that_of_a_setting_gets_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_PATH", "a.log")
    Path(".env.local").write_text("STORES=null\nBYTEWAX_WORKERS_PER_PROCESS=2\nAPI_KEY=x\n")
    meant = [hint for hint in settings.hints() if hint.startswith(("LOG_PATH ", "STORES "))]
    assert meant == [
        "LOG_PATH is no setting and is ignored: is LOG_PATHS meant?",
        "STORES is no setting and is ignored: is STORE meant?",
    ]
    assert not [hint for hint in settings.hints() if hint.startswith(("BYTEWAX", "API_KEY"))]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nowhere:X", "nowhere:X cannot be imported: No module named 'nowhere'."),
        ("json:dumps", "json:dumps is no StoreKind."),
    ],
)
def test_what_another_package_adds_wrongly_is_named_with_the_wrong_settings(
    tmp_path: Path, value: str, problem: str
) -> None:
    metadata = tmp_path / "wrong-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[logwax.stores]\nwrong = {value}\n")
    done = Pipeline(tmp_path, 0).run(
        PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}", STREAM_MAX_SIZE="x"
    )
    assert done.returncode == 1
    assert f"logwax.stores: {problem}" in done.stderr
    assert "STREAM_MAX_SIZE='x'" in done.stderr
