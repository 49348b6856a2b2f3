"""An InfluxDB server over HTTP: raw line protocol in, InfluxQL answers out, errors with a class."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from connectors.errors import StoreError
from connectors.sinks.retry import Retry, Trouble
from settings import Settings

_OWN_CA = ". If it is signed by a CA of your own, add ?ca_cert=/path/ca.pem to INFLUXDB_URL"
_CONNECTIONS = 64  # that are kept: one a worker
_TIMEOUT = urllib3.Timeout(connect=3, read=60)  # seconds


class InfluxError(StoreError):
    """The server refused, or could not be reached (`status` 0); `retry_after` in seconds.

    `was_cut`: it was reached, and broke the connection.
    """

    def __init__(self, status: int, words: str, retry_after: float = 0.0) -> None:
        self.status = status
        self.words = words
        self.retry_after = retry_after
        self.was_cut = False
        super().__init__(f"status {status}: {words}" if status else words)

    @property
    def is_about_rows(self) -> bool:
        """Whether other rows might be taken: wrong types, beyond retention, too many at a time."""
        return self.status in (400, 413, 422)


class InfluxServer:
    """The server of these settings; safe in any thread. All methods raise `InfluxError`.

    No request is waited for much longer than a stop (`Retry.bounded`), none is repeated here.
    """

    def __init__(self, settings: Settings, retry: Retry) -> None:
        parts = urlsplit(settings.influxdb_url)
        ca_cert = parse_qs(parts.query).get("ca_cert", [None])[0]
        self._url = urlunsplit(parts._replace(query="", path=parts.path.rstrip("/")))
        default_port = 443 if parts.scheme == "https" else 8086
        self.address = f"{parts.hostname}:{parts.port or default_port}"
        self.bucket = settings.influxdb_bucket
        self._retry = retry
        self._pool = urllib3.PoolManager(
            ca_certs=ca_cert, timeout=_TIMEOUT, retries=False, maxsize=_CONNECTIONS
        )
        self._headers = credentials(settings)
        self._client: InfluxDBClient | None = None
        if settings.influxdb_api == "v2":
            self._client = InfluxDBClient(
                self._url,
                settings.influxdb_token.get_secret_value(),
                org=settings.influxdb_org,
                timeout=(3_000, 60_000),
                enable_gzip=settings.influxdb_gzip,
                ssl_ca_cert=ca_cert,
                connection_pool_maxsize=_CONNECTIONS,
            )
            # Not its batching: that one reports what it lost to a callback only.
            self._api = self._client.write_api(write_options=SYNCHRONOUS)
        self._gzip = settings.influxdb_gzip

    def write(self, points: bytes | memoryview) -> None:
        """Write points in line protocol, in nanoseconds; when it returns, the server has them."""
        write = self._write_v2 if self._client else self._write_v1
        self._retry.bounded(lambda: write(points))

    def ask(self, statement: str, **values: object) -> list[dict[str, Any]]:
        """The rows of one InfluxQL statement, each with its tags; `time` is in nanoseconds.

        Values travel as bind parameters (`$name`) only.
        """
        fields = {"db": self.bucket, "epoch": "ns", "q": statement, "params": json.dumps(values)}
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        text = self._post("/query", urlencode(fields).encode(), headers)
        try:
            [result] = json.loads(text)["results"]
        except (ValueError, KeyError, TypeError):
            raise InfluxError(502, f"no answer of InfluxDB: {text[:100]!r}") from None
        if "error" in result:  # with status 200
            raise InfluxError(404 if "not found" in result["error"] else 503, result["error"])
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for series in result.get("series", ())
            for row in series["values"]
        ]

    def version(self) -> str:
        """What the server calls its version; empty if it does not say."""
        response = self._request("GET", "/ping", None, self._headers)
        return str(response.headers.get("X-Influxdb-Version", ""))

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()
        if self._client:
            self._client.close()  # type: ignore[no-untyped-call]

    def _write_v2(self, points: bytes | memoryview) -> None:
        try:
            self._api.write(self.bucket, record=bytes(points))  # in nanoseconds by default
        except ApiException as error:
            if not error.status:  # what a broken TLS becomes there
                raise _unanswered(error) from None
            headers: Mapping[str, str] = error.headers or {}
            raise InfluxError(
                error.status,
                _words(error.body or error.reason or ""),
                _seconds(headers.get("Retry-After")),
            ) from None
        except (HTTPError, OSError) as error:
            raise _unanswered(error) from None

    def _write_v1(self, points: bytes | memoryview) -> None:
        headers = {**self._headers, "Content-Type": "text/plain; charset=utf-8"}
        if self._gzip:
            import gzip

            points = gzip.compress(points, 6)
            headers["Content-Encoding"] = "gzip"
        where = urlencode({"db": self.bucket, "precision": "ns"})
        self._check(self._request("POST", f"/write?{where}", points, headers))

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> str:
        def post() -> urllib3.BaseHTTPResponse:
            return self._request("POST", path, body, headers)

        return self._check(self._retry.bounded(post))

    def _request(
        self, method: str, path: str, body: bytes | memoryview | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        try:
            data = cast(bytes | None, body)  # any buffer will do
            return self._pool.request(method, self._url + path, body=data, headers=headers)
        except (HTTPError, OSError) as error:
            raise _unanswered(error) from None

    @staticmethod
    def _check(response: urllib3.BaseHTTPResponse) -> str:
        text = response.data.decode(errors="replace")
        if response.status >= 300:
            pause = _seconds(response.headers.get("Retry-After"))
            raise InfluxError(response.status, _words(text), pause)
        return text


def credentials(settings: Settings) -> dict[str, str]:
    """The header that says who asks, in either API; empty if nobody is named."""
    if settings.influxdb_api == "v2":
        token = settings.influxdb_token.get_secret_value()
        return {"Authorization": f"Token {token}"} if token else {}
    if not settings.influxdb_user:
        return {}
    pair = f"{settings.influxdb_user}:{settings.influxdb_password.get_secret_value()}"
    return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}


def trouble(error: Exception) -> Trouble | None:
    """Why the same request may succeed later; None if other rows are needed, or it is a stop."""
    if not isinstance(error, InfluxError) or error.is_about_rows:
        return None
    return lasting(error)


def lasting(error: Exception) -> Trouble | None:
    """The same of a request that has no rows of anybody: it is never at fault itself."""
    if not isinstance(error, InfluxError):
        return None
    passes = error.status in (0, 408, 429) or error.status >= 500
    return Trouble(str(error), error.retry_after, needs_help=not passes)


def overload(error: Exception) -> Trouble | None:
    """The same while the store is opened: a server that is there, and asks for time."""
    if isinstance(error, InfluxError) and (error.was_cut or error.status):
        found = lasting(error)
        return found if found and not found.needs_help else None
    return None


def _words(body: str) -> str:
    """What the server says: a JSON error of either API, or text."""
    try:
        found = json.loads(body)
        return str(found.get("error") or found.get("message") or body)
    except (ValueError, AttributeError):
        return body.strip()


def _unanswered(error: BaseException) -> InfluxError:
    """What befell a request that has no answer, in the operating system's words."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    why = str(getattr(error, "strerror", None) or error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why += _OWN_CA
    found = InfluxError(0, why)
    found.was_cut = isinstance(error, ConnectionResetError)
    return found


def _seconds(retry_after: str | None) -> float:
    parse: Callable[[str], float] = urllib3.Retry().parse_retry_after
    try:
        return parse(retry_after) if retry_after else 0.0
    except HTTPError:
        return 0.0
