"""The site, in Starlette: a page for each tutorial, and the endpoint for what the page sends."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from logwax_capture.event_queue import EventQueue
from logwax_capture.middleware import ASGIMiddleware, PageEndpoint, PageEvents, RequestLog

NAMES = {r"^/$": "event.home.view", r"^/watch/([^/]+)/([^/]+)/([a-zA-Z-]+)/$": "event.video.watch"}
SCHEMAS = {
    "event.tutorial.progress": {"second": int, "length": int},  # every few seconds of the video
    "event.tutorial.completion": {"completed": bool},  # the visitor marks it as complete or not
    "event.exit": {"exit_link": str},  # a link to another site
}

log = RequestLog(
    EventQueue(),
    secret="of an example, not secret",
    names=NAMES,
    user=lambda scope: dict(scope["headers"]).get(b"x-user", b"anonymous").decode(),
)
page = PageEvents(log, SCHEMAS)


async def watch(request: Request) -> HTMLResponse:
    """The page of a tutorial."""
    return HTMLResponse("<video></video>")


app = Starlette(
    routes=[
        Route("/", watch),
        Route("/watch/{foss}/{tutorial}/{language}/", watch),
        Route("/events", PageEndpoint(page)),
    ],
    middleware=[Middleware(ASGIMiddleware, log=log)],
)
