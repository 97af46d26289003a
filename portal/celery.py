"""The Celery app, configured by the CELERY_* settings of portal.settings. docs/decisions.md explains them."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("hilum")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def refuse_half_a_restore(**_: Any) -> None:
    from portal.backups.restoring import refuse_unfinished

    refuse_unfinished()


@worker_ready.connect
def end_with_beat(sender: Any, **_: Any) -> None:
    from portal.project import beat_process

    beat_process.watch(sender.controller.beat)
