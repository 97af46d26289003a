"""Background tasks of the portal. Tasks take only UUIDs; running a task twice is harmless."""

import logging

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from portal.dicomweb.client import PacsError
from portal.dicomweb.pacs_imports import InvalidPacsRequest, forget_fetched, import_studies
from portal.intake import emptied_broker, film_bucket, unwritable, virus_scan
from portal.intake.emptied_broker import send_again_also
from portal.intake.film_bucket import BucketAway
from portal.intake.fingerprints import LOOK, look_for_near_copies, publish_look, sites_to_look_at
from portal.intake.import_plans import PlanKind, plan_path, read_plan
from portal.intake.newer_database import is_left_to_a_newer_worker
from portal.intake.pseudonym_key import OtherKey
from portal.intake.quarantine import import_again, remove_expired
from portal.intake.quotas import QuotaReached, full_usage
from portal.intake.resumable import look_after_partial_uploads
from portal.intake.text_looks import SEARCH, look_for_text, publish_search
from portal.intake.virus_scan import ScannerAway
from portal.intake.waiting import SILENCE, has_to_wait, next_after
from portal.intake.zip_uploads import (
    DISK_IS_FULL,
    IMPORT,
    INTERRUPTED,
    fail,
    import_zip,
    is_full,
    publish,
    sweep,
    zip_path,
)
from portal.models import Dataset, Site, Upload
from portal.people import audit_chain, downloads
from portal.people.sessions import remove_ended

logger = logging.getLogger(__name__)
LOOK_SECONDS = 5.0


@shared_task(name=IMPORT)
def import_upload(uuid: str) -> None:
    """Claim the upload by a conditional UPDATE and import it, or leave it until another of its author's has ended."""
    if is_left_to_a_newer_worker(f"upload {uuid}"):
        return
    upload = Upload.objects.select_related("dataset__site", "uploaded_by").get(uuid=uuid)
    if has_to_wait(upload) or (upload.state == Upload.State.RECEIVED and full_usage(upload.dataset.site)):
        return
    lapsed = Q(state=Upload.State.RECEIVED) | Q(state=Upload.State.IMPORTING, heartbeat_at__lt=timezone.now() - SILENCE)
    claimed = Upload.objects.filter(lapsed, uuid=uuid).update(
        state=Upload.State.IMPORTING, heartbeat_at=timezone.now(), message=""
    )
    if not claimed:
        return
    upload.refresh_from_db(fields=["state", "heartbeat_at", "message"])
    try:
        if plan_path(upload).exists():
            _import_planned(upload)
        else:
            import_zip(upload)
    except QuotaReached as error:  # what was sent is kept, and the import goes on once there is room
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.RECEIVED, message=str(error), heartbeat_at=timezone.now()
        )
    except OtherKey as error:
        _fail(upload, str(error))
    except Exception as error:
        if (message := _waits_for(error)) is not None:
            # asked again when the upload has waited for as long as a silent one
            logger.warning("upload %s waits: %s", uuid, error)
            Upload.objects.filter(pk=upload.pk).update(
                state=Upload.State.RECEIVED, message=message, heartbeat_at=timezone.now()
            )
            return  # the next of this person would find it away too
        # a bug, not a bad file: a retry would fail in the same way
        logger.exception("upload %s failed", uuid)
        _fail(
            upload, f"Internal error; give your administrator the reference {uuid}. The films imported so far are kept."
        )
    else:
        publish_look(upload.dataset.site)
    if (waiting := next_after(upload)) is not None:
        publish(waiting)


def _waits_for(error: Exception) -> str | None:
    """What an import waits for that this ended; None: it does not wait."""
    if isinstance(error, ScannerAway):
        return virus_scan.AWAY
    if isinstance(error, BucketAway):
        return film_bucket.AWAY
    return unwritable.WAITS if unwritable.is_unwritable(error) else None


def _import_planned(upload: Upload) -> None:
    plan = read_plan(upload)
    try:
        if plan.kind == PlanKind.PACS:
            import_studies(upload, plan.items)
        else:
            import_again(upload, plan.items)
    except (PacsError, InvalidPacsRequest) as error:
        _fail(upload, str(error))
    except OSError as error:
        if not is_full(error):
            raise
        _fail(upload, f"{DISK_IS_FULL} The films imported so far are kept.")
    forget_fetched(upload)
    plan_path(upload).unlink(missing_ok=True)


def _fail(upload: Upload, sentence: str) -> None:
    """Also removes what was fetched from a PACS and not imported, since it names people."""
    fail(upload, sentence)
    forget_fetched(upload)


@shared_task(name=LOOK)
def look_for_near_copies_at(uuid: str) -> None:
    """Look for near copies among the films of a site, for a few seconds at a time: imports that wait go first."""
    site = Site.objects.get(uuid=uuid)
    progress = look_for_near_copies(site, seconds=LOOK_SECONDS)
    if progress.left:
        publish_look(site)


@shared_task(name=SEARCH)
def search_text_in(uuid: str) -> None:
    """Look for burned-in text in a dataset, for a few seconds at a time: imports that wait go first."""
    dataset = Dataset.objects.get(uuid=uuid)
    if look_for_text(dataset, seconds=LOOK_SECONDS):
        publish_search(dataset)


@shared_task
def look_everywhere() -> None:
    """Look at sites whose films have not all been compared: imported on the command line, by an earlier release, or
    when the broker was gone."""
    for site in sites_to_look_at():
        publish_look(site)


def send_uploads_again() -> None:
    """After the broker was emptied: imports that wait, and the looks at films that go on between them."""
    for upload in Upload.objects.filter(state=Upload.State.RECEIVED).order_by("created_at"):
        publish(upload)
    look_everywhere()


send_again_also(send_uploads_again)


@shared_task
def look_after_broker() -> None:
    """Find what a broker that was emptied has lost."""
    emptied_broker.look_after_broker()


@shared_task
def resume_uploads() -> None:
    """Publish imports again that the broker lost or a killed worker left, and fail those that cannot be continued."""
    silent = Upload.objects.filter(
        state__in=[Upload.State.RECEIVED, Upload.State.IMPORTING], heartbeat_at__lt=timezone.now() - SILENCE
    )
    for upload in silent:
        if upload.folder or zip_path(upload).exists() or plan_path(upload).exists():
            publish(upload)
            if upload.state == Upload.State.RECEIVED:  # one that waits is not published every minute
                Upload.objects.filter(pk=upload.pk).update(heartbeat_at=timezone.now())
        else:  # an import on the command line: there is neither zip nor plan to start again from
            fail(upload, INTERRUPTED)
    sweep()
    look_after_partial_uploads()


@shared_task
def tidy_up() -> None:
    """Remove what was kept for long enough."""
    remove_ended()
    if removed := remove_expired():
        logger.info("removed the bytes of %d files in quarantine", removed)


@shared_task
def seal_audit() -> None:
    """Continue the hash chains of the audit."""
    audit_chain.seal_all()


@shared_task
def audit_downloads() -> None:
    """Make audit events of what was counted in the hours that are over."""
    downloads.write_counts()
