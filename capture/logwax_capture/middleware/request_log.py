"""What is logged of a request, whatever serves it."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias

from logwax_capture.errors import SettingError
from logwax_capture.middleware import visitors
from logwax_capture.middleware.redaction import REDACTED, Redaction

logger = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
"""Who is known to be nobody that is signed in."""

HEADERS = (
    *("user-agent", "referer", "cookie", "accept-language", "content-type", "content-length"),
    *("x-forwarded-for", "x-forwarded-proto"),
    *("host", "origin", "sec-fetch-site"),
)
"""What is read of a request, in lower case."""

_LONGEST = 2048  # characters of a header that are kept
_REMEMBERED = 4096  # values of each kind
_SHORT = 256  # characters of a path that is remembered
_MOST_HOPS = 20
_LONGEST_HOP = 64  # characters
_UNIX = "unix"  # the name of a proxy that comes over a Unix socket, and has no address

_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


Headers: TypeAlias = "Callable[[], Mapping[str, str]]"
"""Gives those of `HEADERS` that are there."""


class Takes(Protocol):
    """What takes events, such as `EventQueue`."""

    def put(self, event: Mapping[str, object]) -> None:
        """Take one, without waiting."""

    def close(self) -> None:
        """Hand over what is left."""


class Sender(NamedTuple):
    """Who asks, and when: seconds since 1970."""

    moment: float
    client: str
    agent: str
    visitor: visitors.Visitor

    def event(self) -> dict[str, Any]:
        """What an event has of it."""
        moment = datetime.fromtimestamp(self.moment, timezone.utc)
        event: dict[str, Any] = {
            "datetime": moment.isoformat(timespec="microseconds"),
            "visitor": self.visitor.id,
        }
        if self.client:
            event["ip_address"] = self.client
        if self.agent:
            event["user_agent"] = self.agent
        if self.visitor.is_first is not None:
            event["first_time_visit"] = self.visitor.is_first
        return event


class Logged(NamedTuple):
    """A request that is logged when it is over."""

    begun: float
    moment: float
    name: str
    method: str
    path: str
    headers: Headers
    peer: str
    is_secure: bool
    set_cookie: str | None
    """The header `Set-Cookie` that the browser gets."""


class RequestLog:
    """Makes an event of each request, and leaves it to a queue.

    `names`: pattern of a path -> name of the event; the first that matches at the beginning of the
    path holds, and a request that none matches is not logged. `$` at the end of a pattern is the
    end, also before a newline. Without names each request is an `event.request`.

    `include`, `exclude`: patterns of paths that are logged, and that are not. `methods`: those that
    are logged, by default all.

    `proxies`: addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed;
    `unix` is one that comes over a Unix socket. `secret`: at least 16 bytes, the same in all
    processes, for visitors. `cookie`: its name; None: no cookie is set, and `first_time_visit`
    stays unknown. `redact`: words of the names of fields whose values are not logged.

    `user`: gives the name of a request's user, or None; it gets Django's request, the scope of
    ASGI, or the environ of WSGI. By default Django's `request.user`, `scope["user"]` or
    REMOTE_USER.

    An error in logging never reaches the request: `failed` counts, and the first one is logged.
    Raises `SettingError`, which names all that is wrong.
    """

    def __init__(
        self,
        events: Takes,
        *,
        secret: str | bytes,
        names: Mapping[str, str] | None = None,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        methods: Collection[str] = (),
        proxies: Collection[str] = (),
        redact: Iterable[str] = REDACTED,
        cookie: str | None = "logwax_visitor",
        user: Callable[[Any], str | None] | None = None,
    ) -> None:
        problems = visitors.problems(secret, cookie)
        self.events = events
        self.user = user
        self.failed = 0
        self.redaction = Redaction(redact)
        self._names = [(_pattern(text, problems), name) for text, name in (names or {}).items()]
        self._has_names = names is not None
        self._include = [_pattern(text, problems) for text in include]
        self._exclude = [_pattern(text, problems) for text in exclude]
        self._methods = frozenset(method.upper() for method in methods)
        self._has_proxies = bool(proxies)
        networks = [_network(text, problems) for text in proxies if text != _UNIX]
        trusts_unix = _UNIX in proxies
        self._is_proxy: Callable[[str], bool] = lru_cache(_REMEMBERED)(
            lambda text: _is_in(text, networks) if text else trusts_unix
        )
        if problems:
            raise SettingError("; ".join(problems) + ".")
        self._visitors = visitors.Visitors(secret, cookie)
        self._known_name = lru_cache(_REMEMBERED)(self._find_name)

    def begin(
        self, method: str, path: str, cookies: str, headers: Headers, peer: str, is_secure: bool
    ) -> Logged | None:
        """A request that has come in; None: it is not logged.

        `cookies`: the header. `peer`: the address that the request came from, empty where there is
        none. What the answer needs not is left to `end`.
        """
        name = self._name(method, path)
        if name is None:
            return None
        set_cookie = None
        if not self._visitors.is_known(cookies):
            set_cookie = self.sender(headers(), peer, is_secure).visitor.set_cookie
        begun, moment = time.perf_counter(), time.time()
        return Logged(begun, moment, name, method, path, headers, peer, is_secure, set_cookie)

    def end(
        self,
        logged: Logged,
        *,
        status: int | None,
        bytes_sent: int,
        request_data: Mapping[str, Any],
        user: str | None,
        view_args: Sequence[Any] | None = None,
        view_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """The request is over: leave its event to the queue. `status`: None if it was given up.

        This takes the larger part of the time, so the answer had better be sent before.
        """
        duration = time.perf_counter() - logged.begun
        headers = logged.headers()
        sender = self.sender(headers, logged.peer, logged.is_secure)
        event = sender._replace(moment=logged.moment).event()
        event["path_info"] = logged.path[:_LONGEST]
        event["method"] = logged.method
        event["event_name"] = logged.name
        referrer = headers.get("referer")
        if referrer:
            event["referrer"] = self.redaction.url(referrer[:_LONGEST])
        event["duration_ms"] = round(1000 * duration, 3)
        event["bytes_sent"] = bytes_sent
        if status is not None:
            event["status_code"] = status
        if user is not None:
            event["visited_by"] = user
        if view_args is not None:
            event["view_args"] = view_args
        if view_kwargs is not None:
            event["view_kwargs"] = view_kwargs
        if request_data:
            event["request_data"] = request_data
        self.events.put(event)

    def sender(self, headers: Mapping[str, str], peer: str, is_secure: bool) -> Sender:
        """When, from where, and by which browser."""
        if self._has_proxies:
            client = self._client(peer, headers.get("x-forwarded-for", ""))
            if self._is_proxy(peer):
                is_secure = headers.get("x-forwarded-proto", "") == "https" or is_secure
        else:
            client = peer
        agent = headers.get("user-agent", "")[:_LONGEST]
        visitor = self._visitors.visitor(
            headers.get("cookie", ""), client, agent, headers.get("accept-language", ""), is_secure
        )
        return Sender(time.time(), client, agent, visitor)

    def fail(self, error: Exception) -> None:
        """Count an error in logging, and say the first one."""
        self.failed += 1
        if self.failed == 1:
            logger.error("A request is not logged; others will only be counted.", exc_info=error)

    def _name(self, method: str, path: str) -> str | None:
        if self._methods and method not in self._methods:
            return None
        # Most requests ask for few paths, and most patterns do not match.
        return (self._known_name if len(path) <= _SHORT else self._find_name)(path)

    def _find_name(self, path: str) -> str | None:
        if self._include and not any(match(path) for match in self._include):
            return None
        if self._exclude and any(match(path) for match in self._exclude):
            return None
        if not self._has_names:
            return "event.request"
        for match, name in self._names:
            if match(path):
                return name
        return None

    def _client(self, peer: str, forwarded: str) -> str:
        """The last address that is no named proxy: what stands before it, anybody may have sent."""
        hops = forwarded.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
        while hops and self._is_proxy(peer):
            address = _address(hops.pop()[-_LONGEST_HOP:])
            if address is None:
                break
            peer = address
        return peer


def _pattern(text: str, problems: list[str]) -> Callable[[str], object]:
    try:
        is_whole = text.endswith("$") and not text.endswith("\\$")
        return re.compile(text[:-1] + r"\Z" if is_whole else text).match
    except re.error as error:
        problems.append(f"{text!r} is no pattern: {error}")
        return lambda path: None


def _network(text: str, problems: list[str]) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        problems.append(f"proxies: {text!r} is no address and no network")
        return ipaddress.ip_network("0.0.0.0/32")


def _is_in(text: str, networks: Sequence[_Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


@lru_cache(_REMEMBERED)
def _address(hop: str) -> str | None:
    """The address of a hop, which may have a port; None: it is none."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
