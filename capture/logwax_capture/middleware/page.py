"""Events that a page sends: what is taken, from whom, and how much."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Any, TypeAlias, get_args
from urllib.parse import urlsplit

from logwax_capture.errors import CaptureError, SettingError
from logwax_capture.jsontext import encode
from logwax_capture.middleware.redaction import length_of
from logwax_capture.middleware.request_log import ANONYMOUS, RequestLog

Schema: TypeAlias = "Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]"

_TEXTS = ("path_info", "page_title", "referrer")
_OURS = frozenset(
    (
        *("event_name", "visited_by", "ip_address", "datetime", "user_agent", "visitor", *_TEXTS),
        *("first_time_visit", "method", "status_code", "duration_ms", "bytes_sent"),
        *("view_args", "view_kwargs", "request_data", "is_bot", "latitude", "longitude", "asn"),
        *("browser_family", "browser_version", "os_family", "os_version", "device_family"),
        *("device_type", "country", "region", "region_code", "city"),
        # What Logwax takes for the same as one of these, if it stands in a line of JSON:
        *("timestamp", "ts", "time", "customer_id", "customer", "client_id", "tenant_id", "tenant"),
        *("client_ip", "ip", "remote_addr", "remote_ip", "clientip", "ua", "http_user_agent"),
        *("request_path", "path", "uri", "url", "request_uri", "referer", "http_referer"),
        *("http_method", "request_method", "verb", "status", "http_status"),
    )
)
"""What no schema names: a visitor who could write these would be somebody else."""

_KINDS = (str, int, float, bool, list, dict, NoneType)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch
_PORT = re.compile(r":(80|443)\Z")
_TYPES = ("application/json", "text/plain")  # of fetch, and of sendBeacon with a text
_MOST_CLIENTS = 100_000
_LONGEST = 2048  # characters of a text of the page's own


class RefusalError(CaptureError):
    """What a page sent is not taken: the status and the text of the answer."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = f"{text}\n"
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers["x-content-type-options"] = "nosniff"


class PageEvents:
    """Takes one JSON object a request, and leaves it to the queue of a `RequestLog`.

    The object has an `event_name`, and may have `path_info`, `page_title` and `referrer` (texts)
    beside the fields that the schema of that event names. Who sent it, from where and when is what
    the server knows.

    `schemas`: name of an event -> its fields, each a type of JSON (`str`, `int`, `float`, `bool`,
    `list`, `dict`) or a union of such; a field that may be missing has `None` in it
    (`int | None`). A number is finite and has at most 64 bits; `list` and `dict` become JSON texts.
    Or a function that gets the fields, and returns those that are stored or raises `ValueError`
    (a model of pydantic does).

    `anonymous`: whether visitors who are not signed in are heard. `origins`: those that are heard
    beside the page's own, such as `https://www.example.org`. `max_bytes` of a body, `per_minute`
    events of an address in each process. Raises `SettingError`, which names all that is wrong.
    """

    def __init__(
        self,
        log: RequestLog,
        schemas: Mapping[str, Schema],
        *,
        anonymous: bool = True,
        origins: Collection[str] = (),
        max_bytes: int = 16 * 1024,
        per_minute: int = 120,
    ) -> None:
        problems = [
            f"max_bytes and per_minute must be greater than 0, not {number}"
            for number in (max_bytes, per_minute)
            if number < 1
        ]
        self.log = log
        self.max_bytes = max_bytes
        self._anonymous = anonymous
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._rate = _Rate(per_minute)
        self._schemas: dict[str, Callable[[dict[str, Any]], Mapping[str, Any]]] = {
            name: schema if callable(schema) else _Fields(name, schema, problems)
            for name, schema in schemas.items()
        }
        if problems:
            raise SettingError("; ".join(problems) + ".")

    def open(
        self, method: str, headers: Mapping[str, str], peer: str, is_secure: bool
    ) -> tuple[dict[str, Any], str | None]:
        """The event as far as the server knows it, and the header `Set-Cookie`.

        Raises `RefusalError`: the request is not looked at further.
        """
        if method != "POST":
            raise RefusalError(405, "Events come by POST.", allow="POST")
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in _TYPES:
            raise RefusalError(415, f"The body must be one JSON object, as {' or '.join(_TYPES)}.")
        self.check_size(length_of(headers.get("content-length", "")))
        if not self._is_from_here(headers):
            raise RefusalError(403, "The page is of another origin.")
        sender = self.log.sender(headers, peer, is_secure)
        event = sender.event()
        if self._rate.is_over(event.get("ip_address", "")):
            raise RefusalError(429, "There are too many events.", retry_after="60")
        path = _path(headers.get("referer", ""))
        if path:
            event["path_info"] = path
        return event, sender.visitor.set_cookie

    def check_size(self, size: int) -> None:
        """Raises `RefusalError` for a body of more bytes than are taken."""
        if size > self.max_bytes:
            raise RefusalError(413, f"A body has at most {self.max_bytes} bytes.")

    def take(self, event: dict[str, Any], body: bytes, user: str | None) -> None:
        """Add what the page sent to the event, and leave it to the queue. Raises `RefusalError`."""
        if not self._anonymous and user in (None, "", ANONYMOUS):
            raise RefusalError(401, "Only visitors who are signed in are heard.")
        fields = _object(body)
        name = fields.pop("event_name", None)
        schema = self._schemas.get(name) if isinstance(name, str) else None
        if schema is None:
            raise RefusalError(400, "There is no event of this name.")
        event["event_name"] = name
        for own in _TEXTS:
            text = fields.pop(own, None)
            if not isinstance(text, (str, NoneType)):
                raise RefusalError(400, f"{own} must be a text.")
            if text:
                event[own] = text[:_LONGEST]
        if not event.get("path_info", "/").startswith("/"):
            raise RefusalError(400, "path_info must begin with a slash.")
        if "referrer" in event:
            event["referrer"] = self.log.redaction.url(event["referrer"])
        if user:
            event["visited_by"] = user
        event.update(self._checked(schema, fields))
        self.log.events.put(event)

    def _checked(
        self, schema: Callable[[dict[str, Any]], Mapping[str, Any]], fields: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            checked = {name: _value(name, value) for name, value in schema(fields).items()}
        except ValueError as error:
            raise RefusalError(400, str(error)) from error
        except Exception as error:  # the application's function stumbled over what a page sent
            self.log.fail(error)
            raise RefusalError(400, "The fields do not fit.") from error
        for name in checked:
            if name in _OURS or not _NAME(name):
                raise RefusalError(400, f"There is no field {name[:64]!a}.")
        return checked

    def _is_from_here(self, headers: Mapping[str, str]) -> bool:
        """By the headers that a browser sets and a page cannot."""
        origin = headers.get("origin", "").lower()
        if origin in self._origins:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        host = _host(origin or headers.get("referer", ""))
        return bool(host) and host == _PORT.sub("", headers.get("host", "").lower())


class _Fields:
    """The fields of an event, by their types."""

    def __init__(self, event: str, types: Mapping[str, Any], problems: list[str]) -> None:
        self._kinds = {name: get_args(kind) or (kind,) for name, kind in types.items()}
        for name, kinds in self._kinds.items():
            if name in _OURS or not _NAME(name):
                problems.append(f"{event}: a field cannot be called {name!r}")
            if not all(kind in _KINDS for kind in kinds):
                problems.append(f"{event}: {name} must be a type of JSON, not {types[name]!r}")

    def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        for name in fields:
            if name not in self._kinds:
                raise ValueError(f"There is no field {name[:64]!a}.")
        found = {}
        for name, kinds in self._kinds.items():
            value = fields.get(name)
            if type(value) is int and int not in kinds and float in kinds:
                value = float(value)
            if type(value) not in kinds:
                raise ValueError(f"{name} must be {' or '.join(map(_called, kinds))}.")
            if value is not None:
                found[name] = value
        return found


class _Rate:
    """Counts the events of each address in this minute."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def is_over(self, who: str) -> bool:
        minute = int(time.monotonic() // 60)
        with self._lock:
            if minute != self._minute or len(self._counts) >= _MOST_CLIENTS:
                self._minute = minute
                self._counts.clear()
            self._counts[who] = count = self._counts.get(who, 0) + 1
        return count > self._most


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, "The body is no JSON.") from error
    if not isinstance(found, dict):
        raise RefusalError(400, "The body must be one JSON object.")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _value(name: str, value: Any) -> Any:
    """What is stored: a number that every store has, a text, or JSON as a text."""
    if isinstance(value, (str, bool, NoneType)):
        return value
    if isinstance(value, (int, float)):
        if not (math.isfinite(value) and -(2**63) <= value < 2**63):
            raise ValueError(f"{name} must be a finite number of at most 64 bits.")
        return value
    return encode(value)


def _called(kind: type) -> str:
    return "missing" if kind is NoneType else kind.__name__


def _host(url: str) -> str:
    """Host and port of a URL; the port that a scheme has anyway is left out."""
    try:
        return _PORT.sub("", urlsplit(url).netloc.lower())
    except ValueError:
        return ""


def _path(url: str) -> str:
    try:
        return urlsplit(url).path[:_LONGEST]
    except ValueError:
        return ""
