"""Store `influxdb`: an InfluxDB server, by line protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from connectors.sinks.kind import StoreKind

if TYPE_CHECKING:
    from settings import Settings


def _url(url: str) -> str:
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


def _parts(names: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in names.split(",") if part.strip())


def _tags(names: str) -> str:
    from connectors.batch import COLUMNS  # it takes its time

    known = {name for name, dtype in COLUMNS.items() if str(dtype) in ("String", "Boolean")}
    known -= {"attributes"}
    for name in _parts(names):
        if name not in known:
            raise ValueError(f"{name!r} is unknown; known are {', '.join(sorted(known))}")
    return names


class InfluxSettings(BaseModel):
    """What `Settings` has for InfluxDB."""

    influxdb_url: Annotated[str, AfterValidator(_url)] = Field(
        "http://127.0.0.1:8086",
        description="The server of STORE=influxdb: http or https, host, port, and the option "
        "`?ca_cert=` with the file of a certificate authority.",
        repr=False,
    )
    influxdb_api: Literal["v2", "v1"] = Field(
        "v2",
        description="v2: `/api/v2/write`, which 2.x, 3.x and 1.8 have. v1: `/write` of 1.x.",
    )
    influxdb_token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        SecretStr(""), description="Token of INFLUXDB_API=v2; of 1.8 `user:password`.", repr=False
    )
    influxdb_org: str = Field("", description="Organization of INFLUXDB_API=v2; only 2.x asks.")
    influxdb_bucket: Annotated[str, StringConstraints(min_length=1)] = Field(
        "logwax", description="Bucket that is written; with INFLUXDB_API=v1 the database."
    )
    influxdb_user: str = Field("", description="User of INFLUXDB_API=v1; empty: none.")
    influxdb_password: SecretStr = Field(
        SecretStr(""), description="Password of INFLUXDB_API=v1.", repr=False
    )
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

    @property
    def influxdb_tag_columns(self) -> tuple[str, ...]:
        """The columns that are tags: `INFLUXDB_TAGS` split at its commas."""
        return _parts(self.influxdb_tags)


def _problems(settings: Settings) -> Iterator[str]:
    if not re.fullmatch(r"[\w.:@-]+", settings.instance):
        yield (
            f"INSTANCE={settings.instance!r}: it is a tag in InfluxDB; "
            "choose one of letters, digits and _ . : @ -"
        )


INFLUXDB = StoreKind(
    "influxdb",
    "the InfluxDB server at INFLUXDB_URL.",
    "connectors.sinks.influxdb.store",
    InfluxSettings,
    is_shared=True,
    address=lambda settings: settings.influxdb_url,
    problems=_problems,
)
