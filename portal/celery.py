"""The Celery app, configured by the CELERY_* settings of portal.settings. docs/decisions.md explains them."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("hilum")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
