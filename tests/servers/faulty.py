"""An HTTP server whose writes fail on request: what the servers here have in common."""

from __future__ import annotations

import random
import signal
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What was asked; the body as it was sent."""

    method: str
    path: str
    params: dict[str, str]
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered. As a fault: instead of executing anything."""

    status: int
    body: str | bytes = "out of order"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """A fault: the connection is reset, before or after the write is executed."""

    after: bool


@dataclass(frozen=True)
class Delay:
    """A fault: the write is executed, and answered, so many seconds later."""

    seconds: float = 5.0


@dataclass(frozen=True)
class Half:
    """A fault: the connection breaks in the midst of the answer, executed or not."""

    executed: bool


Fault = Answer | Reset | Delay | Half
FAULTS: tuple[Fault, ...] = (Answer(503), Reset(after=False), Reset(after=True), Delay())
HANG = Delay(threading.TIMEOUT_MAX)  # never executed, never answered
Write = Callable[[], Answer]


class FaultyServer:
    """An HTTP server on loopback, from now until `close`; a subclass says what it answers.

    The next writes have the faults in `faults`, one each (None: no fault); once it is empty, each
    has a random one of `kinds` with the probability `ratio`. With `tls` it speaks HTTPS.
    """

    kinds: tuple[Fault, ...] = FAULTS
    host = "127.0.0.1"  # another one for hosts that are network namespaces

    def __init__(
        self, port: int = 0, ratio: float = 0.0, seed: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.faults: deque[Fault | None] = deque()
        self.ratio = ratio
        self.closing = threading.Event()
        self._random = random.Random(seed)
        self._choosing = threading.Lock()
        self._http = _Http((self.host, port), _Handler)
        self._http.owner = self
        self._scheme = "https" if tls else "http"
        if tls:  # each connection's thread shakes hands, not the one that accepts
            self._http.socket = tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.05])
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}:{self.port}"

    def respond(self, request: Request) -> Answer | Write:
        """The answer; to a write, which may have a fault, what executes and then answers it."""
        raise NotImplementedError

    def close(self) -> None:
        """Break every connection, free the port."""
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.break_connections()

    def next_fault(self) -> Fault | None:
        with self._choosing:
            if self.faults:
                return self.faults.popleft()
            return self._random.choice(self.kinds) if self._random.random() < self.ratio else None


def serve(start: Callable[[], FaultyServer]) -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = start()
    print(f"serving on {server.url}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: FaultyServer

    def __init__(self, *arguments) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # somebody went away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, *arguments: object) -> None:
        pass

    def _serve(self) -> None:
        owner = self.server.owner
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        request = Request(self.command, url.path, params, self.headers, self._body())
        response = owner.respond(request)
        if isinstance(response, Answer):
            return self._answer(response)
        fault = owner.next_fault()
        if isinstance(fault, Answer):
            return self._answer(fault)
        if fault == Reset(after=False):
            self._reset()
        if isinstance(fault, Delay) and owner.closing.wait(fault.seconds):
            self._reset()
        if fault == Half(executed=False):
            return self._answer(Answer(200, "no"), promised=10)
        answer = response()
        if fault == Reset(after=True):
            self._reset()
        self._answer(answer, promised=10 if isinstance(fault, Half) else 0)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, answer: Answer, promised: int = 0) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        has_body = answer.status != 204 or promised
        if has_body:
            self.send_header("Content-Length", str(len(body) + promised))
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(body)
        if promised:
            self.wfile.flush()
            self._reset()

    def _reset(self) -> NoReturn:
        linger = struct.pack("ii", 1, 0)  # close sends RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        for stream in (self.rfile, self.wfile, self.connection):
            stream.close()
        raise ConnectionAbortedError
