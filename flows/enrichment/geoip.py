"""Enricher `geoip`: place and network of an address, as files in MaxMind's format have them.

The format: "MaxMind DB File Format Specification", 2.0. A value is looked for where files of
MaxMind and DB-IP have it, and those of IPinfo and IPLocate, whose records are flat.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone

import maxminddb
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

    def find(addresses: Sequence[str]) -> list[tuple[object, ...]]:
        return [_columns_of(_records(files, address)) for address in addresses]

    known = Known(find, ENRICHED["geoip"])

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
        self._stamp: tuple[int, ...] = ()
        self._reader: maxminddb.Reader | None = None

    def refresh(self) -> bool:
        """Open the file if it is another one than before; returns whether it is."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            reader = _open(self.path)
        except OSError as error:
            self._stamp = ()
            self.problem = _cannot_read(self.path, error)
            return False
        except ValueError as error:
            self.problem = str(error)
            return False
        built = datetime.fromtimestamp(reader.metadata().build_epoch, timezone.utc)
        self._reader, self.built, self.problem = reader, f"{built:%Y-%m-%d}", ""
        return True

    def record(self, address: str) -> object:
        """What it says of an address; None: nothing."""
        if not self._reader or (":" in address and self._reader.metadata().ip_version == 4):
            return None
        try:
            return self._reader.get(address)
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            self.problem = f"{self.path} is damaged: {error}"
            return None


def _open(path: str) -> maxminddb.Reader:
    """A reader of a copy: whoever wrote into the file itself would kill this process by SIGBUS.

    Raises `ValueError`, which says what is wrong with the file.
    """
    try:
        with open(path, "rb") as file, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            return maxminddb.open_database(f"/proc/self/fd/{copy.fileno()}")
    except OSError as error:
        raise ValueError(_cannot_read(path, error)) from None
    except maxminddb.InvalidDatabaseError:
        raise ValueError(f"{path} is no file in MaxMind's format") from None


def _cannot_read(path: str, error: OSError) -> str:
    return f"cannot read {path}: {error.strerror}"


def _records(files: Sequence[_File], address: str) -> list[object]:
    """What the files say of an address; nothing of what is none, such as a host name."""
    if address.startswith(_MAPPED) and "." in address:
        address = address[len(_MAPPED) :]
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return []
    return [record for file in files if (record := file.record(address)) is not None]


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
