"""The Celery app. Its settings are the CELERY_* names of portal.settings; the reasons are in docs/decisions.md."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("hilum")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
