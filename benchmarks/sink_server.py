"""A server that takes lines and counts, for what writing costs the client; run by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import BinaryIO
from urllib.request import urlopen

from benchmarks.measure import ROOT

_PIECE = 1 << 20


class SinkServer:
    """The server as a process of its own, so that its CPU time is not that of the client.

    An InfluxDB at `url` that answers 204: writes (`/write`, `/api/v2/write`) are counted and
    forgotten, queries find nothing. At the port `tcp` every line is counted. With `kept`, all that
    came is appended to that file.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = [str(kept)] if kept else []

    def __enter__(self) -> SinkServer:
        """Return once it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink_server", *self._kept],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.url, self.tcp = self._process.stdout.readline().split()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.communicate()

    def counts(self) -> dict[str, int]:
        """`writes`, `bytes` and `lines` so far; lines of bodies that are not compressed."""
        with urlopen(f"{self.url}/counts") as answer:
            found: dict[str, int] = json.load(answer)
        return found


class _Counter:
    """What came over all connections."""

    def __init__(self) -> None:
        self.counts = {"writes": 0, "bytes": 0, "lines": 0}
        self.kept: BinaryIO | None = None
        self._lock = threading.Lock()

    def add(self, data: bytes, lines: int) -> None:
        with self._lock:
            if self.kept:
                self.kept.write(data)
            self.counts["writes"] += 1
            self.counts["bytes"] += len(data)
            self.counts["lines"] += lines


_COUNTER = _Counter()


class _Lines(StreamRequestHandler):
    def handle(self) -> None:
        while piece := self.connection.recv(_PIECE):
            _COUNTER.add(piece, piece.count(b"\n"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.partition("?")[0].endswith("/write"):
            _COUNTER.add(body, lines=body.count(b"\n") + (body[-1:] not in b"\n"))
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/ping" or path.endswith("/write"):
            self.send_response(204)
            self.end_headers()
            return
        found = _COUNTER.counts if path == "/counts" else {"results": [{"statement_id": 0}]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on two free ports of loopback, and say on which, until standard input ends."""
    if sys.argv[1:]:
        _COUNTER.kept = Path(sys.argv[1]).open("ab", 0)  # noqa: SIM115 (until the end)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    lines = ThreadingTCPServer(("127.0.0.1", 0), _Lines)
    lines.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", lines.server_address[1], flush=True)
    for one in (server, lines):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
