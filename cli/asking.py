"""Questions to the API of the pipeline that runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from cli.places import settings_of_a_command
from connectors.api_token import token_for
from connectors.errors import LogwaxError
from connectors.saying import last_words, say
from connectors.sinks.lock import holders_api

_SECONDS = 90.0  # the API gives up after 60


def watch(show: Callable[[httpx.Client], None]) -> int:
    """Show what the pipeline does, until Ctrl-C or its end; return the exit code.

    SIGTERM ends it in the same way, so that what is on the way out is done.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with pipeline() as client:
            show(client)
        return 0
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever reads what is shown has seen enough
        raise
    except (LogwaxError, OSError) as error:
        say(last_words(error))
        return 1


@contextmanager
def pipeline() -> Iterator[httpx.Client]:
    """A client of its API; what goes wrong with it is a `LogwaxError`."""
    settings = settings_of_a_command()
    is_exclusive = settings.store_kind.is_exclusive
    url = holders_api(settings.data_dir) if is_exclusive else settings.api_url
    if not url:
        raise LogwaxError(f"No pipeline with an API runs on DATA_DIR={settings.data_dir}.")
    token = token_for(settings)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # a proxy has no business between two processes of one machine
    with httpx.Client(
        base_url=url, headers=headers, trust_env=False, timeout=httpx.Timeout(_SECONDS)
    ) as client:
        try:
            yield client
        except (httpx.HTTPError, ValueError) as error:
            raise LogwaxError(f"The pipeline at {url} does not answer: {error}") from error


def found(answer: httpx.Response) -> dict[str, Any]:
    """What was answered. Raises `LogwaxError` with the reason why nothing was."""
    told: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        raise LogwaxError(str(told.get("detail", answer.status_code)))
    return told
