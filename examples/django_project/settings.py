"""The settings of the project: those for Logwax first, then what every project has."""

import os
from pathlib import Path

from logwax_capture.outbox.tasks import beat_schedule

DATA = Path("data/django")
DATA.mkdir(parents=True, exist_ok=True)

LOGS_INTO_OUTBOX = True  # activities are in the admin, and arrive in the store, too
LOGS_SPILL_DIR = DATA / "spill"
DRF_LOGGER_INTERVAL = 1
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "logwax": {
            "class": "logwax_capture.handler.LogwaxHandler",
            "filename": DATA / "requests.log",
        }
    },
    "loggers": {"requests": {"handlers": ["logwax"], "level": "INFO"}},
}
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
CELERY_BEAT_SCHEDULE = beat_schedule()
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA / "beat")
INSTALLED_APPS = [
    "logwax_capture.outbox",
    "logwax_capture.activity",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "examples.django_project.urls.log_requests",
]

SECRET_KEY = "of an example"
DEBUG = True
USE_TZ, TIME_ZONE = True, "UTC"
ALLOWED_HOSTS = ["localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "app.db"}}
ROOT_URLCONF = "examples.django_project.urls"
STATIC_URL = "static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
