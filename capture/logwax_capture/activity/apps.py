"""The Django app."""

from django.apps import AppConfig


class ActivityConfig(AppConfig):
    """The table of activities, and its page in the admin."""

    name = "logwax_capture.activity"
    label = "logwax_activity"
    verbose_name = "Activity log"
    default_auto_field = "django.db.models.BigAutoField"
