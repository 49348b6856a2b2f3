"""What a file is recognised by: its first bytes, and those before a position. Never its path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

from connectors.batch import Span

REACH = 1024
"""Bytes at either end that count."""


@dataclass(frozen=True)
class Evidence:
    """What a file is recognised by, whatever its path: see docs/architecture.md, "Files".

    `head_hash` covers the first `head_length` bytes (up to 1 KiB), `tail_hash` the up to 1 KiB
    before the end of the span that carries it; `inode` breaks ties. `content_hash` is the XXH3 (64
    bits) of the span's bytes; 0: unknown. `framing` says which of its lines were one record
    (`LOG_MULTILINE`), `kept` which of the rows are stored (`KEEP` and the like; empty: all);
    `seen`, `format` and `header` are those of the span.
    """

    inode: int = 0
    head_length: int = 0
    head_hash: int = 0
    tail_hash: int = 0
    content_hash: int = 0
    framing: str = field(default="", kw_only=True)
    kept: str = field(default="", kw_only=True)
    seen: int = field(default=0, kw_only=True)
    format: str = field(default="", kw_only=True)
    header: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, proof: str) -> Evidence:
        """What a proof says, nothing if it is empty."""
        parts = proof.split(" ", 5) if proof else []
        meant = "".join(parts[5:])
        # Earlier versions wrote the framing alone, which never begins like that.
        others = json.loads(meant) if meant.startswith("{") else {"framing": meant}
        return cls(*map(int, parts[:5]), **others)

    @property
    def proof(self) -> str:
        """The same as the proof of a span: numbers with spaces between, and what is not empty."""
        parts = [self.inode, self.head_length, self.head_hash, self.tail_hash, self.content_hash]
        meant = {name: getattr(self, name) for name in _MEANT if getattr(self, name)}
        return " ".join([*map(str, parts), *([_encode(meant)] if meant else [])])

    def meant(self, span: Span) -> Span:
        """A span, as its lines are meant."""
        return replace(span, seen=self.seen, format=self.format, header=self.header)


_MEANT = ("framing", "kept", "seen", "format", "header")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Readable(Protocol):
    """Anything with bytes at offsets."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on."""

    def digest(self, size: int, offset: int) -> int:
        """The digest of these bytes."""


def digest(data: bytes) -> int:
    """A 64-bit hash of `data` (BLAKE2b, RFC 7693)."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def observe(content: Readable, inode: int, position: int) -> Evidence:
    """The evidence of a file that has been read up to `position`."""
    length = min(REACH, position)
    head = content.read(length, 0)
    tail = content.digest(length, position - length)
    return Evidence(inode, length, digest(head), tail)


def fits(content: Readable, evidence: Evidence, position: int) -> bool:
    """Whether a file begins, and stands before `position`, as the evidence says."""
    found = observe(content, evidence.inode, position)
    return (found.head_length, found.head_hash, found.tail_hash) == (
        evidence.head_length,
        evidence.head_hash,
        evidence.tail_hash,
    )
