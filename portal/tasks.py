"""Work of the portal in the background. Tasks take addresses only; running one twice is harmless."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from portal.models import Upload
from portal.uploads import import_zip, zip_path

SILENCE = timedelta(minutes=5)  # an import beats after each film that took long, and a film takes at most half a minute


@shared_task
def import_upload(uuid: str) -> None:
    """Claim the upload by a conditional UPDATE and import it."""
    lapsed = Q(state=Upload.State.RECEIVED) | Q(state=Upload.State.IMPORTING, heartbeat_at__lt=timezone.now() - SILENCE)
    claimed = Upload.objects.filter(lapsed, uuid=uuid).update(state=Upload.State.IMPORTING, heartbeat_at=timezone.now())
    if claimed:
        import_zip(Upload.objects.select_related("dataset__site", "uploaded_by").get(uuid=uuid))


@shared_task
def resume_uploads() -> None:
    """Publish again what the broker lost or a killed worker left."""
    silent = Upload.objects.filter(
        state__in=[Upload.State.RECEIVED, Upload.State.IMPORTING], heartbeat_at__lt=timezone.now() - SILENCE
    )
    for upload in silent:
        if zip_path(upload).exists():
            import_upload.delay(str(upload.uuid))
