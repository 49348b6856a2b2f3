"""A shop that hands its orders, activities, requests and figures to Logwax: see the README."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import PositiveInt
from sqlalchemy import CheckConstraint, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from logwax_capture.activity import ActivityThreadService, create_table
from logwax_capture.handler import LogwaxHandler, LogwaxLogger
from logwax_capture.local import MultiThreadedLogger
from logwax_capture.outbox import UseCase, sqlalchemy_tables


class Base(DeclarativeBase):
    """The tables of the shop, beside which those of the outbox are."""


class Stock(Base):
    """How much there is of a product."""

    __tablename__ = "stock"
    product: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int] = mapped_column(CheckConstraint("quantity >= 0"))


class Order(Base):
    """What was ordered."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    product: Mapped[str]
    quantity: Mapped[int]


@dataclass
class OrderPlaced:
    """The event, of the type `order_placed`; also what the customer gets."""

    order_id: int
    customer_id: str
    product: str
    quantity: int


class PlaceOrder(UseCase):
    """Writes the order, takes it from the stock, and tells of it: all of that or nothing."""

    def __init__(self, session: Session) -> None:
        self.connection = session

    def _execute(self, request: Order) -> OrderPlaced:
        self.connection.add(request)
        self.connection.flush()  # it has an id now
        self.connection.get_one(Stock, request.product).quantity -= request.quantity
        return OrderPlaced(request.id, request.customer_id, request.product, request.quantity)

    def _get_log_event(self, response: OrderPlaced) -> OrderPlaced:
        return response


os.makedirs("data/shop", exist_ok=True)
engine = create_engine("sqlite:///data/shop/shop.db")
sqlalchemy_tables(Base.metadata)
Base.metadata.create_all(engine)
with Session(engine) as session, session.begin():
    for product in ("coffee", "tea"):
        session.merge(Stock(product=product, quantity=10))
with closing(sqlite3.connect("data/shop/shop.db")) as connection:
    create_table(connection)

activities = ActivityThreadService(
    lambda: sqlite3.connect("data/shop/shop.db"),
    LOGS_INTO_OUTBOX=True,
    LOGS_SPILL_DIR="data/shop/spill",
)
metrics = MultiThreadedLogger("data/shop/metrics.db")
logging.setLoggerClass(LogwaxLogger)
logger = logging.getLogger("shop")
logger.addHandler(LogwaxHandler("data/shop/requests.log"))
logger.setLevel(logging.INFO)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hand over what is in memory: processes of `uvicorn --workers` end without `atexit`."""
    yield
    activities.close()
    metrics.close()


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def log_request(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Log each request, and how long it took."""
    begun, status_code = time.perf_counter(), 500
    try:
        response = await call_next(request)
        status_code = response.status_code
        return response
    finally:
        duration_ms = 1000 * (time.perf_counter() - begun)
        fields = {
            "customer_id": request.headers.get("x-customer", ""),
            "method": request.method,
            "request_path": request.url.path,
            "status_code": status_code,
            "duration_ms": duration_ms,
        }
        logger.info("request", extra=fields)
        metrics.log_metric("request_duration", duration_ms, "ms")


@app.post("/orders/{product}", status_code=201, response_model=OrderPlaced)
def order(
    product: Literal["coffee", "tea"],
    quantity: PositiveInt,
    x_customer: Annotated[str, Header()],
) -> Any:
    """Place an order; 409 if there is less than that."""
    wanted = {"product": product, "quantity": quantity}
    activities.put_log_data(x_customer, "", "", "", "wants to buy", "order", None, wanted)
    try:
        with Session(engine) as session:
            return PlaceOrder(session).execute(Order(customer_id=x_customer, **wanted))
    except IntegrityError:  # of the stock: the order and its event are rolled back
        raise HTTPException(409, f"There is less {product} than that.") from None
