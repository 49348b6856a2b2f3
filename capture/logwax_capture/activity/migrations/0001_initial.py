"""The table of activities."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes it."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="ActivityLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("entry_id", models.CharField(editable=False, max_length=32, unique=True)),
                ("created_at", models.DateTimeField(db_index=True)),
                ("user", models.TextField(blank=True)),
                ("email", models.TextField(blank=True)),
                ("username", models.TextField(blank=True)),
                ("ip", models.TextField(blank=True)),
                ("message", models.TextField(blank=True)),
                ("action", models.TextField(blank=True)),
                ("vpn", models.TextField(blank=True)),
                ("extras", models.TextField(blank=True)),
            ],
            options={
                "verbose_name": "activity",
                "verbose_name_plural": "activities",
                "db_table": "activity_log",
                "ordering": ["-created_at", "-id"],
            },
        ),
    ]
