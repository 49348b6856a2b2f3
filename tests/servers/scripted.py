"""An InfluxDB that stores nothing: it answers as a script says, and notes what it was sent."""

from __future__ import annotations

import json

from tests.servers.faulty import Answer, Fault, FaultyServer, Request, Write


class ScriptedInfluxDB(FaultyServer):
    """Answers the first writes with `script` (None: success), one each, the others with success.

    `requests` are all that came, those with faults too; queries find nothing.
    """

    def __init__(self, *script: Fault | None, port: int = 0) -> None:
        self.requests: list[Request] = []
        super().__init__(port)
        self.faults.extend(script)

    @property
    def written(self) -> list[bytes]:
        """The bodies of all writes, in the order in which they came."""
        return [request.body for request in self.requests if request.path.endswith("/write")]

    def respond(self, request: Request) -> Answer | Write:
        self.requests.append(request)
        if request.path.endswith("/write"):
            return lambda: Answer(204)
        if request.path == "/query":
            return Answer(200, json.dumps({"results": [{"statement_id": 0}]}))
        return Answer(204 if request.path == "/ping" else 200, "{}")
