"""ClickHouse's HTTP interface in front of an embedded engine, with faults on request.

As a program: `python -m tests.servers.clickhouse_http --port N --data DIR [--faults 0.1 --seed 7]`.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import socket
import ssl
import struct
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import clickhouse_connect
from clickhouse_connect.driver._backend.models import QueryRuntime
from clickhouse_connect.driver.exceptions import DatabaseError

INSERT_OF_DATA = re.compile(r"\s*INSERT\s+INTO\s+(.+?)\s+FORMAT\s+(\w+)\s*", re.I | re.S)
STATUS = {60: 404, 81: 404, 62: 400, 516: 403}  # of error codes; else 500


@dataclass(frozen=True)
class Answer:
    """A fault: this answer, and nothing is executed."""

    status: int
    text: str = "out of order"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """A fault: the connection is reset, before or after the insert is executed."""

    after: bool


@dataclass(frozen=True)
class Delay:
    """A fault: the insert is executed, and answered, so many seconds later."""

    seconds: float = 5.0


Fault = Answer | Reset | Delay
FAULTS: tuple[Fault, ...] = (Answer(503), Reset(after=False), Reset(after=True), Delay())


def refusal(code: int, name: str) -> Answer:
    """The fault of a server that refuses an insert with one of ClickHouse's errors."""
    text = f"Code: {code}. DB::Exception: no. ({name})"
    return Answer(STATUS.get(code, 500), text, {"X-ClickHouse-Exception-Code": str(code)})


class Server:
    """A ClickHouse server over the engine in `directory`, from now until `close`.

    The next inserts have the faults in `faults`, one each (None: no fault); once it is empty, each
    has a random one with the probability `ratio`. `inserts` counts those that were executed. With
    `user` (`name:password`) nobody else is let in; statements that `forbidden` matches need a right
    that nobody has. More than `most` inserts in a second are too many parts, and `refused` counts
    them. With `tls` it speaks HTTPS.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        ratio: float = 0.0,
        seed: int = 0,
        user: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.forbidden = ""
        self.most = 1_000_000
        self.refused = 0
        self._lately: deque[float] = deque()  # when there were inserts
        self.faults: deque[Fault | None] = deque()
        self.inserts = 0
        self.ratio = ratio
        self._random = random.Random(seed)
        self.expected = "Basic " + b64encode(user.encode()).decode() if user else ""
        self.closing = threading.Event()
        self._engine = clickhouse_connect.get_client(interface="chdb", path=str(directory))
        self._lock = threading.Lock()  # the engine is not closed in the middle of a query
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.bridge = self
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
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Break every connection, free the port, close the engine."""
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.break_connections()
        with self._lock:
            self._engine.close()

    def next_fault(self) -> Fault | None:
        with self._lock:
            now = time.monotonic()
            while self._lately and self._lately[0] < now - 1:
                self._lately.popleft()
            if len(self._lately) >= self.most:
                self.refused += 1
                return refusal(252, "TOO_MANY_PARTS")
            self._lately.append(now)
            if self.faults:
                return self.faults.popleft()
            return self._random.choice(FAULTS) if self._random.random() < self.ratio else None

    def execute(self, statement: str, data: bytes, encoding: str, params: dict[str, str]) -> bytes:
        bound = {name: value for name, value in params.items() if name.startswith("param_")}
        runtime = QueryRuntime(
            database=params.get("database", "default"),
            settings={k: v for k, v in params.items() if k in self._engine.server_settings},
        )
        with self._lock:
            if self.closing.is_set():
                raise ConnectionAbortedError
            backend = self._engine._backend
            if found := INSERT_OF_DATA.fullmatch(statement):
                target, fmt = found.groups()
                backend.execute_raw_insert(target, None, data, fmt, encoding, runtime, None)
                self.inserts += 1
                return b""
            query = statement.encode() + data
            return backend.execute_raw_query(query, bound, None, runtime, None)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    bridge: Server

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
        pass  # a client that went away is what faults are for


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *arguments: object) -> None:
        pass

    def _serve(self) -> None:
        bridge = self.server.bridge
        url = urlsplit(self.path)
        body = self._body()
        if url.path == "/ping":
            return self._answer(200, b"Ok.\n")
        if bridge.expected and self.headers.get("Authorization") != bridge.expected:
            text = "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            return self._answer(403, text.encode(), {"X-ClickHouse-Exception-Code": "516"})
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        if self.headers.get_content_type() == "multipart/form-data":
            params |= _form(self.headers["Content-Type"], body)
            body = b""
        statement = params.pop("query", "")
        if not statement and body[:6].upper() == b"INSERT":
            first, _, body = body.partition(b"\n")
            statement = first.decode()
        text = (statement or body.decode(errors="replace")).strip()
        if bridge.forbidden and re.match(bridge.forbidden, text):
            denied = refusal(497, "ACCESS_DENIED")
            return self._answer(denied.status, denied.text.encode(), denied.headers)
        fault = bridge.next_fault() if INSERT_OF_DATA.fullmatch(statement) else None
        if isinstance(fault, Answer):
            return self._answer(fault.status, fault.text.encode(), fault.headers)
        if fault == Reset(after=False):
            return self._reset()
        if isinstance(fault, Delay) and bridge.closing.wait(fault.seconds):
            return self._reset()
        try:
            encoding = self.headers.get("Content-Encoding", "")
            result = bridge.execute(statement, body, encoding, params)
        except DatabaseError as error:
            code = error.code or 0
            headers = {"X-ClickHouse-Exception-Code": str(code)}
            return self._answer(STATUS.get(code, 500), str(error).encode(), headers)
        if fault == Reset(after=True):
            return self._reset()
        self._answer(200, result, {"X-ClickHouse-Summary": "{}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # close sends RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        for stream in (self.rfile, self.wfile, self.connection):
            stream.close()


def _form(content_type: str, body: bytes) -> dict[str, str]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        .decode()
        .removesuffix("\r\n")
        for part in message.get_payload()
    }


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--faults", type=float, default=0.0, help="share of the inserts")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--user", default="", help="name:password")
    given = options.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = Server(given.data, given.port, given.faults, given.seed, given.user)
    print(f"serving on {server.url}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.close()


if __name__ == "__main__":
    main()
