"""Stores `embedded` and `clickhouse`: ClickHouse, in this process or as a server."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, Secret

from connectors.sinks.kind import MEBIBYTE, StoreKind

if TYPE_CHECKING:
    from settings import Settings

EVENT_LOG = "event_log"
"""The table of events."""

_ADDRESS_SPACE = 3 * 1024**3 // 2  # below it, the engine does not always start (measured)

DESCRIPTORS = 256
"""Files that the embedded store has open with some of ours; of 100 it runs out at once."""


def _table(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("a table's name has letters, digits and underscores")
    if name in ("dead_letters", "ingest_blocks", EVENT_LOG):
        raise ValueError("Logwax has a table of that name for itself")
    return name


class ClickHouseUrl(Secret[str]):
    """The address of a server; everything that shows it leaves its secrets out."""

    def _display(self) -> str:
        return _without_secrets(self.get_secret_value())


def _url(url: ClickHouseUrl) -> ClickHouseUrl:
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


class ClickHouseSettings(BaseModel):
    """What `Settings` has for ClickHouse."""

    clickhouse_url: Annotated[ClickHouseUrl, AfterValidator(_url)] = Field(
        ClickHouseUrl("http://127.0.0.1:8123"),
        description="The server of STORE=clickhouse: http or https, user, password, host, port, "
        "database, and options such as `?send_receive_timeout=60`.",
        repr=False,
    )
    clickhouse_table: Annotated[str, AfterValidator(_table)] = Field(
        "logs", description="Table of the stored lines."
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Stored lines older than this are deleted; 0 keeps all. Of ClickHouse only: "
        "a bucket of InfluxDB has its own.",
    )


def _problems_of_embedded(settings: Settings) -> Iterator[str]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS:
        yield (
            f"This process may have {most} files open, and the embedded store needs {DESCRIPTORS}: "
            "raise the limit (`ulimit -n`, or LimitNOFILE of a service)."
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        yield (
            f"STORE=embedded: the memory of a process is limited to {limit / 1024**3:.1f} GiB "
            f"(`ulimit -v`), and the engine needs {_ADDRESS_SPACE / 1024**3:.1f}, under load more: "
            "raise the limit, or choose a server as the store."
        )


def _for_events(settings: Settings) -> Settings:
    return settings.model_copy(update={"clickhouse_table": EVENT_LOG, "retention_days": 0})


_EXAMPLE = "SELECT count() FROM logs"
_BATCH_BYTES = 24 * MEBIBYTE  # it merges what came in small

EMBEDDED = StoreKind(
    "embedded",
    "ClickHouse inside this process, in DATA_DIR/clickhouse.",
    "connectors.sinks.clickhouse.embedded",
    ClickHouseSettings,
    kept_in="clickhouse",
    example=_EXAMPLE,
    has_protocol=True,
    batch_bytes=_BATCH_BYTES,
    for_events=_for_events,
    problems=_problems_of_embedded,
)
CLICKHOUSE = StoreKind(
    "clickhouse",
    "the ClickHouse server at CLICKHOUSE_URL.",
    "connectors.sinks.clickhouse.server",
    ClickHouseSettings,
    is_shared=True,
    address=lambda settings: settings.clickhouse_url,
    example=_EXAMPLE,
    batch_bytes=_BATCH_BYTES,
    for_events=_for_events,
)
