"""Something in front of a MongoDB, by its wire protocol: validators, and faults on order.

FerretDB has no validators. This keeps those of `create`, and answers an `insert` of documents that
they refuse as MongoDB's manual says ("Schema Validation", "OP_MSG"): error 121 with `errInfo`. The
other documents go on to the server.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import Any

import bson
from bson.int64 import Int64
from jsonschema import Draft4Validator, TypeChecker, ValidationError, validators

Document = dict[str, Any]

_OP_MSG = 2013
_HEADER = struct.Struct("<iiii")

_TYPES: dict[str, Any] = {
    "array": lambda value: isinstance(value, list),
    "binData": lambda value: isinstance(value, bytes),
    "bool": lambda value: isinstance(value, bool),
    "date": lambda value: isinstance(value, datetime),
    "double": lambda value: isinstance(value, float),
    "int": lambda value: type(value) is int,
    "long": lambda value: isinstance(value, Int64),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
_CHECKER = TypeChecker(
    {name: lambda _, value, fits=fits: fits(value) for name, fits in _TYPES.items()}
)
_REASONS = {
    "type": "type did not match",
    "pattern": "regular expression did not match",
    "anyOf": "no schema matched",
    "required": "missing properties",
}


class MongoProxy:
    """Stands before the server at `upstream`, from now until `close`.

    The next inserts have the faults in `faults`, one each: `before` and `after` break the
    connection before or after it is executed, `hang` answers nothing from then on, a document is
    the answer in place of the server's.
    """

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.removeprefix("mongodb://").partition(":")
        self._upstream = (host, int(port))
        self.validators: dict[tuple[str, str], Any] = {}
        self.faults: deque[str | Document] = deque()
        self.closing = threading.Event()
        self.is_hanging = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Break every connection."""
        self.closing.set()
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), socket.create_connection(self._upstream) as server:
            self._sockets.append(server)
            while True:
                number, opcode, body = _receive(client)
                if opcode == _OP_MSG:
                    answer = self._answer(server, number, body)
                else:
                    _send(server, number, 0, opcode, body)
                    answer = _receive(server)
                _send(client, 0, number, answer[1], answer[2])
        client.close()

    def _answer(self, server: socket.socket, number: int, body: bytes) -> tuple[int, int, bytes]:
        command, documents = _parse(body)

        def execute(these: list[bytes]) -> Document:
            _send(server, number, 0, _OP_MSG, _message(command, these))
            return _parse(_receive(server)[2])[0]

        name = next(iter(command))
        collection = (command["$db"], command[name])
        if name == "create" and (validator := command.pop("validator", None)):
            self.validators[collection] = validator_of(validator["$jsonSchema"])
        if name == "endSessions" and self.is_hanging:
            self.closing.wait()
        if name != "insert":
            return 0, _OP_MSG, _message(execute(documents), [])
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, dict):
            return 0, _OP_MSG, _message(fault, [])
        if fault == "hang":
            self.is_hanging = True
            self.closing.wait()
        if fault in ("before", "hang"):
            raise EOFError
        if not documents:
            documents = [bson.encode(one) for one in command.pop("documents")]
        answer = self._insert(collection, documents, execute)
        if fault == "after":
            raise EOFError
        return 0, _OP_MSG, _message(answer, [])

    def _insert(
        self, collection: tuple[str, str], documents: list[bytes], execute: Any
    ) -> Document:
        validator = self.validators.get(collection)
        refused: list[Document] = []
        good = []
        for at, one in enumerate(documents):
            document = bson.decode(one)
            errors = list(validator.iter_errors(document)) if validator else []
            if errors:
                told = {"operatorName": "$jsonSchema", "schemaRulesNotSatisfied": _explain(errors)}
                info = {"failingDocumentId": document["_id"], "details": told}
                words = "Document failed validation"
                refused.append({"index": at, "code": 121, "errmsg": words, "errInfo": info})
            else:
                good.append(at)
        answer = execute([documents[at] for at in good]) if good else {"n": 0, "ok": 1.0}
        mine = [{**one, "index": good[one["index"]]} for one in answer.get("writeErrors", ())]
        if mine or refused:
            answer["writeErrors"] = sorted([*mine, *refused], key=lambda one: one["index"])
        return answer


def validator_of(schema: Document) -> Any:
    """What tells which documents a `$jsonSchema` takes."""

    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {
                "type" if name == "bsonType" else name: renamed(inner)
                for name, inner in part.items()
            }
        return [renamed(inner) for inner in part] if isinstance(part, list) else part

    return validators.extend(Draft4Validator, type_checker=_CHECKER)(renamed(schema))


def _explain(errors: list[ValidationError]) -> list[Document]:
    """As the manual's example: rules, and in them properties with the reasons."""
    found = []
    for error in errors:
        name = "bsonType" if error.validator == "type" else str(error.validator)
        rule: Document = {"operatorName": name}
        if error.context:
            rule["schemasNotSatisfied"] = [{"details": _explain(list(error.context))}]
        else:
            rule["reason"] = _REASONS.get(str(error.validator), error.message)
            if not isinstance(error.instance, dict):
                rule["consideredValue"] = error.instance
        path = [part for part in error.absolute_path if isinstance(part, str)]
        if path:
            rule = {
                "operatorName": "properties",
                "propertiesNotSatisfied": [{"propertyName": path[-1], "details": [rule]}],
            }
        found.append(rule)
    return found


def _receive(connection: socket.socket) -> tuple[int, int, bytes]:
    size, number, _, opcode = _HEADER.unpack(_read(connection, _HEADER.size))
    return number, opcode, _read(connection, size - _HEADER.size)


def _send(connection: socket.socket, number: int, to: int, opcode: int, body: bytes) -> None:
    connection.sendall(_HEADER.pack(_HEADER.size + len(body), number, to, opcode) + body)


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)


def _parse(body: bytes) -> tuple[Document, list[bytes]]:
    """A command, or an answer, and the documents beside it."""
    command: Document = {}
    documents = []
    at = 4
    while at < len(body):
        kind, at = body[at], at + 1
        size = int.from_bytes(body[at : at + 4], "little")
        if kind == 0:
            command = bson.decode(body[at : at + size])
        else:
            inner = body.index(b"\0", at + 4) + 1
            while inner < at + size:
                length = int.from_bytes(body[inner : inner + 4], "little")
                documents.append(body[inner : inner + length])
                inner += length
        at += size
    return command, documents


def _message(command: Document, documents: list[bytes]) -> bytes:
    body = bytes(4) + b"\0" + bson.encode(command)
    if documents:
        name = {"insert": b"documents", "update": b"updates", "delete": b"deletes"}
        inner = name[next(iter(command))] + b"\0" + b"".join(documents)
        body += b"\1" + (4 + len(inner)).to_bytes(4, "little") + inner
    return body
