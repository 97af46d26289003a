"""Which import runs next, and what one that waits is waiting for.

An installation imports a few uploads at once (`--concurrency` of the worker of imports). A person has fewer of them at
once than there are, so that whoever sends many leaves a worker for the others.
"""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from portal.intake import film_bucket, unwritable, virus_scan
from portal.intake.quotas import full_usage
from portal.models import Upload, User
from portal.people.access import visible

AT_ONCE = 3  # also in docker-compose.yml
AT_ONCE_OF_A_PERSON = 2
# An import sends a heartbeat every few seconds, or after a slow film, which takes half a minute at most.
SILENCE = timedelta(minutes=5)
SECONDS_TO_TAKE = 30


def running() -> QuerySet[Upload]:
    recent = timezone.now() - SILENCE
    return Upload.objects.filter(state=Upload.State.IMPORTING, heartbeat_at__gte=recent).order_by("created_at")


def has_to_wait(upload: Upload) -> bool:
    """Whether its author has as many imports running as one person may; `next_after` starts it later."""
    if upload.uploaded_by_id is None:
        return False
    others = running().filter(uploaded_by=upload.uploaded_by_id).exclude(pk=upload.pk)
    return others.count() >= AT_ONCE_OF_A_PERSON


def next_after(upload: Upload) -> Upload | None:
    """The upload of the same person that waits longest."""
    waiting = Upload.objects.filter(state=Upload.State.RECEIVED, uploaded_by=upload.uploaded_by_id)
    return waiting.order_by("created_at").first() if upload.uploaded_by_id else None


def waiting_for(upload: Upload, viewer: User) -> str:
    """What an upload that is not being imported yet waits for, as the viewer may know it."""
    if (usage := full_usage(upload.dataset.site)) is not None:
        return (
            f"Waiting for space: {upload.dataset.site.name} has {usage.words}. What was sent is kept; the import "
            "begins, or goes on, within minutes once there is room. Delete what is not needed, or ask for "
            "a larger quota"
        )
    if upload.message in (virus_scan.AWAY, film_bucket.AWAY, unwritable.WAITS):
        return upload.message
    others = list(running().exclude(pk=upload.pk).select_related("dataset"))
    own = [other for other in others if other.uploaded_by_id == upload.uploaded_by_id]
    known = set(
        visible(Upload.objects.filter(pk__in=[other.pk for other in others]), viewer).values_list("pk", flat=True)
    )
    if upload.uploaded_by_id and len(own) >= AT_ONCE_OF_A_PERSON:
        whose = "your" if upload.uploaded_by_id == viewer.pk else f"{upload.uploaded_by}'s"
        return f"Waiting for one of {whose} running imports to end: {_listed(own, known)}"
    if len(others) >= AT_ONCE:
        before = Upload.objects.filter(state=Upload.State.RECEIVED, created_at__lt=upload.created_at).count()
        queue = f"; {before} more before this one" if before else ""
        return f"Waiting for one of {len(others)} running imports to end: {_listed(others, known)}{queue}"
    if upload.message:  # of the quota that it had reached
        return f"There is space at {upload.dataset.site.name} again: the import begins, or goes on, within minutes"
    if (timezone.now() - upload.created_at).total_seconds() < SECONDS_TO_TAKE:
        return "Waiting for a worker to take it"
    return (
        "Waiting for a worker to take it, which should take seconds: ask your administrator whether the worker of "
        "imports runs. It is asked again every few minutes"
    )


def _listed(imports: list[Upload], known: set[int]) -> str:
    parts = [f"{one.dataset.name}, {_progress(one)}" for one in imports if one.pk in known]
    elsewhere = len(imports) - len(parts)
    return "; ".join(parts + [f"{elsewhere} at another site"] * bool(elsewhere))


def _progress(upload: Upload) -> str:
    return f"{upload.done:,} of {upload.total:,}" if upload.total else "being unpacked"
