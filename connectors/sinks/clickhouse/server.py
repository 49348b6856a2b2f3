"""Store `clickhouse`: a ClickHouse server, over HTTP or HTTPS, at `CLICKHOUSE_URL`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import (
    ClickHouseError,
    DatabaseError,
    Error,
    OperationalError,
)
from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager
from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.exceptions import HTTPError

from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.clickhouse.errors import reason
from connectors.sinks.clickhouse.profile import override_profile
from connectors.sinks.clickhouse.reader import ClickHouseReader
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.sinks.retry import Retry, seconds_asked
from settings import Settings

TESTED = ("26.9",)
"""The versions that the tests run against."""

_UNKNOWN_DATABASE = 81
_WORDS = 1000  # bytes of an answer that are looked at
_MAKE_DATABASE = "CREATE DATABASE IF NOT EXISTS {name:Identifier}"


def open_store(settings: Settings, retry: Retry) -> ClickHouseStore:
    """Open the store on the server, making the URL's database where it is missing.

    Raises `StoreError` with the server's host and port if it cannot be reached, refuses the user,
    or has no such database and will not make one. No message holds the password.
    """
    connect = _connector(settings, retry, writes=True)
    store = ClickHouseStore(connect, settings, retry)
    if not store.version.startswith(tuple(f"{version}." for version in TESTED)):
        say(
            f"ClickHouse {store.version} at {_address(settings)} "
            f"is unverified: Logwax is tested with {', '.join(TESTED)}.",
        )
    return store


def open_reader(settings: Settings, retry: Retry) -> ClickHouseReader:
    """A reader of the server's tables, which may be away or be made later."""
    return ClickHouseReader(_connector(settings, retry, writes=False), settings.clickhouse_table)


def _connector(settings: Settings, retry: Retry, *, writes: bool) -> Callable[[], Client]:
    # Both say every failure by themselves, once for each layer; we say it once.
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    url = urlsplit(settings.clickhouse_url.get_secret_value())
    address = _address(settings)
    options = dict(parse_qsl(url.query))
    ca_file = options.get("ca_cert", "certifi")  # which names that package's
    if ca_file != "certifi" and not os.access(ca_file, os.R_OK):
        raise StoreError(f"CLICKHOUSE_URL names a CA file that cannot be read: {ca_file}")

    pool = _Pool(_plain_pool(settings, options), retry, address)

    def connect() -> Client:
        try:
            try:
                client = _client(urlunsplit(url), url.scheme, pool)
            except ClickHouseError as error:
                is_missing = isinstance(error, Error) and error.code == _UNKNOWN_DATABASE
                if not (is_missing and writes):
                    raise
                # Asked for only where it is missing: not everybody may make one.
                client = _client(urlunsplit(url._replace(path="")), url.scheme, pool)
                name = unquote(url.path.split("/")[1])
                client.command(_MAKE_DATABASE, parameters={"name": name})
                client = _client(urlunsplit(url), url.scheme, pool)
            override_profile(client, url.username or "default", writes=writes)
            return client
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


def _plain_pool(settings: Settings, options: dict[str, str]) -> PoolManager:
    """Connections as clickhouse-connect would make them, of the options of the URL."""
    url = urlsplit(settings.clickhouse_url.get_secret_value())
    host, port = _address(settings).rsplit(":", 1)
    proxy = f"{url.scheme}_proxy"
    named: dict[str, Any] = {name: options[name] for name in _TLS_OPTIONS if name in options}
    host_name = options.get("server_host_name", "")
    if url.scheme == "https" and host_name:
        named |= {"assert_hostname": host_name, "server_hostname": host_name}
    named[proxy] = options.get(proxy) or check_env_proxy(url.scheme, host, int(port))
    named["verify"] = options.get("verify", "true").lower() not in ("false", "0")
    pool: PoolManager = get_pool_manager(**named)
    return pool


_TLS_OPTIONS = ("ca_cert", "client_cert", "client_cert_key")


def _client(dsn: str, interface: str, pool: _Pool) -> Client:
    return clickhouse_connect.get_client(
        dsn=dsn,
        interface=interface,
        # The API's threads share a client, and a session admits one query at a time.
        autogenerate_session_id=False,
        connect_timeout=3,
        send_receive_timeout=60,
        pool_mgr=pool,
    )


class _Pool:
    """The connections of all clients, with what clickhouse-connect does not know.

    No request is waited for much longer than a stop, an error tells of `Retry-After`, no redirect
    is followed, and nothing counts as an answer that is none of ClickHouse's.
    """

    def __init__(self, pool: PoolManager, retry: Retry, address: str) -> None:
        self._pool = pool
        self._retry = retry
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def request(self, *arguments: Any, **options: Any) -> Any:
        options["redirect"] = False
        response = self._retry.bounded(lambda: self._pool.request(*arguments, **options))
        if 300 <= response.status < 400:
            where = response.headers.get("Location", "nowhere").partition("?")[0]
            raise DatabaseError(
                f"{self._address} answers with a redirect (status {response.status}) to {where}, "
                "which is not followed: a login page of a proxy? "
                "CLICKHOUSE_URL must lead to ClickHouse itself"
            )
        if 200 <= response.status < 300:
            self._refuse_other_answers(response, arguments[1], options)
        if response.status in (429, 503):
            seconds = seconds_asked(response.headers.get("Retry-After"))
            if seconds:
                text = response.data.decode(errors="replace").strip()
                raise _BusyError(f"status {response.status} {text}".strip(), seconds)
        return response

    def _refuse_other_answers(
        self, response: BaseHTTPResponse, url: str, options: dict[str, Any]
    ) -> None:
        """Raise if this is not what ClickHouse says when it has done what it was asked for."""
        is_clickhouse = any(name.lower().startswith("x-clickhouse-") for name in response.headers)
        if is_clickhouse and not options.get("preload_content", True):
            return  # which ends in an error that is noticed when it is read
        text = response.data[:_WORDS].decode(errors="replace")
        # With send_progress_in_http_headers, the status is sent before anything is done.
        failed = re.match(r"\s*Code: (\d+)\. DB::Exception", text)
        if is_clickhouse and failed:
            raise DatabaseError(text, code=int(failed[1]))
        statement = dict(parse_qsl(urlsplit(url).query)).get("query", "")  # or it is the body
        body = options.get("body")
        if isinstance(body, bytes) and not statement:
            statement = body[:_WORDS].decode(errors="replace")
        if not is_clickhouse or (text.strip() and statement.lstrip()[:6].upper() == "INSERT"):
            raise OperationalError(
                f"{self._address} answers status {response.status}, but not as ClickHouse does: "
                f"{text[:100]!r}"
            )


class _BusyError(HTTPError):
    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
