"""What the middleware adds to a request, under uvicorn and gunicorn, in us.

python capture/benchmarks/middleware.py [requests a second]

Bar: at 2,000 requests a second the p99 is at most 100 us over that of the same application without
it. Both servers of a pair run at once and are asked in turn, by one client over one connection
each, so that what disturbs one disturbs both. Beside it stands the CPU time of a request in the
server, its thread that talks to Redis included. Needs uvicorn, gunicorn, psutil, redis and
redis-server.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
sys.path.insert(0, str(PACKAGE / "tests"))

import psutil  # noqa: E402
from redis_server import Redis  # noqa: E402

REQUESTS = 4_000  # of each server
APPLICATION = """
import os
from logwax_capture.event_queue import EventQueue
from logwax_capture.middleware import ASGIMiddleware, RequestLog, WSGIMiddleware

async def asgi(scope, receive, send):
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

if "REDIS_URL" in os.environ:
    names = {rf"^/page{number}/([^/]+)/$": f"event.page{number}" for number in range(25)}
    log = RequestLog(EventQueue(spill_dir="spill"), secret="of a benchmark only", names=names)
    asgi, wsgi = ASGIMiddleware(asgi, log), WSGIMiddleware(wsgi, log)
"""
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--log-level=error", "--no-access-log", "--port={}", "app:asgi"],
    "gunicorn": [
        *("-m", "gunicorn", "--log-level=error", "--worker-class=gthread", "--threads=2"),
        *("--keep-alive=60", "--bind=127.0.0.1:{}", "app:wsgi"),
    ],
}
ASKED = (
    b"GET /page24/python/?q=1 HTTP/1.1\r\nHost: a.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n"
    b"Referer: https://a.org/?a=b\r\nAccept-Language: en\r\n%s\r\n"
)


class Server:
    """A server with the application, and a connection to it."""

    def __init__(self, kind: str, directory: Path, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        arguments = [argument.format(port) for argument in SERVERS[kind]]
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), **environment},
        )
        end = time.monotonic() + 60
        while True:
            try:
                self._connection = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end, f"{kind} does not start"
                time.sleep(0.05)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._cookie = b""
        self.times: list[float] = []

    def ask(self) -> None:
        """One request and its answer."""
        begun = time.perf_counter()
        self._connection.sendall(ASKED % self._cookie)
        answer = b""
        while not answer.endswith(b"\r\n\r\nhello"):
            answer += self._connection.recv(65536)
        self.times.append(1e6 * (time.perf_counter() - begun))
        if b"logwax_visitor=" in answer:
            value = answer.partition(b"logwax_visitor=")[2].partition(b";")[0]
            self._cookie = b"Cookie: logwax_visitor=" + value + b"\r\n"

    def cpu(self) -> float:
        """Us of CPU so far, of all its processes."""
        server = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
        return 1e6 * sum(one.user + one.system for one in times)

    def close(self) -> None:
        """End it."""
        self._connection.close()
        self._process.terminate()
        self._process.wait()


def at(times: list[float], share: float) -> float:
    """The time that this share of the requests does not exceed."""
    return sorted(times)[int(len(times) * share)]


def measure(kind: str, directory: Path, redis: Redis, rate: int) -> None:
    """Print one pair, and the same again while Redis hangs."""
    bare = Server(kind, directory)
    logged = Server(kind, directory, REDIS_URL=f"unix://{redis.socket}")
    try:
        compare(kind, bare, logged, rate)
        redis.hang()
        compare(f"{kind}, Redis hangs", bare, logged, rate)
    finally:
        redis.go_on()
        bare.close()
        logged.close()


def compare(title: str, bare: Server, logged: Server, rate: int) -> None:
    """Ask both in turn, and print the figures of each and the difference."""
    for _ in range(100):
        bare.ask()
        logged.ask()
    bare.times.clear()
    logged.times.clear()
    begun = [one.cpu() for one in (bare, logged)]
    due = time.perf_counter()
    for number in range(2 * REQUESTS):
        due += 0.5 / rate
        while (rest := due - time.perf_counter()) > 0:
            time.sleep(rest)
        (bare, logged)[number % 2].ask()
    cpu = [(one.cpu() - then) / REQUESTS for one, then in zip((bare, logged), begun, strict=True)]
    figures = [
        f"p{100 * share:g} {at(bare.times, share):6.0f} {at(logged.times, share):6.0f} "
        f"{at(logged.times, share) - at(bare.times, share):+5.0f}"
        for share in (0.5, 0.9, 0.99)
    ]
    figures.append(f"CPU {cpu[0]:6.0f} {cpu[1]:6.0f} {cpu[1] - cpu[0]:+5.0f}")
    print(f"{title:21}", "   ".join(figures), flush=True)


def main() -> None:
    """Print, for each server, figures without the middleware, with it, and the difference."""
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "app.py").write_text(APPLICATION)
        redis = Redis(directory)
        try:
            for kind in SERVERS:
                measure(kind, directory, redis, rate)
        finally:
            redis.close()


if __name__ == "__main__":
    main()
