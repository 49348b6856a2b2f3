"""An InfluxDB server over HTTP: raw line protocol in, InfluxQL answers out, errors with a class."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from connectors.errors import StoreError, deepest
from connectors.sinks.retry import Retry, Trouble, seconds_asked
from settings import Settings

_OWN_CA = ". If it is signed by a CA of your own, add ?ca_cert=/path/ca.pem to INFLUXDB_URL"
_CONNECTIONS = 64  # that are kept: one a worker
_TIMEOUT = urllib3.Timeout(connect=3, read=60)  # seconds

# What says nothing about the points: no answer, or what passes, or what somebody has to put right.
_PASSING = (0, 408, 425, 429, 502, 503, 504)
_LATE = "timeout"  # what 1.x says, with status 500, of a write that it may end all the same
_OF_ALL_POINTS = (401, 402, 403, 404, 405, 407, 411, 415, 507)


class InfluxError(StoreError):
    """The server refused, or could not be reached (`status` 0); `retry_after` in seconds.

    `was_cut`: it was reached, and broke the connection. `is_its_own`: InfluxDB's words, not those
    of something in between.
    """

    def __init__(
        self, status: int, words: str, retry_after: float = 0.0, *, is_its_own: bool = False
    ) -> None:
        self.status = status
        self.words = words
        self.retry_after = retry_after
        self.was_cut = False
        self.is_its_own = is_its_own
        super().__init__(f"status {status}: {words}" if status else words)

    @property
    def passes(self) -> bool:
        """Whether the same request is going to be taken: the server was away, or had no time."""
        return self.status in _PASSING or (self.words == _LATE and self.is_its_own)

    @property
    def may_be_rows(self) -> bool:
        """Whether other rows, or fewer, might be taken: whatever is not known to be of no rows."""
        if self.status < 400 or self.passes:
            return False
        # A wall in between may stop a request for what is in some line of it.
        return self.status not in _OF_ALL_POINTS or (self.status == 403 and not self.is_its_own)

    @property
    def is_about_rows(self) -> bool:
        """Whether it is for sure: wrong types, beyond retention, too many at a time."""
        return self.status in (400, 413, 422) and self.is_its_own


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
            # Not its `write_api`, which keeps the answer's status to itself.
            self._service = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]
        self._gzip = settings.influxdb_gzip

    def write(self, points: bytes | memoryview) -> None:
        """Write points in line protocol, in nanoseconds; when it returns, the server has them."""
        self._retry.bounded(lambda: self._write(points))

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

    def _write(self, points: bytes | memoryview) -> None:
        response = self._send_v2(points) if self._client else self._send_v1(points)
        text = self._check(response)
        if response.status != 204:  # which is the only one that says that all is written
            words = f"status {response.status} in place of InfluxDB's 204: {text[:100]!r}"
            raise InfluxError(0, words)

    def _send_v2(self, points: bytes | memoryview) -> urllib3.BaseHTTPResponse:
        try:
            response = self._service.post_write(  # type: ignore[no-untyped-call]
                self._client.org if self._client else "",
                self.bucket,
                bytes(points),
                precision="ns",
                content_type="text/plain; charset=utf-8",
                urlopen_kw={"redirect": False},
                _preload_content=False,  # the answer as it came
            )
            _ = response.data  # which may break off, too
        except ApiException as error:
            if not error.response:  # what a broken TLS becomes there
                raise _unanswered(error) from None
            response = error.response
        except (HTTPError, OSError) as error:
            raise _unanswered(error) from None
        return cast(urllib3.BaseHTTPResponse, response)

    def _send_v1(self, points: bytes | memoryview) -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "Content-Type": "text/plain; charset=utf-8"}
        if self._gzip:
            import gzip

            points = gzip.compress(points, 6)
            headers["Content-Encoding"] = "gzip"
        where = urlencode({"db": self.bucket, "precision": "ns"})
        return self._request("POST", f"/write?{where}", points, headers)

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
        if response.status >= 400:
            pause = seconds_asked(response.headers.get("Retry-After"))
            found = _words(text)
            raise InfluxError(
                response.status, found or text.strip(), pause, is_its_own=found is not None
            )
        if response.status >= 300:
            where = response.headers.get("Location", "nowhere").partition("?")[0]
            raise InfluxError(
                response.status,
                f"a redirect to {where}, which is not followed: a login page of a proxy? "
                "INFLUXDB_URL must lead to InfluxDB itself",
            )
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
    """Why the same request may succeed later; None if other rows may be needed, or it is a stop."""
    if not isinstance(error, InfluxError) or error.may_be_rows:
        return None
    return lasting(error)


def lasting(error: Exception) -> Trouble | None:
    """The same of a request that has no rows of anybody: it is never at fault itself."""
    if not isinstance(error, InfluxError):
        return None
    passes = error.passes or (error.status >= 500 and error.status != 507)
    return Trouble(str(error), error.retry_after, needs_help=not passes)


def overload(error: Exception) -> Trouble | None:
    """The same while the store is opened: a server that is there, and asks for time."""
    if isinstance(error, InfluxError) and (error.was_cut or error.status):
        found = lasting(error)
        return found if found and not found.needs_help else None
    return None


def _words(body: str) -> str | None:
    """What the server says: a JSON error of either API; None if it is none."""
    try:
        found = json.loads(body)
        words = found.get("error") or found.get("message")
    except (ValueError, AttributeError):
        return None
    return str(words) if words else None


def _unanswered(error: BaseException) -> InfluxError:
    """What befell a request that has no answer, in the operating system's words."""
    error = deepest(error)
    why = str(getattr(error, "strerror", None) or error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why += _OWN_CA
    found = InfluxError(0, why)
    found.was_cut = isinstance(error, ConnectionResetError)
    return found
