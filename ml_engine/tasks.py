"""Celery tasks. Each takes ids, delegates, and may run twice."""

import logging
from smtplib import SMTPException
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready
from django.db import DatabaseError

from ml_engine.runs import blacked_out_films, lifecycle, run_files, supervisor
from ml_engine.runs.end_mail import send_end_mail
from portal.intake.emptied_broker import send_again_also
from portal.intake.newer_database import is_left_to_a_newer_worker

logger = logging.getLogger(__name__)


@shared_task(name=lifecycle.EXECUTE)
def execute_run(run_uuid: str) -> None:
    if is_left_to_a_newer_worker(f"run {run_uuid}"):
        return
    supervisor.execute(UUID(run_uuid))


send_again_also(lifecycle.publish_all_waiting)


@shared_task
def reap_runs() -> int:
    return lifecycle.reap()


@shared_task
def remove_failed_runs() -> None:
    blacked_out_films.renew_after_crash()
    if removed := run_files.remove_old():
        logger.info("removed the files of %d failed or cancelled runs", removed)


@shared_task(
    name=lifecycle.MAIL_END, autoretry_for=(OSError, SMTPException), retry_backoff=30, retry_kwargs={"max_retries": 4}
)
def mail_end(run_uuid: str) -> None:
    send_end_mail(UUID(run_uuid))


@worker_ready.connect
def reap_at_start(**_: Any) -> None:
    """A worker that restarts after a crash does not wait for the next beat."""
    try:
        lifecycle.reap()
    except DatabaseError:  # before the first migration
        logger.warning("could not check for lost runs at start; the next beat does it")
