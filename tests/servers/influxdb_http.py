"""InfluxDB 2.x's HTTP interface in front of InfluxDB 1.x, with faults on request.

As a program: `python -m tests.servers.influxdb_http --port N --upstream URL [--faults 0.1 --seed 7]
[--token T --org O]`.
"""

from __future__ import annotations

import argparse
import json
import threading
from base64 import b64decode
from email.message import Message
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from tests.servers.faulty import Answer, Delay, Fault, FaultyServer, Request, Reset, Write, serve

CODES = {
    400: "invalid",
    401: "unauthorized",
    404: "not found",
    413: "request too large",
    422: "unprocessable entity",
    429: "too many requests",
    500: "internal error",
    503: "unavailable",
}
PRECISIONS = {"ns": "n", "us": "u", "ms": "ms", "s": "s"}  # 2.x's names, and those of 1.x
TO_UPSTREAM = ("Accept", "Authorization", "Content-Encoding", "Content-Type")
NOT_BACK = ("connection", "content-length", "date", "transfer-encoding")


def refusal(status: int, message: str = "out of order", retry_after: int | None = None) -> Answer:
    """An answer as 2.x refuses."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, json.dumps({"code": CODES[status], "message": message}), headers)


class Server(FaultyServer):
    """InfluxDB 2.x with the databases of the 1.x at `upstream` as buckets; faults are of writes.

    Its 1.x interface stays as it is. With `token` nobody else is let in; without, who is let in is
    up to `upstream`. With `org` there is no other organization. `writes` counts those that came
    through.
    """

    kinds: tuple[Fault, ...] = (
        refusal(429, retry_after=1),
        refusal(503),
        Reset(after=False),
        Reset(after=True),
        Delay(),
    )

    def __init__(
        self,
        upstream: str,
        port: int = 0,
        ratio: float = 0.0,
        seed: int = 0,
        token: str = "",
        org: str = "",
    ) -> None:
        self.writes = 0
        self._upstream = urlsplit(upstream)
        self._token = token
        self._org = org
        self._counting = threading.Lock()
        super().__init__(port, ratio, seed)

    def respond(self, request: Request) -> Answer | Write:
        if request.path in ("/ping", "/health"):
            answer = self._forward("GET", "/ping", {}, request.headers)
            if request.path == "/ping":
                return answer
            return _ok({"name": "influxdb", "status": "pass", "checks": []})
        if not self._lets_in(request.headers.get("Authorization", "")):
            return refusal(401, "unauthorized access")
        if request.path == "/write":
            return lambda: self._write(request.params, request)
        if request.path == "/query":
            return self._forward(
                request.method, "/query", request.params, request.headers, request.body
            )
        org = request.params.get("org", self._org)
        if self._org and org != self._org:
            return refusal(404, f'organization name "{org}" not found')
        if request.path == "/api/v2/buckets":
            return self._bucket(request)
        if request.path == "/api/v2/write":
            precision = request.params.get("precision", "ns")
            if precision not in PRECISIONS:
                return refusal(400, f"precision {precision} is not known")
            return lambda: self._write_v2(request.params.get("bucket", ""), precision, request)
        return refusal(404, "path not found")

    def _lets_in(self, authorization: str) -> bool:
        kind, _, credentials = authorization.partition(" ")
        if kind == "Basic":  # what is left of 1.x: the token is the password
            credentials = b64decode(credentials).decode().partition(":")[2]
        return not self._token or credentials == self._token

    def _write(self, params: dict[str, str], request: Request) -> Answer:
        answer = self._forward("POST", "/write", params, request.headers, request.body)
        with self._counting:
            self.writes += answer.status == 204
        return answer

    def _write_v2(self, bucket: str, precision: str, request: Request) -> Answer:
        params = {"db": bucket, "precision": PRECISIONS[precision]}
        answer = self._write(params, request)
        if answer.status == 204:
            return answer
        words = json.loads(answer.body)["error"]
        if answer.status == 404:
            return refusal(404, f'bucket "{bucket}" not found')
        if "unable to parse" in words:
            return refusal(400, words.removeprefix("partial write: ").removesuffix(" dropped=0"))
        if words.startswith("partial write: "):
            return refusal(422, f"failure writing points to database: {words}")
        return refusal(answer.status, words)

    def _bucket(self, request: Request) -> Answer:
        name = request.params.get("name", "")
        found = self._forward("GET", "/query", {"q": "SHOW DATABASES"}, request.headers)
        (databases,) = json.loads(found.body)["results"][0]["series"]
        if [name] not in databases.get("values", []):
            return refusal(404, f'bucket "{name}" not found')
        return _ok({"buckets": [{"id": name.encode().hex(), "name": name, "type": "user"}]})

    def _forward(
        self, method: str, path: str, params: dict[str, str], headers: Message, body: bytes = b""
    ) -> Answer:
        upstream = HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        try:
            sent = {name: headers[name] for name in TO_UPSTREAM if name in headers}
            if self._token:
                sent.pop("Authorization", None)
            upstream.request(method, f"{path}?{urlencode(params)}", body, sent)
            response = upstream.getresponse()
            back = {k: v for k, v in response.headers.items() if k.lower() not in NOT_BACK}
            return Answer(response.status, response.read(), back)
        finally:
            upstream.close()


def _ok(found: object) -> Answer:
    return Answer(200, json.dumps(found), {"Content-Type": "application/json; charset=utf-8"})


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--upstream", required=True, help="URL of an InfluxDB 1.x")
    options.add_argument("--faults", type=float, default=0.0, help="share of the writes")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--token", default="")
    options.add_argument("--org", default="")
    given = options.parse_args()
    serve(
        lambda: Server(given.upstream, given.port, given.faults, given.seed, given.token, given.org)
    )


if __name__ == "__main__":
    main()
