"""Middleware that logs what visitors do, and an endpoint for events that a page sends.

log = RequestLog(EventQueue(), secret=SECRET)
app = ASGIMiddleware(app, log)  # or WSGIMiddleware; Django: see `middleware.django`
"""

from logwax_capture.middleware.asgi import ASGIMiddleware, PageEndpoint
from logwax_capture.middleware.page import PageEvents
from logwax_capture.middleware.redaction import REDACTED
from logwax_capture.middleware.request_log import RequestLog
from logwax_capture.middleware.wsgi import WSGIMiddleware

__all__ = [
    "REDACTED",
    "ASGIMiddleware",
    "PageEndpoint",
    "PageEvents",
    "RequestLog",
    "WSGIMiddleware",
]
