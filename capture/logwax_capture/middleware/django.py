"""The middleware and the endpoint for Django.

LOGWAX_REQUEST_LOG = RequestLog(EventQueue(), secret=SECRET_KEY)  # in the settings
MIDDLEWARE = ["logwax_capture.middleware.django.RequestLogMiddleware", ...]
urlpatterns = [path("events", page_view(PageEvents(settings.LOGWAX_REQUEST_LOG, {...})))]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject
from django.views.decorators.csrf import csrf_exempt

from logwax_capture.middleware.page import PageEvents, RefusalError
from logwax_capture.middleware.request_log import ANONYMOUS, Logged, RequestLog
from logwax_capture.middleware.wsgi import headers_of


class RequestLogMiddleware:
    """Logs each request of the project, by `settings.LOGWAX_REQUEST_LOG`; first in MIDDLEWARE.

    Under WSGI and ASGI. Whoever is signed in is asked for after the view, and only if there is a
    cookie of a session: a view that did not need the user costs a query then.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._log: RequestLog = settings.LOGWAX_REQUEST_LOG
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request."""
        if self._is_async:
            return self._answer(request)
        logged = self._begin(request)
        response = self._get_response(request)
        if logged is not None:
            try:
                user = self._log.user(request) if self._log.user else _user(request)
                self._end(logged, request, response, user)
            except Exception as error:
                self._log.fail(error)
        return response

    async def _answer(self, request: HttpRequest) -> Any:
        logged = self._begin(request)
        response = await self._get_response(request)
        if logged is not None:
            try:
                user = self._log.user(request) if self._log.user else await _async_user(request)
                self._end(logged, request, response, user)
            except Exception as error:
                self._log.fail(error)
        return response

    def _begin(self, request: HttpRequest) -> Logged | None:
        try:
            return self._log.begin(
                request.method or "",
                request.path,
                request.META.get("HTTP_COOKIE", ""),
                lambda: headers_of(request.META),
                request.META.get("REMOTE_ADDR") or "",
                request.scheme == "https",
            )
        except Exception as error:
            self._log.fail(error)
            return None

    def _end(
        self, logged: Logged, request: HttpRequest, response: HttpResponseBase, user: str | None
    ) -> None:
        if logged.set_cookie is not None:
            response.cookies.load(logged.set_cookie)
        end = _End(self._log, logged, request, response.status_code, user)
        if not response.streaming:
            end(len(response.content))  # type: ignore[attr-defined]
        elif getattr(response, "file_to_stream", None) is not None:
            end(int(response.headers.get("Content-Length", 0)))  # the server sends it by itself
        elif response.is_async:  # type: ignore[attr-defined]
            response.streaming_content = end.counted_later(response.streaming_content)  # type: ignore[attr-defined]
        else:
            response.streaming_content = end.counted(response.streaming_content)  # type: ignore[attr-defined]


class _End:
    """Logs a request, when it is known how many bytes were sent."""

    def __init__(
        self, log: RequestLog, logged: Logged, request: HttpRequest, status: int, user: str | None
    ) -> None:
        self._log, self._logged, self._request = log, logged, request
        self._status, self._user = status, user

    def __call__(self, size: int) -> None:
        request, log = self._request, self._log
        match = request.resolver_match
        log.end(
            self._logged,
            status=self._status,
            bytes_sent=0 if request.method == "HEAD" else size,
            user=self._user,
            view_args=list(match.args) if match else None,
            view_kwargs=match.kwargs if match else None,
            request_data=self._data(),
        )

    def counted(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        size = 0
        try:
            for part in parts:
                size += len(part)
                yield part
        finally:
            self._late(size)

    async def counted_later(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in parts:
                size += len(part)
                yield part
        finally:
            self._late(size)

    def _late(self, size: int) -> None:
        try:
            self(size)
        except Exception as error:
            self._log.fail(error)

    def _data(self) -> dict[str, Any]:
        """Query and form. A form that the view did not read stays unread: that might wait."""
        request, redaction = self._request, self._log.redaction
        read = vars(request)
        body = read.get("_body", b"") if request.content_type == "application/json" else b""
        query = request.META.get("QUERY_STRING", "")
        form = redaction.form(read["_post"].lists()) if "_post" in read else {}
        return {**redaction.request_data(query, body, request.content_type or ""), **form}


def page_view(page: PageEvents) -> Callable[[HttpRequest], HttpResponseBase]:
    """A view that takes what a page sends: 204, or what is wrong.

    It needs no CSRF token: it looks where the request comes from.
    """

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponseBase:
        try:
            event, cookie = page.open(
                request.method or "",
                headers_of(request.META),
                request.META.get("REMOTE_ADDR") or "",
                request.scheme == "https",
            )
            body = request.read(page.max_bytes + 1)
            page.check_size(len(body))
            user = page.log.user(request) if page.log.user else _user(request)
            page.take(event, body, user)
        except RefusalError as refusal:
            return HttpResponse(
                refusal.text,
                status=refusal.status,
                headers=refusal.headers,
                content_type="text/plain; charset=utf-8",
            )
        response = HttpResponse(status=204)
        if cookie is not None:
            response.cookies.load(cookie)
        return response

    return view


def _user(request: HttpRequest) -> str | None:
    if not hasattr(request, "user"):
        return None
    if settings.SESSION_COOKIE_NAME not in request.COOKIES and not _is_loaded(request):
        return ANONYMOUS
    return _name(request.user)


async def _async_user(request: HttpRequest) -> str | None:
    if not hasattr(request, "auser"):
        return None
    if settings.SESSION_COOKIE_NAME not in request.COOKIES and not _is_loaded(request):
        return ANONYMOUS
    awaited: Awaitable[Any] = request.auser()
    return _name(await awaited)


def _is_loaded(request: HttpRequest) -> bool:
    """Whether the view asked for the user, who may have signed in by it."""
    read = vars(request)
    is_set = not isinstance(read.get("user"), LazyObject)  # by a view that signs in or out
    return is_set or "_cached_user" in read or "_acached_user" in read


def _name(user: Any) -> str:
    return str(user.get_username()) if user.is_authenticated else ANONYMOUS
