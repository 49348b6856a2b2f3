"""Store `clickhouse`: a ClickHouse server, over HTTP or HTTPS, at `CLICKHOUSE_URL`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3 import PoolManager
from urllib3 import Retry as Urllib3Retry
from urllib3.exceptions import HTTPError

from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.clickhouse import ClickHouseStore
from connectors.sinks.clickhouse_errors import reason
from connectors.sinks.clickhouse_reader import ClickHouseReader
from connectors.sinks.retry import Retry
from settings import Settings

TESTED = ("26.9",)
"""The versions that the tests run against."""

_UNKNOWN_DATABASE = 81
_MAKE_DATABASE = "CREATE DATABASE IF NOT EXISTS {name:Identifier}"


def open_store(settings: Settings, retry: Retry) -> ClickHouseStore:
    """Open the store on the server, making the URL's database where it is missing.

    Raises `StoreError` with the server's host and port if it cannot be reached, refuses the user,
    or has no such database and will not make one. No message holds the password.
    """
    connect = _connector(settings, retry, make_database=True)
    store = ClickHouseStore(connect, settings, retry)
    if not store.version.startswith(tuple(f"{version}." for version in TESTED)):
        say(
            f"ClickHouse {store.version} at {_address(settings)} "
            f"is unverified: Logwax is tested with {', '.join(TESTED)}.",
        )
    return store


def open_reader(settings: Settings, retry: Retry) -> ClickHouseReader:
    """A reader of the server's tables, which may be away or be made later."""
    return ClickHouseReader(
        _connector(settings, retry, make_database=False), settings.clickhouse_table
    )


def _connector(settings: Settings, retry: Retry, *, make_database: bool) -> Callable[[], Client]:
    # Both say every failure by themselves, once for each layer; we say it once.
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    url = urlsplit(settings.clickhouse_url.get_secret_value())
    address = _address(settings)
    ca_file = dict(parse_qsl(url.query)).get("ca_cert", "certifi")  # which names that package's
    if ca_file != "certifi" and not os.access(ca_file, os.R_OK):
        raise StoreError(f"CLICKHOUSE_URL names a CA file that cannot be read: {ca_file}")

    def connect() -> Client:
        try:
            try:
                return _client(urlunsplit(url), url.scheme, retry)
            except ClickHouseError as error:
                is_missing = isinstance(error, Error) and error.code == _UNKNOWN_DATABASE
                if not (is_missing and make_database):
                    raise
                # Asked for only where it is missing: not everybody may make one.
                client = _client(urlunsplit(url._replace(path="")), url.scheme, retry)
                name = unquote(url.path.split("/")[1])
                client.command(_MAKE_DATABASE, parameters={"name": name})
                return _client(urlunsplit(url), url.scheme, retry)
        except ClickHouseError as error:
            why = reason(error)
            if "certificate verify failed" in why:
                why += ". If it is signed by a CA of your own, add ?ca_cert=/path/ca.pem to the URL"
            raise StoreError(f"Cannot open ClickHouse at {address}: {why}.") from None
        except TypeError as error:  # a parameter that the client does not have
            what = str(error).partition("() ")[2]
            raise StoreError(f"CLICKHOUSE_URL has a wrong option: {what}") from None
        except (
            AttributeError,
            ValueError,
            OSError,
        ) as error:  # an option's value: a time of 0, a missing file
            raise StoreError(f"CLICKHOUSE_URL has a wrong option: {error}") from None

    return connect


def _address(settings: Settings) -> str:
    url = urlsplit(settings.clickhouse_url.get_secret_value())
    return f"{url.hostname}:{url.port or (8443 if url.scheme == 'https' else 8123)}"


def _client(dsn: str, interface: str, retry: Retry) -> HttpClient:
    client = clickhouse_connect.get_client(
        dsn=dsn,
        interface=interface,
        # The API's threads share a client, and a session admits one query at a time.
        autogenerate_session_id=False,
        connect_timeout=3,
        send_receive_timeout=60,
    )
    client = cast(HttpClient, client)
    client.http = cast(PoolManager, _Pool(client.http, retry))
    return client


class _Pool:
    """A client's connections, with two things that clickhouse-connect does not know.

    No request is waited for much longer than a stop, and an error tells of `Retry-After`.
    """

    def __init__(self, pool: PoolManager, retry: Retry) -> None:
        self._pool = pool
        self._retry = retry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def request(self, *arguments: Any, **options: Any) -> Any:
        response = self._retry.bounded(lambda: self._pool.request(*arguments, **options))
        if response.status in (429, 503):
            seconds = Urllib3Retry().get_retry_after(response)
            if seconds:
                text = response.data.decode(errors="replace").strip()
                raise _BusyError(f"status {response.status} {text}".strip(), seconds)
        return response


class _BusyError(HTTPError):
    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
