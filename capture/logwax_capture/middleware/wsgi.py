"""The middleware for WSGI (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from logwax_capture.middleware import redaction
from logwax_capture.middleware.request_log import HEADERS, Logged, RequestLog

Environ: TypeAlias = "dict[str, Any]"
Application: TypeAlias = "Callable[[Environ, Callable[..., Any]], Iterable[bytes]]"

_NAMES = [
    (
        name,
        ("" if name.startswith("content-") else "HTTP_") + name.upper().replace("-", "_"),
    )
    for name in HEADERS
]


class WSGIMiddleware:
    """Logs each request of an application. The body goes on part by part, as it comes."""

    def __init__(self, app: Application, log: RequestLog) -> None:
        self._app = app
        self._log = log

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        exchange = self._begin(environ, start_response)
        if exchange is None:
            return self._app(environ, start_response)
        try:
            body = self._app(environ, exchange.start)
        except Exception:
            exchange.status = exchange.status or 500  # which the server answers then
            exchange.end()
            raise
        return exchange.body(body)

    def _begin(self, environ: Environ, start_response: Callable[..., Any]) -> _Exchange | None:
        try:
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            logged = self._log.begin(
                environ["REQUEST_METHOD"],
                path.encode("latin-1").decode(errors="replace"),
                environ.get("HTTP_COOKIE", ""),
                partial(headers_of, environ),
                environ.get("REMOTE_ADDR", ""),
                environ.get("wsgi.url_scheme") == "https",
            )
            if logged is None:
                return None
            return _Exchange(self._log, logged, environ, start_response)
        except Exception as error:
            self._log.fail(error)
            return None


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        log: RequestLog,
        logged: Logged,
        environ: Environ,
        start_response: Callable[..., Any],
    ) -> None:
        self.status: int | None = None
        self._log, self._logged, self._environ = log, logged, environ
        self._start, self._sent, self._length = start_response, 0, 0
        self._input: _Input | None = None
        kind, length = environ.get("CONTENT_TYPE", ""), environ.get("CONTENT_LENGTH", "")
        if redaction.is_read(kind, length):
            self._input = environ["wsgi.input"] = _Input(environ["wsgi.input"])

    def start(self, status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        try:
            self.status = int(status[:3])
            self._length = int(dict(headers).get("Content-Length", 0))
            if self._logged.set_cookie is not None:
                headers = [*headers, ("Set-Cookie", self._logged.set_cookie)]
        except Exception as error:
            self._log.fail(error)
        return self._counting(self._start(status, headers, *rest))

    def _counting(self, write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def counted(part: bytes) -> Any:
            self._sent += len(part)
            return write(part)

        return counted

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The same body. A file that the server sends by itself is left as it is, a list is one."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            self._sent += self._length
            self.end()
            return body
        if isinstance(body, (list, tuple)):
            return _Parts(body, self)
        return _Body(body, self)

    def count(self, part: bytes) -> bytes:
        self._sent += len(part)
        return part

    def end(self) -> None:
        log, environ = self._log, self._environ
        try:
            data = log.redaction.request_data(
                environ.get("QUERY_STRING", ""),
                self._input.seen if self._input is not None else b"",
                environ.get("CONTENT_TYPE", ""),
            )
            log.end(
                self._logged,
                status=self.status,
                bytes_sent=0 if environ["REQUEST_METHOD"] == "HEAD" else self._sent,
                user=log.user(environ) if log.user else environ.get("REMOTE_USER") or None,
                request_data=data,
            )
        except Exception as error:
            log.fail(error)


class _Body:
    """A body that is logged when it is closed, which every server does once it is sent."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body, self._exchange = body, exchange

    def __iter__(self) -> Iterator[bytes]:
        return map(self._exchange.count, self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._exchange.end()


class _Parts(_Body):
    """One that is there already, in so many parts: servers ask a list for its length."""

    _body: list[bytes] | tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self._body)


class _Input:
    """What the application reads of a request's body, of which the beginning is kept."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.seen = b""

    def read(self, *size: int) -> bytes:
        return self._keep(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._keep(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._keep(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._keep, self._stream)

    def __getattr__(self, name: str) -> Any:  # what a server offers beyond PEP 3333
        return getattr(self._stream, name)

    def _keep(self, part: bytes) -> bytes:
        if len(self.seen) <= redaction.MOST_BYTES:  # one byte more says: too long
            self.seen += part[: redaction.MOST_BYTES + 1]
        return part


def headers_of(environ: Environ) -> dict[str, str]:
    """Those that are read."""
    return {name: environ[key] for name, key in _NAMES if environ.get(key)}
