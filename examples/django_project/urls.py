"""Signing up, and the admin: what is created is told of, who did what and each request logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.db import IntegrityError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from logwax_capture.activity import ActivityThreadService
from logwax_capture.outbox import UseCase, UseCaseResponse

logger = logging.getLogger("requests")
activities = ActivityThreadService()


@dataclass
class UserCreated:
    """The event, of the type `user_created`."""

    email: str


class CreateUser(UseCase):
    """Creates a user and tells of it, or neither."""

    connection = connection

    def _execute(self, request: str) -> UseCaseResponse:
        return UseCaseResponse(User.objects.create_user(username=request, email=request))

    def _get_log_event(self, response: UseCaseResponse) -> UserCreated:
        return UserCreated(response.result.email)


@csrf_exempt
@require_POST
def sign_up(request: HttpRequest) -> HttpResponse:
    """Create the user with this e-mail address; 409 if there is one."""
    try:
        CreateUser().execute(request.POST["email"])
    except IntegrityError:
        return HttpResponse("A user with this address exists.\n", status=409)
    return HttpResponse("Welcome.\n", status=201)


def log_requests(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: a line for each request, and an activity for those that change something."""

    def middleware(request: HttpRequest) -> HttpResponse:
        begun = time.perf_counter()
        response = get_response(request)
        user, status = request.user, response.status_code
        fields = {
            "customer_id": user.get_username(),
            "method": request.method,
            "request_path": request.path,
            "status_code": status,
            "duration_ms": 1000 * (time.perf_counter() - begun),
        }
        logger.info("request", extra=fields)
        if request.method == "POST":
            activities.put_log_data(
                user=user,
                email=getattr(user, "email", ""),
                username=user.get_username(),
                ip=request.META["REMOTE_ADDR"],
                message=f"POST {request.path}",
                action="post",
                vpn=None,
                extras={"status": status},
            )
        return response

    return middleware


urlpatterns = [
    path("users", sign_up),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),  # only with DEBUG
]
