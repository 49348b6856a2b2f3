"""Enricher `geoip`: place and network of an address, as files in MaxMind's format have them.

The format: "MaxMind DB File Format Specification", 2.0. A value is looked for where files of
MaxMind and DB-IP have it, and those of IPinfo and IPLocate, whose records are flat.
"""

from __future__ import annotations

import mmap
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import maxminddb
import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.batch import ENRICHED
from connectors.status import Status
from flows.enrichment import Enrich
from flows.enrichment.known import Known
from settings import Settings

_Path = tuple[str | int, ...]

_TEXTS: dict[str, list[_Path]] = {
    "country": [
        *(("country", "names", "en"), ("country",), ("country_name",)),
        *(("country", "iso_code"), ("country_code",)),
    ],
    "region": [("subdivisions", 0, "names", "en"), ("region",), ("subdivision",)],
    "region_code": [("subdivisions", 0, "iso_code"), ("region_code",)],
    "city": [("city", "names", "en"), ("city",)],
}
_NUMBERS: dict[str, list[_Path]] = {
    "latitude": [("location", "latitude"), ("latitude",), ("lat",)],
    "longitude": [("location", "longitude"), ("longitude",), ("lng",)],
    "asn": [("autonomous_system_number",), ("asn",), ("traits", "autonomous_system_number")],
}
"""Columns -> where in a record they may be: the first that fits counts."""

_NOWHERE = ("", "", "", "", 0.0, 0.0, 0)

_FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
"""Bytes of an address -> what it is."""

_MAPPED = "::ffff:"  # an IPv4 address as IPv6 (RFC 4291, 2.5.5.2)


def check(paths: Sequence[str]) -> None:
    """Raise `ValueError`, which says all that is wrong, unless each of these can be read."""
    files = [_File(path) for path in paths]
    for file in files:
        file.refresh()
    if problems := [file.problem for file in files if file.problem]:
        raise ValueError("; ".join(problems))


def make(settings: Settings, status: Status) -> Enrich:
    """The enricher, made of `client_ip`; with each batch it looks for files that were replaced."""
    files = [_File(path) for path in settings.geoip_files]
    known = Known(lambda addresses: _places(files, addresses), ENRICHED["geoip"])

    def enrich(rows: pl.DataFrame) -> pl.DataFrame:
        if sum(file.refresh() for file in files):  # each of them, not up to the first
            known.forget()
        rows = known.add_to(rows, "client_ip")
        status.geoip_files = {file.path: file.built for file in files if file.built}
        status.geoip_problems = tuple(
            f"GEOIP_DB: {file.problem}." for file in files if file.problem
        )
        return rows

    enrich(pl.DataFrame())  # what `/health` says does not wait for the first line
    return enrich


class _File:
    """One file. What is wrong with it is its `problem`; what was there before goes on to count."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.built = ""
        self.problem = ""
        self.database: _Database | None = None
        self._stamp: tuple[int, ...] = ()

    def refresh(self) -> bool:
        """Open the file if it is another one than before; returns whether it is."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            self.database = _Database(self.path)
        except OSError as error:
            self._stamp = ()
            self.problem = f"cannot read {self.path}: {error.strerror}"
            return False
        except maxminddb.InvalidDatabaseError:
            self.problem = f"{self.path} is no file in MaxMind's format"
            return False
        self.built, self.problem = self.database.built, ""
        return True


class _Database:
    """A file as it was when it was opened, of which nothing is read twice in a batch.

    To read a record takes the library some 30 us, a tenth of what a thousand lines cost, so it is
    asked once for each. Which record is whose stands in a tree, that NumPy walks for all addresses
    at a time. Its form: "MaxMind DB File Format Specification", 2.0, "Binary Search Tree Section".
    """

    def __init__(self, path: str) -> None:
        # A copy: whoever wrote into the file itself would kill this process by SIGBUS.
        with open(path, "rb") as file, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            self._reader = maxminddb.open_database(f"/proc/self/fd/{copy.fileno()}")
            data = mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(data, np.uint8)
        about = self._reader.metadata()
        self._version = about.ip_version
        self._nodes, self._bits = about.node_count, about.record_size
        # In a file of both kinds, addresses of IPv4 are behind 96 zeros.
        to_ipv4 = np.zeros((1, 96 if self._version == 6 else 0), np.uint8)
        self._root = int(self._walk(0, to_ipv4)[0])
        self.built = f"{datetime.fromtimestamp(about.build_epoch, timezone.utc):%Y-%m-%d}"

    def record(self, address: bytes) -> object:
        """What it says of an address; None: nothing."""
        if not self._has(len(address)):
            return None
        return self._reader.get(socket.inet_ntop(_FAMILIES[len(address)], address))

    def leaves(self, addresses: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """A number for each address, all of one length: those of the same record have the same."""
        size = len(addresses[0])
        if not self._has(size):
            return np.zeros(len(addresses), np.int64)
        packed = np.frombuffer(b"".join(addresses), np.uint8).reshape(len(addresses), size)
        return self._walk(self._root if size == 4 else 0, np.unpackbits(packed, axis=1))

    def _walk(self, root: int, paths: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Where the paths end: each is a row of bits, of which there may be more than needed."""
        nodes = np.full(len(paths), root, np.int64)
        for bits in paths.T.astype(np.int64):
            inner = np.flatnonzero(nodes < self._nodes)
            nodes[inner] = self._next(nodes[inner], bits[inner])
        return nodes

    def _has(self, size: int) -> bool:
        return size == 4 or self._version == 6

    def _next(self, nodes: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> Any:
        width, first = self._bits // 8, nodes * (self._bits // 4)
        if self._bits == 28:  # three bytes, a byte that has the highest bits of both, three bytes
            value = self._bytes[first + 3].astype(np.int64) >> 4 * (1 - right) & 15
            first = first + 4 * right
        else:
            value = np.zeros(len(nodes), np.int64)
            first = first + width * right
        for byte in range(width):
            value = value << 8 | self._bytes[first + byte]
        return value


def _places(files: Sequence[_File], texts: Sequence[str]) -> list[tuple[object, ...]]:
    """The columns of each address; empty ones of what is no address, such as a host name."""
    databases = [(file, file.database) for file in files if file.database]
    addresses = [_address(text) for text in texts]
    places: list[tuple[object, ...]] = [_NOWHERE] * len(texts)
    for size in _FAMILIES:
        which = [number for number, address in enumerate(addresses) if len(address) == size]
        if not (which and databases):
            continue
        these = [addresses[number] for number in which]
        leaves = np.stack([database.leaves(these) for _, database in databases], axis=1)
        found: dict[tuple[int, ...], tuple[object, ...]] = {}
        for number, key in zip(which, map(tuple, leaves.tolist()), strict=True):
            if key not in found:
                found[key] = _columns_of(_records(databases, addresses[number]))
            places[number] = found[key]
    return places


def _address(text: str) -> bytes:
    """The bytes of an address; none of what is none."""
    if text[: len(_MAPPED)].lower() == _MAPPED and "." in text:
        text = text[len(_MAPPED) :]
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return b""


def _records(databases: Sequence[tuple[_File, _Database]], address: bytes) -> list[object]:
    """What the files say of an address."""
    records = []
    for file, database in databases:
        try:
            records.append(database.record(address))
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            file.problem = f"{file.path} is damaged: {error}"
    return records


def _columns_of(records: Sequence[object]) -> tuple[object, ...]:
    texts = [_text(records, paths) for paths in _TEXTS.values()]
    latitude, longitude, asn = (_number(records, paths) for paths in _NUMBERS.values())
    return (*texts, latitude, longitude, int(asn) if 0 <= asn < 2**32 else 0)


def _text(records: Sequence[object], paths: Sequence[_Path]) -> str:
    for record in records:
        for path in paths:
            if isinstance(found := _at(record, path), str) and found:
                return found
    return ""


def _number(records: Sequence[object], paths: Sequence[_Path]) -> float:
    for record in records:
        for path in paths:
            found = _at(record, path)
            if isinstance(found, str | int | float):
                try:
                    return float(str(found).removeprefix("AS"))
                except ValueError:
                    continue
    return 0.0


def _at(record: object, path: _Path) -> object:
    for key in path:
        try:
            record = record[key]  # type: ignore[index]
        except (TypeError, LookupError):
            return None
    return record
