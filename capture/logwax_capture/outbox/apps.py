"""The outbox as an app of Django: `INSTALLED_APPS = [..., "logwax_capture.outbox"]`."""

from logwax_capture import extra

_apps = extra("django", "django.apps")


class OutboxConfig(_apps.AppConfig):  # type: ignore[misc, name-defined]
    """Its name is `logwax_outbox`."""

    name = "logwax_capture.outbox"
    label = "logwax_outbox"
    verbose_name = "Event outbox"
    default_auto_field = "django.db.models.BigAutoField"
