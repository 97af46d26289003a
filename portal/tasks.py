"""Work of the portal in the background. Tasks take addresses only; running one twice is harmless."""

import logging
from datetime import timedelta

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from portal.intake.zip_uploads import IMPORT, INTERRUPTED, fail, import_zip, publish, sweep, zip_path
from portal.models import Upload

logger = logging.getLogger(__name__)
SILENCE = timedelta(minutes=5)  # an import beats after each film that took long, and a film takes at most half a minute


@shared_task(name=IMPORT)
def import_upload(uuid: str) -> None:
    """Claim the upload by a conditional UPDATE and import it."""
    lapsed = Q(state=Upload.State.RECEIVED) | Q(state=Upload.State.IMPORTING, heartbeat_at__lt=timezone.now() - SILENCE)
    claimed = Upload.objects.filter(lapsed, uuid=uuid).update(state=Upload.State.IMPORTING, heartbeat_at=timezone.now())
    if not claimed:
        return
    upload = Upload.objects.select_related("dataset__site", "uploaded_by").get(uuid=uuid)
    try:
        import_zip(upload)
    except Exception:  # a bug, not a bad file: it would fail the same way again and again
        logger.exception("upload %s failed", uuid)
        fail(upload, f"Internal error; tell your administrator the reference {uuid}. What was imported stays.")


@shared_task
def resume_uploads() -> None:
    """Publish again what the broker lost or a killed worker left, and end what nobody can go on with."""
    silent = Upload.objects.filter(
        state__in=[Upload.State.RECEIVED, Upload.State.IMPORTING], heartbeat_at__lt=timezone.now() - SILENCE
    )
    for upload in silent:
        if zip_path(upload).exists():
            publish(upload)
        else:  # it ran on the command line
            fail(upload, INTERRUPTED)
    sweep()
