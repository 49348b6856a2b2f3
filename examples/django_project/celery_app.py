"""Celery, which sends what is in the outbox and cleans it up, as the settings say."""

from celery import Celery

app = Celery("django_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
