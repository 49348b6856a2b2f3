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
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
    create_model,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.errors import SettingsError
from connectors.sinks import PROBLEMS, STORES
from connectors.sinks.clickhouse import EMBEDDED, ClickHouseSettings
from connectors.sinks.influxdb import InfluxSettings
from connectors.sinks.kind import StoreKind
from connectors.sinks.mongodb import MongoSettings
from connectors.sources.rules import FileRule, Rules, read_rules

ENV_FILE = ".env.local"


@cache
def _zones() -> set[str]:
    return available_timezones() - {"localtime", "Factory"}


def time_zone(name: str) -> str:
    """The name of a zone. Raises `ValueError` if it is none."""
    try:
        # Polars knows the IANA zones only, and not the aliases that a machine makes of its own.
        if name != "UTC" and ZoneInfo(name).key not in _zones():
            raise ValueError(name)
    except (OSError, KeyError, ValueError):
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin") from None
    return name


def _store(name: str) -> str:
    return _one_of(name, STORES)


def _token(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]*", token.get_secret_value()):
        raise ValueError("must be of ASCII characters without spaces, as a header has them")
    return token


def _globs(text: str) -> tuple[str, ...]:
    """Split at each comma but `[,]`, by which a glob can have one."""
    parts = re.findall(r"(?:\[,\]|[^,])+", text)
    return tuple(part.strip() for part in parts if part.strip())


def parts(text: str) -> tuple[str, ...]:
    """Split at the commas, each part once; what is empty is none."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


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


class _Common(BaseSettings):
    """The settings that no store has for itself."""

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
    log_format: str = Field(
        "api_requests",
        description="Format of the lines: a name such as json or cri:json, auto (found out file by "
        "file), nginx's `log_format`, Apache's `LogFormat`, or a regular expression.",
    )
    log_multiline: str = Field(
        "",
        description="Which lines are one event: java, python, go, ruby, dotnet, js, php, indent, "
        "parts, a regular expression of how events begin, or `continues:` and one of their other "
        "lines. Default: each is one.",
    )
    log_timezone: Annotated[str, AfterValidator(time_zone)] = Field(
        "UTC",
        description="IANA zone of times in the lines that carry none. Stored times are UTC always.",
    )
    log_duration_unit: Literal["s", "ms", "us", "ns"] = Field(
        "s",
        description="Unit of plain numbers under the key `duration` of json and logfmt.",
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
        description="Where to begin in the files that exist at the very first start.",
    )
    log_linger_seconds: float = Field(
        300.0,
        ge=0,
        le=7 * 86_400,
        description="Where nobody can see who writes to a renamed or deleted file: for how long it "
        "is read on after it grew last.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="The database with the outbox that `flows.outbox` reads: "
        "`postgresql://user:password@host/name`, or `sqlite:///path`; or the file of a local "
        "logger, `sqlite:///path`.",
        repr=False,
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="The Redis that `flows.redis` reads: `redis://user:password@host:port/0`, "
        "`rediss://` with TLS, `unix://path`; a cluster is noticed, or named by `?cluster=true`. "
        "Default: `redis://127.0.0.1:6379/0`.",
        repr=False,
    )
    redis_stream: Annotated[str, StringConstraints(min_length=1)] = Field(
        "logwax:events",
        description="The stream that `flows.redis` reads, by the field `event` of its entries.",
    )
    redis_list: str = Field(
        "", description="A list of events that `flows.redis` reads instead of a stream."
    )
    redis_group: Annotated[str, StringConstraints(min_length=1)] = Field(
        "logwax", description="The consumer group: of those of one group, one gets an event."
    )
    geoip_db: str = Field(
        "",
        description="Where ENRICHERS has geoip: files in MaxMind's format, separated by commas; "
        "of two that know something, the first counts.",
    )
    enrichers: str = Field(
        "patterns",
        description="What is found out about lines besides, separated by commas: patterns, "
        "user_agent, geoip, visitor; or none.",
    )
    pii_key: SecretStr = Field(
        SecretStr(""), description="The key of hashes in PII: a long random text.", repr=False
    )
    pii: str = Field(
        "",
        description="What nobody shall keep, separated by commas, such as `email=mask`, "
        "`client_ip=hash`, `token=drop`: columns, keys as `attributes.user`, or patterns (email, "
        "token, card, address).",
    )
    keep: str = Field("", description="Only rows that this filter takes are stored. Default: all.")
    drop: str = Field(
        "", description="Rows that this filter takes are not stored, such as `endpoint = /health`."
    )
    sample: str = Field(
        "",
        description="Filters and the share of their rows that is stored, separated by semicolons, "
        "such as `level = debug: 0.01; status_code < 400: 0.1`; the first that takes a row counts.",
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
        "Default: 24 MiB for ClickHouse, 12 MiB for other stores.",
    )
    stream_max_wait_time_in_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        description="A smaller batch is written once its oldest line has waited this long.",
    )

    # Where it is stored
    store: Annotated[str, AfterValidator(_store)] = Field(
        EMBEDDED.name,
        description=f"Where lines are stored: {', '.join(STORES)}.",
    )
    data_dir: Path = Field(Path("data"), description="Directory of everything Logwax keeps.")
    ledger_keep_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Files that have been gone for so long are forgotten, and so are old entries "
        "of the ledger.",
    )
    instance: Annotated[str, StringConstraints(min_length=1)] = Field(
        default_factory=_default_instance,
        description="Name of this host in the ledger. Default: the machine id, else the host name.",
    )
    own_logs: Literal["text", "json"] = Field(
        "text",
        description="What Logwax says on stderr: sentences, or as `json` an object a line.",
    )

    # The API
    api_host: str = Field("127.0.0.1", description="Address the API binds.")
    api_token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        SecretStr(""),
        description="What the API and QUERY_PORT ask for, as `Authorization: Bearer`. Default: "
        "nothing on this machine, beyond it what DATA_DIR/read.token holds.",
        repr=False,
    )
    api_port: int = Field(8000, ge=0, le=65_535, description="Port of the API; 0 serves none.")
    query_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port on which the embedded store is asked by ClickHouse's HTTP protocol, at "
        "API_HOST; 0: none.",
    )

    webhook_hosts: str = Field(
        "",
        description="The hosts that webhooks of alerts may be on, separated by commas. Default: "
        "any.",
    )

    # The log generator
    log_batch_size: int = Field(10, ge=1, description="Lines appended at a time.")
    log_interval_seconds: float = Field(
        1.0,
        ge=0,
        le=86_400,
        description="Pause between appends; 0 writes as fast as it can.",
    )
    max_logs_to_generate: int = Field(
        0, ge=0, description="Stop after this many lines; 0 goes on for ever."
    )
    log_generator_format: Literal["api_requests", "json", "combined", "logfmt"] = Field(
        "api_requests", description="Format of the lines it writes."
    )
    log_generator_seed: int | None = Field(
        None, description="The same seed writes the same values. Default: random."
    )
    log_generator_bad_ratio: float = Field(
        0.0, ge=0, le=1, description="Share of lines that are malformed on purpose."
    )

    _rules: tuple[FileRule, ...] = PrivateAttr(default=())

    @property
    def rules(self) -> Rules:
        """What `logwax.toml` says of files."""
        return Rules(self._rules)

    @property
    def store_kind(self) -> StoreKind:
        """The store that `STORE` names."""
        return STORES[self.store]

    @property
    def api_url(self) -> str:
        """Where this process serves the API, as seen from this machine; empty if it serves none."""
        if not (self.follow and self.api_port and self.store_kind.keeps):
            return ""
        every_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # bound there, asked here
        host = every_address.get(self.api_host, self.api_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The globs to read: `LOG_PATHS` split at its commas, else `LOG_FILE_PATH`, a path."""
        return _globs(self.log_paths) or (glob.escape(str(self.log_file_path)),)

    @property
    def enricher_names(self) -> tuple[str, ...]:
        """What `ENRICHERS` turns on: split at its commas."""
        return () if self.enrichers == "none" else parts(self.enrichers)

    @property
    def webhook_host_names(self) -> tuple[str, ...]:
        """What `WEBHOOK_HOSTS` names, in lower case."""
        return parts(self.webhook_hosts.lower())

    @property
    def unasked_enrichers(self) -> tuple[str, ...]:
        """Those that are on because nobody has said which: a store may lack their columns."""
        return () if "enrichers" in self.model_fields_set else self.enricher_names

    @property
    def geoip_files(self) -> tuple[str, ...]:
        """The paths in `GEOIP_DB`, split at its commas."""
        return parts(self.geoip_db)

    @property
    def archives(self) -> Path:
        """The file in which it is remembered where compressed files end."""
        return self.data_dir / "archive_ends"

    @property
    def batch_bytes(self) -> int:
        """`STREAM_MAX_BYTES`, else what suits the store."""
        return self.stream_max_bytes or self.store_kind.batch_bytes


if TYPE_CHECKING:  # which knows those of this project

    class _OfStores(ClickHouseSettings, InfluxSettings, MongoSettings):
        pass
else:
    _OfStores = create_model(
        "_OfStores",
        __base__=tuple(dict.fromkeys(kind.settings for kind in reversed(STORES.values()))),
    )


class Settings(_OfStores, _Common):
    """The effective settings of one process. Make one with `load()`."""

    @classmethod
    def wrong_with(cls, rules: Sequence[FileRule]) -> list[str]:
        """A sentence for each value of these rules that means nothing."""
        return []


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


def _told_by(rules: Sequence[FileRule]) -> dict[str, str]:
    """What `logwax.toml` means for settings of which nothing else says anything."""
    said = {name.lower() for name, value in os.environ.items() if value} | from_file().keys()
    told = {"log_paths": Rules(rules).patterns, "log_format": "auto"} if rules else {}
    if "log_file_path" in said:
        told.pop("log_paths", None)
    return {name: value for name, value in told.items() if name not in said}


def hints() -> list[str]:
    """A sentence for every name that is none of a setting, and looks as if it were meant to be."""
    known = [name.upper() for name in Settings.model_fields]
    given = {*map(str.upper, os.environ), *read_env_file()[0]}
    return [
        f"{name} is no setting and is ignored: is {likely[0]} meant?"
        for name in sorted(given.difference(known))
        if (likely := get_close_matches(name, known, 1, 0.88))
    ]


def load(kind: type[Settings] = Settings) -> Settings:
    """Read and validate all settings. What parses lines loads them by `flows.settings`.

    Raises `SettingsError` with one sentence for everything that is wrong, all at once.
    """
    rules, wrong = read_rules()
    problems = [*read_env_file()[1], *PROBLEMS, *wrong, *kind.wrong_with(rules)]
    try:
        settings = kind(**(from_file() | _told_by(rules)))  # type: ignore[arg-type]  # as texts
        settings._rules = tuple(rules)
    except ValidationError as error:
        problems += [
            f"{name.upper()}={shown}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
            for name in map(str, problem["loc"][:1])
            for shown in [repr(problem["input"]) if Settings.model_fields[name].repr else "***"]
        ]
    if problems:
        raise SettingsError(problems)
    return settings
