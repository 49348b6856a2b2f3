"""ClickHouse's HTTP interface in front of an embedded engine, with faults on request.

As a program: `python -m tests.servers.clickhouse_http --port N --data DIR [--faults 0.1 --seed 7]`.
"""

from __future__ import annotations

import argparse
import re
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import deque
from email import message_from_bytes
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import quote_plus

import clickhouse_connect
import httpx
from clickhouse_connect.driver._backend.models import QueryRuntime
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from api.clickhouse_protocol import FIRST, greeting
from tests.conftest import ROOT, find_port, wait_for
from tests.servers.faulty import Answer, Delay, Fault, FaultyServer, Request, Reset, Write, serve

__all__ = ["Answer", "Delay", "Fault", "Reset", "Server", "ServerProcess", "refusal"]

INSERT_OF_DATA = re.compile(r"\s*INSERT\s+INTO\s+(.+?)\s+FORMAT\s+(\w+)\s*", re.I | re.S)
MAX_FIELD = 131_072  # bytes: http_max_field_value_size
_AT_ONCE = 4  # requests that are answered at a time
STATUS = {60: 404, 81: 404, 62: 400, 516: 403}  # of error codes; else 500


def refusal(code: int, name: str) -> Answer:
    """The answer of a server that refuses with one of ClickHouse's errors."""
    return _error(code, f"Code: {code}. DB::Exception: no. ({name})")


class Server(FaultyServer):
    """A ClickHouse server over the engine in `directory`; faults are those of inserts of data.

    `inserts` counts those that were executed. With `user` (`name:password`) nobody else is let in;
    statements that `forbidden` matches need a right that nobody has. More than `most` inserts in a
    second are too many parts; `refused` counts those. `profile` holds settings of the user's, which
    a request may change. Bodies have `most_bytes`, parameters what ClickHouse admits by default.
    With `tls` it speaks HTTPS.
    """

    most_bytes = 2**31

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
        self.profile: dict[str, str] = {}
        self.most = 1_000_000
        self.refused = 0
        self._lately: deque[float] = deque()  # when there were inserts
        self.inserts = 0
        self._expected = "Basic " + b64encode(user.encode()).decode() if user else ""
        self._lock = threading.Lock()  # of what was counted
        self._engines = SimpleQueue[Client]()  # those that answer nobody at the moment
        for _ in range(_AT_ONCE):
            self._engine = clickhouse_connect.get_client(interface="chdb", path=str(directory))
            self._engines.put(self._engine)
        super().__init__(port, ratio, seed, tls)

    def close(self) -> None:
        """Break every connection, free the port, close the engine."""
        super().close()
        for _ in range(_AT_ONCE):  # none in the middle of a query
            self._engines.get().close()

    def next_fault(self) -> Fault | None:
        with self._lock:
            now = time.monotonic()
            while self._lately and self._lately[0] < now - 1:
                self._lately.popleft()
            if len(self._lately) >= self.most:
                self.refused += 1
                return refusal(252, "TOO_MANY_PARTS")
            self._lately.append(now)
        return super().next_fault()

    def respond(self, request: Request) -> Answer | Write:
        if request.path == "/ping":
            return Answer(200, "Ok.\n")
        if self._expected and request.headers.get("Authorization") != self._expected:
            return _error(
                516, "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            )
        if len(request.body) > self.most_bytes:
            return Answer(413, "<html>413 Request Entity Too Large</html>")
        params, body = dict(request.params), request.body
        sizes = [len(quote_plus(value)) for value in params.values()]  # as src/Server/HTTP/HTMLForm
        if request.headers.get_content_type() == "multipart/form-data":
            form = _form(request.headers["Content-Type"], body)
            sizes += [len(value.encode()) for value in form.values()]
            params |= form
            body = b""
        if max(sizes, default=0) > MAX_FIELD:
            return _error(1000, "Code: 1000. HTML Form Exception: Field value too long")
        statement = params.pop("query", "")
        if not statement and body[:6].upper() == b"INSERT":
            first, _, body = body.partition(b"\n")
            statement = first.decode()
        encoding = request.headers.get("Content-Encoding", "")
        text = (statement or body.decode(errors="replace")).strip()
        if self.forbidden and re.match(self.forbidden, text):
            return refusal(497, "ACCESS_DENIED")

        def execute() -> Answer:
            try:
                result = self._execute(statement, body, encoding, params)
            except DatabaseError as error:
                return _error(error.code or 0, str(error))
            return Answer(200, result, {"X-ClickHouse-Summary": "{}"})

        return execute if INSERT_OF_DATA.fullmatch(statement) else execute()

    def _execute(self, statement: str, data: bytes, encoding: str, params: dict[str, str]) -> bytes:
        params = {**self.profile, **params}
        bound = {name[6:]: value for name, value in params.items() if name.startswith("param_")}
        engine = self._engines.get()
        try:
            if self.closing.is_set():
                raise ConnectionAbortedError
            runtime = QueryRuntime(
                database=params.get("database", "default"),
                settings={k: v for k, v in params.items() if k in engine.server_settings},
            )
            if found := INSERT_OF_DATA.fullmatch(statement):
                target, fmt = found.groups()
                engine._backend.execute_raw_insert(target, None, data, fmt, encoding, runtime, None)
                with self._lock:
                    self.inserts += 1
                return b""
            query = statement.encode() + data
            if query == FIRST.encode():
                return greeting(engine.server_version.encode())
            fmt = params.get("default_format", "TabSeparated")
            settings = engine._backend._engine_settings(runtime.settings)
            return engine._backend._run_with_settings(
                query, fmt, settings, bound, runtime.database
            ).bytes()
        finally:
            self._engines.put(engine)


class ServerProcess:
    """The same in a process of its own, on a port that stays, with its data in `directory`."""

    def __init__(self, directory: Path, host: str = Server.host, **options: object) -> None:
        self.port = find_port()
        self.url = f"http://{host}:{self.port}"
        self._command = [
            sys.executable,
            "-m",
            "tests.servers.clickhouse_http",
            "--host",
            host,
            "--port",
            str(self.port),
        ]
        self._command += ["--data", str(directory)]
        self._command += [
            text for name, value in options.items() for text in (f"--{name}", str(value))
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Return when it answers."""
        process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.DEVNULL)
        self._process = process

        def answers() -> bool:
            assert process.poll() is None, "the server ended by itself"
            try:
                return httpx.get(f"{self.url}/ping", verify=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, "the server")

    def stop(self) -> None:
        """Break every connection, free the port; the data stays."""
        if self._process:
            self._process.terminate()
            self._process.wait()


def _error(code: int, text: str) -> Answer:
    return Answer(STATUS.get(code, 500), text, {"X-ClickHouse-Exception-Code": str(code)})


def _form(content_type: str, body: bytes) -> dict[str, str]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        .decode()
        .removesuffix("\r\n")
        for part in message.get_payload()
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--host", default=Server.host)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--faults", type=float, default=0.0, help="share of the inserts")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--user", default="", help="name:password")
    given = options.parse_args()
    Server.host = given.host
    serve(lambda: Server(given.data, given.port, given.faults, given.seed, given.user))


if __name__ == "__main__":
    main()
