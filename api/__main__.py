"""`python -m api`: the API by itself, of a store that is a server; `/health` is that of the store.

The store may be away or empty: it is asked anew by every request, and nothing is made in it.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from api.access import Tokens, change_tokens
from api.alert_book import AlertBook
from api.app import create_app
from api.server import ApiServer
from connectors import preflight
from connectors.errors import LogwaxError, SettingsError
from connectors.saying import prepare, say, speak
from connectors.sinks.retry import Retry
from connectors.store import open_reader
from settings import load


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    prepare()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        settings = load()
        speak(settings.own_logs)
        if problems := preflight.api_problems(settings):
            raise SettingsError(problems)
        reader = open_reader(settings, Retry(stop))
        server = ApiServer(settings.api_host, settings.api_port)
        change_tokens(tokens := Tokens(), settings)
        book = AlertBook(settings.data_dir)
        app = create_app(reader, book=book, webhook_hosts=settings.webhook_host_names)
        server.start(app, tokens)
    except LogwaxError as error:
        say(str(error), level="error")
        sys.exit(1)
    say(f"The API of STORE={settings.store} is at {server.url}", on_stdout=True)
    stop.wait()
    reader.cancel()
    server.stop()


if __name__ == "__main__":
    main()
