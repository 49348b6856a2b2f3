"""The tables of the outbox as models of Django, made of the same columns.

Whoever writes an event uses `log_event`; the models are for looking at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logwax_capture import extra
from logwax_capture.outbox.schema import (
    BATCH_COLUMNS,
    BATCHES,
    COLUMNS,
    INDEXES,
    TABLE,
    Column,
)

_models = extra("django", "django.db.models")
_timezone = extra("django", "django.utils.timezone")

_CONDITIONS = {
    "batch IS NULL": {"batch__isnull": True},
    "failure IS NOT NULL": {"failure__isnull": False},
}


def fields(columns: Sequence[Column]) -> list[tuple[str, Any]]:
    """The fields of a table, by their names."""
    return [(column.name, _field(column)) for column in columns]


def indexes() -> list[Any]:
    """Those of the events."""
    return [
        _models.Index(fields=["id"], name=name, condition=_models.Q(**_CONDITIONS[condition]))
        for name, condition in INDEXES.items()
    ]


def _field(column: Column) -> Any:
    if column.kind == "key":
        return _models.BigAutoField(primary_key=True, serialize=False)
    options: dict[str, Any] = {"null": True, "blank": True} if column.is_null else {}
    if column.default is not None:
        options["default"] = column.default
    if column.name == "number":
        options |= {"primary_key": True, "serialize": False}
    if column.name == "created_at":
        options["default"] = _timezone.now
    if column.name == "updated_at":
        options["auto_now"] = True
    kinds = {
        "number": _models.BigIntegerField,
        "integer": _models.IntegerField,
        "text": _models.TextField,
        "time": _models.DateTimeField,
    }
    return kinds[column.kind](**options)


def _model(name: str, table: str, columns: Sequence[Column], found: Sequence[Any]) -> Any:
    meta = type("Meta", (), {"db_table": table, "app_label": "logwax_outbox", "indexes": found})
    return type(
        name, (_models.Model,), {"__module__": __name__, "Meta": meta, **dict(fields(columns))}
    )


EventsLogOutBox = _model("EventsLogOutBox", TABLE, COLUMNS, indexes())
EventsLogOutBoxBatch = _model("EventsLogOutBoxBatch", BATCHES, BATCH_COLUMNS, [])
