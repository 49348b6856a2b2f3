"""Store `embedded`: ClickHouse inside this process (chdb), in `DATA_DIR/clickhouse`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import clickhouse_connect
from clickhouse_connect.driver.binding import quote_identifier
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from connectors.errors import StoreError
from connectors.sinks.clickhouse import EMBEDDED
from connectors.sinks.clickhouse.damage import damage
from connectors.sinks.clickhouse.errors import reason
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.sinks.lock import take
from connectors.sinks.retry import Retry
from settings import Settings


def open_store(settings: Settings, retry: Retry) -> ClickHouseStore:
    """Open the embedded store; its directory belongs to one process at a time.

    Raises `StoreBusyError` with who has it and where its API is, `StoreError` if it cannot be
    opened.
    """
    directory = settings.data_dir / EMBEDDED.kept_in
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = take(settings)
        path, release = _plain_path(settings.data_dir, lock)
    except OSError as error:
        raise StoreError(f"Cannot use DATA_DIR {settings.data_dir}: {error.strerror}") from error

    def connect(asking: dict[str, Any] | None = None) -> Client:
        try:
            os.environ["TZ"] = "UTC"  # the engine knows no zones of POSIX, such as CET-1CEST
            client = clickhouse_connect.get_client(
                interface="chdb", path=path + _OPTIONS, settings=asking
            )
            return cast(Client, _Client(client)) if hasattr(os, "memfd_create") else client
        except ImportError as error:
            raise StoreError(
                f"Cannot load the engine of the embedded store: {error}. Install Logwax again."
            ) from error
        except (ClickHouseError, RuntimeError) as error:  # the latter of the engine's beginning
            raise StoreError(
                f"Cannot open the embedded store in {directory}: {reason(error)}"
            ) from error

    return ClickHouseStore(
        connect,
        settings,
        retry,
        is_shared=False,
        connect_reader=lambda: cast(Client, _Several(partial(connect, _OF_QUESTIONS))),
        find_damage=damage,
        release=release,
    )


def _plain_path(data_dir: Path, lock: int) -> tuple[str, Callable[[], None]]:
    """A path of the store that chdb takes for nothing else, and how to release it and the lock.

    chdb takes what stands behind a `?` for options, and a path for UTF-8: what has a name with
    these is opened by a descriptor of it. Raises `OSError`.
    """
    path = os.path.realpath(data_dir / EMBEDDED.kept_in)
    if "?" not in path and path.isprintable():
        return path, lambda: os.close(lock)
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)

    def release() -> None:
        os.close(descriptor)
        os.close(lock)

    return f"file:/proc/self/fd/{descriptor}/{EMBEDDED.kept_in}", release


_OPTIONS = "?memory_worker_period_ms=1000"  # its own 50 take 0.2 % of a core for nothing

# By default 128 KiB are read for each column of each granule, which has a few: a fifth of what a
# question costs.
_OF_QUESTIONS = {"max_read_buffer_size_local_fs": 32768}

_AT_ONCE = 3

_ASKING = frozenset(("command", "query", "query_arrow", "raw_query"))


class _Client:
    """A client whose inserts are in a file in memory, which is gone however the process ends.

    The engine reads inserts from a file only; clickhouse-connect makes one on disk. And what a
    question had answered until it failed, the engine would put before the next answer (measured,
    chdb 4.4): so another question, of which nobody reads the answer, comes between.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._counting = _counting(client)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._ask, found) if name in _ASKING else found

    def _ask(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with self._lock:
            try:
                return ask(*arguments, **options)
            except ClickHouseError:
                with suppress(ClickHouseError):
                    self._client.raw_query("SELECT 1")
                raise

    @property
    def has_read(self) -> tuple[int, int]:
        """The rows and bytes that the last question has read; 0 where nobody knows."""
        return self._counting.has_read if self._counting else (0, 0)

    def raw_insert(
        self,
        table: str,
        column_names: Sequence[str],
        insert_block: bytes | Iterable[bytes | memoryview],
        settings: Mapping[str, object],
        fmt: str,
    ) -> None:
        with ExitStack() as open_file:
            try:
                file = open_file.enter_context(os.fdopen(os.memfd_create("insert"), "wb", 0))
                pieces = (insert_block,) if isinstance(insert_block, bytes) else insert_block
                for piece in pieces:
                    rest = memoryview(piece)
                    while rest:
                        rest = rest[file.write(rest) :]
            except OSError as error:  # no memory, no descriptor: it may pass, as in a server
                raise OperationalError(str(error)) from error
            names = ", ".join(map(quote_identifier, column_names))
            values = ", ".join(f"{name} = %({name})s" for name in settings)
            self.command(
                f"INSERT INTO {quote_identifier(table)} ({names}) "
                f"FROM INFILE %(file)s SETTINGS {values} FORMAT {fmt}",
                {"file": f"/proc/self/fd/{file.fileno()}", **settings},
            )


class _Several:
    """Clients as one: a short question need not wait until a long one is answered.

    One client, which answers one question after another, would let everybody wait for the slowest.
    More than `_AT_ONCE` would only need more memory.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._first = connect()
        self._idle = [self._first]
        self._made = [self._first]
        self._free = threading.Semaphore(_AT_ONCE)

    @property
    def server_settings(self) -> Any:
        return self._first.server_settings

    def query(self, *arguments: Any, **options: Any) -> Any:
        with self._one() as client:
            return client.query(*arguments, **options)

    def command(self, *arguments: Any, **options: Any) -> Any:
        with self._one() as client:
            return client.command(*arguments, **options)

    def close(self) -> None:
        for client in self._made:
            client.close()

    @contextmanager
    def _one(self) -> Iterator[Client]:
        with self._free:
            try:
                client = self._idle.pop()
            except IndexError:
                client = self._connect()
                self._made.append(client)
            try:
                yield client
            finally:
                self._idle.append(client)


class _Counting:
    """A connection of chdb that remembers what its last question has read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.has_read = (0, 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def query(self, *arguments: Any, **options: Any) -> Any:
        answer = self._connection.query(*arguments, **options)
        self.has_read = answer.storage_rows_read(), answer.storage_bytes_read()
        return answer


def _counting(client: Client) -> _Counting | None:
    """Have a client count. The engine says it each time; clickhouse-connect keeps it of some."""
    handle: Any = getattr(getattr(client, "_backend", None), "_handle", None)
    if not hasattr(handle, "conn"):  # which is a connection of chdb
        return None
    handle.conn = _Counting(handle.conn)
    return cast(_Counting, handle.conn)
