"""What people are reading blinded, were shown, and did."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Image
from portal.models.people import Site


class BlindedFilm(Addressed):
    """A film that a person reads blinded. While the row is open, nothing that the model or other people have said about
    any film of its patient is shown to the person (portal.people.blinding)."""

    class Outcome(models.TextChoices):
        READ = "read", "Read"
        HANDED_BACK = "handed back", "Handed back"

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="blinded_films")
    image = models.ForeignKey(Image, models.PROTECT, related_name="blinded_films")
    source = models.UUIDField()  # of the worklist, queue or adjudication in which the film is read
    source_words = models.CharField(max_length=200)  # "the worklist Tuesday", for sentences
    expires_at = models.DateTimeField()  # the row is open until then at the latest
    closed_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=11, choices=Outcome, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "image", "source"],
                condition=Q(closed_at__isnull=True),
                name="blinded_film_open_once",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, outcome="") | Q(closed_at__isnull=False) & ~Q(outcome=""),
                name="blinded_film_closed_with_outcome",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "expires_at"], condition=Q(closed_at__isnull=True), name="blinded_film_open")
        ]


class Exposure(models.Model):
    """Append-only. That a person was shown the label, a score or a map of a film; the first time of each day, so that
    the latest is known to the day. It decides what a reading of the film by this person may be used for. A verdict of
    another reader counts as a label."""

    class Kind(models.TextChoices):
        LABEL = "label", "Label"
        SCORE = "score", "Score"
        MAP = "map", "Map"

    NO_RUN = uuid.UUID(int=0)

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="exposures")
    image = models.ForeignKey(Image, models.PROTECT, related_name="exposures")
    kind = models.CharField(max_length=5, choices=Kind)
    run = models.UUIDField(default=NO_RUN)  # of the score or map; NO_RUN for a label
    day = models.DateField()  # in UTC
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "image", "kind", "run", "day"], name="exposure_once_a_day"),
            models.CheckConstraint(condition=Q(kind__in=["label", "score", "map"]), name="exposure_known_kind"),
        ]
        indexes = [models.Index(fields=["image", "kind"])]


class AuditEvent(Addressed):
    """Append-only, written by portal.people.audit in the same transaction as the recorded action."""

    site = models.ForeignKey(Site, models.PROTECT, null=True, related_name="audit_events")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    verb = models.CharField(max_length=40)
    target_type = models.CharField(max_length=40, blank=True)
    target_uuid = models.UUIDField(null=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [models.Index(fields=["site", "created_at"]), models.Index(fields=["target_uuid"])]

    def describe(self) -> dict[str, Any]:
        return {"verb": self.verb, "target": f"{self.target_type} {self.target_uuid}", "after": self.after}


class AuditSeal(models.Model):
    """Append-only. One audit event in the hash chain of its site, or of the installation where ``site`` is null
    (portal.people.audit_chain). Seals are numbered from 1 without gaps."""

    event = models.OneToOneField(AuditEvent, models.PROTECT, related_name="seal")
    site = models.ForeignKey(Site, models.PROTECT, null=True, related_name="+")
    number = models.PositiveBigIntegerField()
    # of the commitment to what an erasure may take out of the event, 32 hexadecimal digits; blank once it has
    key = models.CharField(max_length=32, blank=True)
    commitment = models.CharField(max_length=64)  # SHA-256
    sha256 = models.CharField(max_length=64)
    sealed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "number"], name="audit_seal_number"),
            models.UniqueConstraint(
                fields=["number"], condition=Q(site__isnull=True), name="audit_seal_number_of_installation"
            ),
        ]


class DownloadCount(models.Model):
    """How often a person was sent one kind of file about a dataset, run or the like within an hour. Kept until the hour
    is over and an audit event says it (portal.people.downloads)."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    site = models.ForeignKey(Site, models.PROTECT, null=True, related_name="+")
    what = models.CharField(max_length=40)
    target_type = models.CharField(max_length=40)
    target_uuid = models.UUIDField()
    hour = models.DateTimeField()  # its beginning
    times = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "what", "target_uuid", "hour"], name="download_count_once_an_hour"
            )
        ]
        indexes = [models.Index(fields=["hour"])]
