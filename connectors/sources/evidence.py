"""What a file is recognised by: its first bytes, and those before a position. Never its path."""

from __future__ import annotations

import os
from hashlib import blake2b

from connectors.batch import Evidence

REACH = 1024
"""Bytes at either end that count."""


def digest(data: bytes) -> int:
    """A 64-bit hash of `data` (BLAKE2b, RFC 7693)."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def observe(fd: int, inode: int, position: int) -> Evidence:
    """The evidence of an open file that has been read up to `position`."""
    length = min(REACH, position)
    head = os.pread(fd, length, 0)
    tail = os.pread(fd, length, position - length)
    return Evidence(inode, length, digest(head), digest(tail))


def fits(fd: int, evidence: Evidence, position: int) -> bool:
    """Whether an open file begins, and stands before `position`, as the evidence says."""
    found = observe(fd, evidence.inode, position)
    return (found.head_length, found.head_hash, found.tail_hash) == (
        evidence.head_length,
        evidence.head_hash,
        evidence.tail_hash,
    )
