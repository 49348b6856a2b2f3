"""A port for the API where nobody chose one."""

from __future__ import annotations

import errno
import os
import socket

from cli.places import given
from connectors.sinks.lock import holder
from settings import Settings


def take_a_free_port(settings: Settings) -> None:
    """Set `API_PORT` to a free one if it is not given and the default is taken; say so."""
    if given(settings, "api_port") or not settings.api_url or holder(settings.data_dir):
        return
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    try:
        socket.create_server((settings.api_host, settings.api_port), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # said with all other problems
            return
        with socket.create_server((settings.api_host, 0), family=family) as free:
            os.environ["API_PORT"] = str(free.getsockname()[1])
        print(
            f"Port {settings.api_port} is taken: the API is at port {os.environ['API_PORT']}.",
            flush=True,
        )
