"""Makes the tables, by the statements that make them everywhere."""

from __future__ import annotations

from typing import Any

from logwax_capture import extra
from logwax_capture.outbox.models import fields, indexes
from logwax_capture.outbox.schema import BATCH_COLUMNS, BATCHES, COLUMNS, TABLE, ddl

_migrations = extra("django", "django.db.migrations")


def _make(apps: Any, schema_editor: Any) -> None:
    for statement in ddl(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def _drop(apps: Any, schema_editor: Any) -> None:
    for table in (BATCHES, TABLE):
        schema_editor.execute(f"DROP TABLE {table}", params=None)


class Migration(_migrations.Migration):  # type: ignore[misc, name-defined]
    """The first one."""

    initial = True
    operations = (
        _migrations.SeparateDatabaseAndState(
            database_operations=[_migrations.RunPython(_make, _drop)],
            state_operations=[
                _migrations.CreateModel(
                    "EventsLogOutBox",
                    fields(COLUMNS),
                    options={"db_table": TABLE, "indexes": indexes()},
                ),
                _migrations.CreateModel(
                    "EventsLogOutBoxBatch", fields(BATCH_COLUMNS), options={"db_table": BATCHES}
                ),
            ],
        ),
    )
