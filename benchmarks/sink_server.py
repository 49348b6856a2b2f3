"""An InfluxDB that answers 204 and counts, for what writing costs the client; run by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.request import urlopen

from benchmarks.measure import ROOT

_PIECE = 1 << 20


class SinkServer:
    """The server as a process of its own, so that its CPU time is not that of the client.

    Writes (`/write`, `/api/v2/write`) are counted and forgotten, queries find nothing.
    """

    def __enter__(self) -> SinkServer:
        """Return once it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    counts = {"writes": 0, "bytes": 0, "lines": 0}  # noqa: RUF012 (one for all connections)
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        size = left = int(self.headers["Content-Length"])
        lines, last = 0, b"\n"
        while left:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                raise ConnectionAbortedError
            lines += piece.count(b"\n")
            last = piece[-1:]
            left -= len(piece)
        if self.path.partition("?")[0].endswith("/write"):
            with self.lock:
                self.counts["writes"] += 1
                self.counts["bytes"] += size
                self.counts["lines"] += lines + (last != b"\n")
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/ping" or path.endswith("/write"):
            self.send_response(204)
            self.end_headers()
            return
        with self.lock:
            found = self.counts if path == "/counts" else {"results": [{"statement_id": 0}]}
            body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on a free port of loopback, and say on which, until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
