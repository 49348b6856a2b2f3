"""What the lines say: requests to an online shop's API, drawn the way real traffic looks.

Few customers make most requests (Zipf), they come in sessions of several quick requests, latencies
are log-normal, and some customers see far more errors and waits than others.
"""

from __future__ import annotations

import uuid
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

BLOCK = 50_000
"""Requests drawn at a time, whatever is taken, so that a seed means the same requests always."""

_CUSTOMERS = 1_000
_CLIENTS_PER_CUSTOMER = 4
_PATHS = 20_000
_MAX_DURATION_MS = 60_000


class Fault(IntEnum):
    """What is wrong with a line."""

    NONE = 0
    TRUNCATED = 1
    BAD_STATUS = 2
    BAD_DATE = 3
    FOREIGN_OUTPUT = 4


class _Route(NamedTuple):
    method: str
    path: str
    weight: float
    success: int
    median_ms: float
    median_bytes: int


_ROUTES = (
    _Route("GET", "/api/v1/products?category={word}&page={page}&limit=50", 14, 200, 45, 18_000),
    _Route("GET", "/api/v1/products/{id}", 16, 200, 18, 2_400),
    _Route("GET", "/api/v1/products/{id}/reviews?page={page}", 6, 200, 30, 6_000),
    _Route("GET", "/api/v1/orders/{id}", 10, 200, 22, 1_800),
    _Route("GET", "/api/v1/orders?status={word}&page={page}", 6, 200, 60, 9_000),
    _Route("POST", "/api/v1/orders", 4, 201, 140, 640),
    _Route("PATCH", "/api/v1/orders/{id}/items/{page}", 2, 200, 70, 480),
    _Route("GET", "/api/v1/users/{uuid}", 9, 200, 12, 900),
    _Route("PUT", "/api/v1/users/{uuid}/preferences", 2, 200, 35, 220),
    _Route("GET", "/api/v2/carts/{uuid}?expand=items,prices", 8, 200, 28, 3_100),
    _Route("POST", "/api/v2/carts/{uuid}/items", 5, 201, 48, 700),
    _Route("DELETE", "/api/v2/carts/{uuid}/items/{id}", 2, 204, 33, 0),
    _Route("GET", "/api/v2/search?q={word}%20{word}&sort=price&page={page}", 7, 200, 110, 14_000),
    _Route("POST", "/api/v2/payments/{uuid}/capture", 2, 202, 420, 310),
    _Route("POST", "/api/v1/login", 3, 200, 95, 540),
    _Route("GET", "/api/v1/reports/{id}/export?format=csv", 0.5, 200, 1_900, 250_000),
    _Route("GET", "/health", 3.5, 200, 1.5, 15),
)
_WORDS = ("shoes", "garden", "books", "lamps", "coffee", "bikes", "open", "shipped", "returned")

_ERRORS = {400: 12, 401: 10, 403: 6, 404: 32, 409: 4, 422: 8, 429: 8, 500: 12, 502: 4, 503: 4}
"""Status of a failed request -> how frequent it is among them."""

_USER_AGENTS = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36": 90,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1": 40,
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0": 90,
    'Mozilla/5.0 (compatible; ShopBot/2.1; "price watch"; +https://bots.example.com/)': 2,
    "ShopApp/4.12.0 (Android 14; Pixel 8) okhttp/4.12.0": 130,
    "python-requests/2.32.3": 300,
    "Go-http-client/2.0": 200,
    "curl/8.7.1": 130,
}
_REFERERS = {
    "-": 50,
    "https://shop.example.com/": 20,
    "https://shop.example.com/products?category=books&page=2": 15,
    "https://shop.example.com/cart": 10,
    "https://www.example.org/search?q=coffee+grinder": 5,
}


class Traffic:
    """An endless stream of requests; the same seed gives the same ones, however they are taken.

    `bad_ratio` is the share of requests, 0 to 1, whose line is to be malformed.
    """

    def __init__(self, seed: int | None, bad_ratio: float) -> None:
        self._random = np.random.default_rng(seed)
        self._bad_ratio = bad_ratio
        ranks = np.arange(1, _CUSTOMERS + 1)
        self._popularity = _shares(1 / ranks**1.1)
        self._paths = self._draw_paths()
        self._clients = self._draw_clients()
        self._drawn = self._draw()

    def take(self, lines: int) -> pl.DataFrame:
        """The next `lines` requests, one a row.

        Columns: customer_id, method, path, status, duration_ms, bytes, ip, user_agent, referer
        (`-` if none), request_id, gap (relative pause before the request), fault (a `Fault`) and
        cut (0 to 1: how much of a truncated line is left).
        """
        while self._drawn.height < lines:
            self._drawn = pl.concat([self._drawn, self._draw()])
        taken, self._drawn = self._drawn.head(lines), self._drawn.slice(lines)
        return taken

    def _draw_paths(self) -> pl.DataFrame:
        """Concrete paths, as frequent as their routes: ids repeat in real logs too."""
        random = self._random
        weights = np.array([route.weight for route in _ROUTES])
        routes = [_ROUTES[i] for i in random.choice(len(_ROUTES), _PATHS, p=_shares(weights))]
        ids = random.integers(1, 1_000_000, _PATHS).tolist()
        pages = random.geometric(0.3, _PATHS).tolist()
        words = random.choice(_WORDS, _PATHS).tolist()
        paths = [
            route.path.format(
                id=number, page=page, word=word, uuid=uuid.UUID(bytes=random.bytes(16), version=4)
            )
            for route, number, page, word in zip(routes, ids, pages, words, strict=True)
        ]
        return pl.DataFrame(routes, schema=_Route._fields, orient="row").with_columns(
            path=pl.Series(paths)
        )

    def _draw_clients(self) -> pl.DataFrame:
        """The machines of every customer, with the customer's tendency to fail and to wait."""
        random = self._random
        customer = np.repeat(np.arange(_CUSTOMERS), _CLIENTS_PER_CUSTOMER)
        clients = len(customer)
        error_rate = 0.002 + 0.6 * random.beta(0.3, 6, _CUSTOMERS)
        slowness = random.lognormal(0, 0.4, _CUSTOMERS)
        octets = random.integers(1, 255, (clients, 4)).tolist()
        is_ipv6 = random.random(clients) < 0.05
        return pl.DataFrame(
            {
                "customer_id": [f"cust_{number + 1}" for number in customer.tolist()],
                "ip": [
                    f"2001:db8:{a:x}:{b:x}::{c:x}{d:02x}" if v6 else f"{a}.{b}.{c}.{d}"
                    for (a, b, c, d), v6 in zip(octets, is_ipv6, strict=True)
                ],
                "user_agent": self._choose(_USER_AGENTS, clients),
                "error_rate": error_rate[customer],
                "slowness": slowness[customer],
            }
        )

    def _draw(self) -> pl.DataFrame:
        """One block: every row is a request, or goes on with the session of the row above."""
        random = self._random
        opens = random.random(BLOCK) < 0.5
        customer = random.choice(_CUSTOMERS, BLOCK, p=self._popularity)
        customer[0] = 0  # whoever tries `cust_1` on a few lines finds it
        client = customer * _CLIENTS_PER_CUSTOMER + random.integers(0, _CLIENTS_PER_CUSTOMER, BLOCK)
        opens[0] = True
        session = np.maximum.accumulate(np.where(opens, np.arange(BLOCK), 0))
        failed = pl.Series(random.random(BLOCK)) < pl.col("error_rate")
        cached = (pl.col("method") == "GET") & pl.Series(random.random(BLOCK) < 0.03)
        duration = pl.col("median_ms") * pl.col("slowness") * self._factors(0.6)
        request_ids = random.bytes(16 * BLOCK).hex()
        is_bad = random.random(BLOCK) < self._bad_ratio
        requests: pl.DataFrame = (
            self._clients[client[session]]
            .hstack(self._paths[random.integers(0, _PATHS, BLOCK)])
            .select(
                "customer_id",
                "method",
                "path",
                "ip",
                "user_agent",
                duration_ms=duration.clip(0.5, _MAX_DURATION_MS).round(2),
                status=pl.when(failed)
                .then(self._choose(_ERRORS, BLOCK))
                .when(cached)
                .then(304)
                .otherwise("success"),
                bytes=(pl.col("median_bytes") * self._factors(0.5)).cast(pl.Int64),
                referer=self._choose(_REFERERS, BLOCK),
                request_id=pl.Series(
                    [request_ids[at : at + 32] for at in range(0, len(request_ids), 32)]
                ),
                gap=pl.Series(random.exponential(np.where(opens, 1.0, 0.05))),
                fault=pl.Series(np.where(is_bad, random.integers(1, len(Fault), BLOCK), 0)),
                cut=pl.Series(random.random(BLOCK)),
            )
            .with_columns(bytes=pl.when(pl.col("status") == 304).then(0).otherwise("bytes"))
        )
        return requests

    def _factors(self, sigma: float) -> pl.Series:
        """Log-normal factors around 1."""
        return pl.Series(self._random.lognormal(0, sigma, BLOCK))

    def _choose(self, weights: dict[Any, int], size: int) -> pl.Series:
        """`size` keys of the table, each as frequent as its weight says."""
        shares = _shares(np.array(list(weights.values())))
        return pl.Series(list(weights))[self._random.choice(len(weights), size, p=shares)]


def _shares(weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The weights scaled to a sum of 1."""
    return np.asarray(weights / weights.sum(), dtype=np.float64)
