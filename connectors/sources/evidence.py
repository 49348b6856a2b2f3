"""What a file is recognised by: its first bytes, and those before a position. Never its path."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import astuple, dataclass, field
from hashlib import blake2b
from typing import Protocol

_CHOICE = "choice="  # with which no LOG_MULTILINE begins

REACH = 1024
"""Bytes at either end that count."""


@dataclass(frozen=True)
class Evidence:
    """What a file is recognised by, whatever its path: see docs/architecture.md, "Files".

    `head_hash` covers the first `head_length` bytes (up to 1 KiB), `tail_hash` the up to 1 KiB
    before the end of the span that carries it; `inode` breaks ties. `content_hash` is the XXH3 (64
    bits) of the span's bytes; 0: unknown. `framing` says which of its lines were one record
    (`LOG_MULTILINE`), `choice` which of the rows are stored (`KEEP` and the like); either is left
    out of the proof where it is empty.
    """

    inode: int = 0
    head_length: int = 0
    head_hash: int = 0
    tail_hash: int = 0
    content_hash: int = 0
    framing: str = field(default="", kw_only=True)
    choice: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, proof: str) -> Evidence:
        """What a proof says, nothing if it is empty."""
        parts = proof.split(" ", 5) if proof else []
        framing, choice = "".join(parts[5:]), ""
        if framing.startswith(_CHOICE):
            coded, _, framing = framing.removeprefix(_CHOICE).partition(" ")
            choice = urlsafe_b64decode(coded).decode()
        return cls(*map(int, parts[:5]), framing=framing, choice=choice)

    @property
    def proof(self) -> str:
        """The same as the proof of a span: its values, with spaces between."""
        *numbers, framing, choice = astuple(self)
        coded = _CHOICE + urlsafe_b64encode(choice.encode()).decode() if choice else ""
        return " ".join([*map(str, numbers), *filter(None, (coded, framing))])


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
