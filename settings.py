"""Every setting of Logwax: name, default, meaning. The documentation is made from this table.

Settings come from environment variables and from `.env.local` in the working directory, read by
python-dotenv; the real environment wins, and an empty value means the default. The variable of a
field is its name in capitals (`log_paths` is `LOG_PATHS`).
"""

from __future__ import annotations

import glob
import io
import os
import re
import socket
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    Field,
    Secret,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.errors import SettingsError

ENV_FILE = ".env.local"


def _time_zone(name: str) -> str:
    try:
        # Polars knows the IANA zones only, and not the aliases that a machine makes of its own.
        if ZoneInfo(name).key not in available_timezones() - {"localtime", "Factory"}:
            raise ValueError(name)
    except (OSError, KeyError, ValueError):
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin") from None
    return name


def _format(text: str) -> str:
    from flows.parsing import FORMATS

    if text not in FORMATS:
        from flows.parsing.choice import describe

        describe(text)
    return text


def _store(name: str) -> str:
    from connectors.sinks import STORES

    return _one_of(name, STORES)


def _table(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("a table's name has letters, digits and underscores")
    if name in ("dead_letters", "ingest_blocks"):
        raise ValueError("Logwax has a table of that name for itself")
    return name


def _tags(names: str) -> str:
    from connectors.batch import COLUMNS

    known = {name for name, dtype in COLUMNS.items() if str(dtype) in ("String", "Boolean")}
    known -= {"attributes"}
    for name in _parts(names):
        _one_of(name, known)
    return names


def _influxdb_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or "@" in parts.netloc:
        raise ValueError(
            "must be http://host:port, or https; user, password and token have their own settings"
        )
    return url


def _token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be one line of ASCII")
    return token


class ClickHouseUrl(Secret[str]):
    """The address of a server; everything that shows it leaves its secrets out."""

    def _display(self) -> str:
        return _without_secrets(self.get_secret_value())


def _clickhouse_url(url: ClickHouseUrl) -> ClickHouseUrl:
    try:
        parts = urlsplit(url.get_secret_value())
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            "must be http://user:password@host:port/database, or https; "
            "in user and password, percent-encode what is not a letter or a digit"
        )
    return url


def _without_secrets(url: str) -> str:
    """A URL as it may be shown: without its password and its secret options."""
    shown = re.sub(r"^(\w+://)?([^:/@]*).*@", r"\1\2:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*(?:pass|token|secret|key|proxy|headers)\w*=)[^&]*", r"\1***", shown)


def _parts(text: str) -> tuple[str, ...]:
    """What is between commas, those excepted that stand in brackets alone: `a[,]b.log`."""
    return tuple(part.strip() for part in re.split(r"(?<!\[),|,(?!\])", text) if part.strip())


def _globs(text: str) -> tuple[str, ...]:
    """Split at each comma but `[,]`, by which a glob can have one."""
    parts = re.findall(r"(?:\[,\]|[^,])+", text)
    return tuple(part.strip() for part in parts if part.strip())


def _one_of(name: str, table: Iterable[str]) -> str:
    if name not in table:
        raise ValueError(f"{name!r} is unknown; known are {', '.join(sorted(table))}")
    return name


def _default_instance() -> str:
    """The machine id, else the host name: two hosts may hold the same bytes."""
    try:
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine_id = ""
    return machine_id or socket.gethostname()


class Settings(BaseSettings):
    """The effective settings of one process. Make one with `load()`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    # What is read
    log_file_path: Path = Field(
        Path("data/logs/api_requests.log"),
        description="The file the log generator appends to, and the default of LOG_PATHS.",
    )
    log_paths: str = Field(
        "",
        description="Files to read: globs, separated by commas (`**` crosses directories). "
        "Default: LOG_FILE_PATH.",
    )
    log_format: Annotated[str, AfterValidator(_format)] = Field(
        "api_requests",
        description="Format of the lines: a name such as json, combined or cri:json, nginx's "
        "`log_format`, Apache's `LogFormat`, or a regular expression with named groups.",
    )
    log_timezone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "UTC",
        description="IANA zone of times in the lines that carry none. Stored times are UTC always.",
    )
    log_duration_unit: Literal["s", "ms", "us", "ns"] = Field(
        "s",
        description="Unit of plain numbers under the key `duration` of json and logfmt. Other keys "
        "name their units, and so do values such as `1.2ms`.",
    )
    log_encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be"] = Field(
        "utf-8",
        description="Encoding of the files. A byte order mark at their beginning is skipped.",
    )
    log_max_line_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=1024**3,
        description="A longer line becomes a dead letter with its first bytes.",
    )
    log_start: Literal["beginning", "end"] = Field(
        "beginning",
        description="Where to begin in the files that exist at the very first start. Later files "
        "are read from their beginning; after the first start the store knows the position.",
    )
    log_linger_seconds: float = Field(
        300.0,
        ge=0,
        le=7 * 86_400,
        description="A file that has been renamed or deleted is read on for as long as a process "
        "has it open for writing. Where that cannot be ruled out: for so long after it grew last.",
    )
    follow: bool = Field(
        True,
        description="false: read what is there, print one summary line and exit; no API is served.",
    )

    # How lines are collected into batches
    stream_max_size: int = Field(
        100_000, ge=1, le=10_000_000, description="Lines in a batch, at most."
    )
    stream_max_bytes: int | None = Field(
        None,
        ge=1024,
        le=1024**3,
        description="Bytes in a batch, at most (a single longer line excepted). "
        "Default: 24 MiB for ClickHouse, embedded or a server, 12 MiB for other stores.",
    )
    stream_max_wait_time_in_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        description="A smaller batch is written once its oldest line has waited this long.",
    )

    # Where it is stored
    store: Annotated[str, AfterValidator(_store)] = Field(
        "embedded",
        description="embedded: ClickHouse inside this process, in DATA_DIR/clickhouse. "
        "clickhouse: the ClickHouse server at CLICKHOUSE_URL. "
        "influxdb: the InfluxDB server at INFLUXDB_URL. "
        "console: show lines on stdout, in tables on a terminal, else as JSON. "
        "null: discard finished batches, for measuring.",
    )
    data_dir: Path = Field(Path("data"), description="Directory of everything Logwax keeps.")
    clickhouse_url: Annotated[ClickHouseUrl, AfterValidator(_clickhouse_url)] = Field(
        ClickHouseUrl("http://127.0.0.1:8123"),
        description="The server of STORE=clickhouse: http or https, user, password, host, port, "
        "database, and options such as `?send_receive_timeout=60`.",
    )
    clickhouse_table: Annotated[str, AfterValidator(_table)] = Field(
        "logs", description="Table of the stored lines."
    )
    influxdb_url: Annotated[str, AfterValidator(_influxdb_url)] = Field(
        "http://127.0.0.1:8086",
        description="The server of STORE=influxdb: http or https, host, port, and the option "
        "`?ca_cert=` with the file of a certificate authority.",
    )
    influxdb_api: Literal["v2", "v1"] = Field(
        "v2",
        description="v2: `/api/v2/write`, which 2.x, 3.x and 1.8 have. v1: `/write` of 1.x.",
    )
    influxdb_token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        SecretStr(""), description="Token of INFLUXDB_API=v2; of 1.8 `user:password`."
    )
    influxdb_org: str = Field("", description="Organization of INFLUXDB_API=v2; only 2.x asks.")
    influxdb_bucket: Annotated[str, StringConstraints(min_length=1)] = Field(
        "logwax", description="Bucket that is written; with INFLUXDB_API=v1 the database."
    )
    influxdb_user: str = Field("", description="User of INFLUXDB_API=v1; empty: none.")
    influxdb_password: SecretStr = Field(SecretStr(""), description="Password of INFLUXDB_API=v1.")
    influxdb_gzip: bool = Field(
        False, description="true: compress what is written; less network, more CPU time."
    )
    influxdb_tags: Annotated[str, AfterValidator(_tags)] = Field(
        "customer_id,method,status_class,success",
        description="Columns that are tags, separated by commas; all others are fields. Not to be "
        "changed once a bucket has lines.",
    )
    influxdb_max_tag_values: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="A tag with more values than this becomes a field from then on.",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Stored lines older than this are deleted; 0 keeps all. Of ClickHouse only: "
        "a bucket of InfluxDB has its own.",
    )
    ledger_keep_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Files that have been gone for so long are forgotten, and so are the entries "
        "of the ledger that nothing needs any more.",
    )
    instance: Annotated[str, StringConstraints(min_length=1)] = Field(
        default_factory=_default_instance,
        description="Name of this host in the ledger, so that equal bytes on two hosts stay "
        "two files. Default: the machine id, else the host name.",
    )

    # The API
    api_host: str = Field("127.0.0.1", description="Address the API binds.")
    api_port: int = Field(8000, ge=0, le=65_535, description="Port of the API; 0 serves none.")

    # The log generator
    log_batch_size: int = Field(10, ge=1, description="Generator: lines appended at a time.")
    log_interval_seconds: float = Field(
        1.0,
        ge=0,
        le=86_400,
        description="Generator: pause between appends; 0 writes as fast as it can.",
    )
    max_logs_to_generate: int = Field(
        0, ge=0, description="Generator: stop after this many lines; 0 goes on for ever."
    )
    log_generator_format: Literal["api_requests", "json", "combined", "logfmt"] = Field(
        "api_requests", description="Generator: format of the lines."
    )
    log_generator_seed: int | None = Field(
        None, description="Generator: the same seed writes the same values. Default: random."
    )
    log_generator_bad_ratio: float = Field(
        0.0, ge=0, le=1, description="Generator: share of lines that are malformed on purpose."
    )

    @property
    def api_url(self) -> str:
        """Where this process serves the API, as seen from this machine; empty if it serves none."""
        # of a store that keeps nothing, nothing could be asked
        if not (self.follow and self.api_port) or self.store in ("console", "null"):
            return ""
        every_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # bound there, asked here
        host = every_address.get(self.api_host, self.api_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The globs to read: `LOG_PATHS` split at its commas, else `LOG_FILE_PATH`, a path."""
        return _globs(self.log_paths) or (glob.escape(str(self.log_file_path)),)

    @property
    def archives(self) -> Path:
        """The file in which it is remembered where compressed files end."""
        return self.data_dir / "archive_ends"

    @property
    def batch_bytes(self) -> int:
        """`STREAM_MAX_BYTES`, else what suits the store: ClickHouse merges what came in small."""
        default = 24 if self.store in ("embedded", "clickhouse") else 12
        return self.stream_max_bytes or default * 1024 * 1024

    @property
    def influxdb_tag_columns(self) -> tuple[str, ...]:
        """The columns that are tags: `INFLUXDB_TAGS` split at its commas."""
        return _parts(self.influxdb_tags)


_SECRETS = ("clickhouse_url", "influxdb_url", "influxdb_token", "influxdb_password")


def read_env_file() -> tuple[dict[str, str], list[str]]:
    """The names and values in `.env.local`, and a sentence for every line that cannot be read.

    As python-dotenv reads it, less its interpolation: `pa${x}ss` is a password.
    """
    try:
        data = Path(ENV_FILE).read_bytes()
        text = data.decode("utf-8-sig")
        if "\0" in text:  # of UTF-16
            raise UnicodeDecodeError("utf-8", data, data.index(0), 1, "")
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{ENV_FILE} cannot be read: {error.strerror}."]
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        return {}, [f"{ENV_FILE}, line {line}, is not UTF-8: save the file in that encoding."]
    values, problems = {}, []
    for found in parse_stream(io.StringIO(text, newline=None)):
        written = found.original.string
        if found.error or (found.key and found.value is None):
            before = written[: len(written) - len(written.lstrip())]
            line = found.original.line + before.count("\n")
            problems.append(  # without the line itself, which may hold a password
                f"{ENV_FILE}, line {line}, cannot be read: write NAME=value, and close every quote."
            )
        elif found.key and found.value:
            values[found.key.upper()] = found.value
    return values, problems


def from_file() -> dict[str, str]:
    """What `.env.local` gives to the fields of which the environment says nothing."""
    said = {name.upper() for name, value in os.environ.items() if value}
    values = read_env_file()[0].items()
    return {
        name.lower(): value
        for name, value in values
        if name not in said and name.lower() in Settings.model_fields
    }


def hints() -> list[str]:
    """A sentence for every name that is none of a setting, and looks as if it were meant to be."""
    known = [name.upper() for name in Settings.model_fields]
    given = {*map(str.upper, os.environ), *read_env_file()[0]}
    return [
        f"{name} is no setting and is ignored: is {likely[0]} meant?"
        for name in sorted(given.difference(known))
        if (likely := get_close_matches(name, known, 1, 0.88))
    ]


def load() -> Settings:
    """Read and validate all settings.

    Raises `SettingsError` with one sentence for everything that is wrong, all at once.
    """
    problems = read_env_file()[1]
    try:
        settings = Settings(**from_file())  # type: ignore[arg-type]  # texts, as in the environment
    except ValidationError as error:
        problems += [
            f"{name.upper()}={'***' if name in _SECRETS else problem['input']!r}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
            for name in map(str, problem["loc"][:1])
        ]
    if problems:
        raise SettingsError(problems)
    return settings
