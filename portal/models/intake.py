"""Uploads, what waits for an answer, quarantine, and headers that came again."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Dataset, Image
from portal.models.people import Site


class ColumnMapping(Addressed):
    """What a person at the site said that the columns of a table mean, and the values of its label column. The newest
    of a set of column names counts. Names and values are kept as keyed hashes only (portal.intake.remembered_mappings),
    since they may be those of people. Append-only."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="column_mappings")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    shape = models.CharField(max_length=32)  # of the set of column names
    meaning = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["site", "shape"], name="column_mapping_of_shape")]
        ordering = ["pk"]


class Upload(Addressed):
    """An import: a zip from the browser or a folder on the command line."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        MAPPING = "mapping", "Needs a mapping"  # waits for a person to say what the columns of a table mean
        IMPORTING = "importing", "Importing"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        DISCARDED = "discarded", "Discarded"

    class Patients(models.TextChoices):
        """What counts where table and header name two patients."""

        TABLE = "table", "The table"
        HEADER = "header", "The header of the film"

    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="uploads")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=9, choices=State, default=State.RECEIVED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict)
    # What became of header elements and columns, by name and count (portal.intake.deidentified_batch).
    deidentification = models.JSONField(default=dict)
    message = models.TextField(blank=True)
    heartbeat_at = models.DateTimeField(null=True)  # an import without a recent heartbeat is started again
    finished_at = models.DateTimeField(null=True)
    patients = models.CharField(max_length=6, choices=Patients, default=Patients.TABLE)
    check_columns = models.BooleanField(default=False)  # ask what the columns mean, even where their names say it
    # Of a published dataset (portal.intake.sources): which, what to leave out, and its folder on the server if it was
    # not sent as a zip.
    source = models.CharField(max_length=20, blank=True)
    options = models.JSONField(default=dict)
    folder = models.CharField(max_length=255, blank=True)
    mappings = models.ManyToManyField(ColumnMapping, related_name="uploads")  # that a person chose for its tables

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["received", "mapping", "importing", "done", "failed", "discarded"]),
                name="upload_known_state",
            )
        ]
        ordering = ["-created_at"]

    @property
    def brought_another_header(self) -> bool:
        return bool(self.counts.get("another header"))  # portal.intake.import_report


class PartialUpload(Addressed):
    """A file of which a part has been sent (portal.intake.resumable); how much is the size of its file on the disk. The
    names of what is sent are not kept, since they may name people."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="partial_uploads")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    bytes_total = models.BigIntegerField()
    ending = models.CharField(max_length=5)  # .zip, .csv, .tsv or .xlsx
    files = models.PositiveIntegerField(null=True)  # how many files the browser packs into the zip; None: it is a zip
    is_folder = models.BooleanField(default=False)
    fingerprint = models.CharField(max_length=64, blank=True)  # by which the browser recognises what was sent
    patients = models.CharField(max_length=6, choices=Upload.Patients, default=Upload.Patients.TABLE)
    check_columns = models.BooleanField(default=False)
    source = models.CharField(max_length=20, blank=True)  # of Upload, as its options
    options = models.JSONField(default=dict)
    upload = models.OneToOneField(Upload, models.CASCADE, null=True, related_name="partial_upload")  # once complete

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(bytes_total__gt=0), name="partial_upload_has_bytes")]
        ordering = ["created_at"]


class QuarantinedFile(Addressed):
    """A file that could not become a film, with the reason in a sentence for the curator. Its bytes are kept for a
    while, so that it can be looked at and tried again (portal.intake.quarantine)."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="quarantined")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="quarantined")
    source_sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=255, blank=True)  # kept for CSV imports only
    reason = models.CharField(max_length=20)
    sentence = models.TextField()
    kept_at = models.DateTimeField(null=True)  # when its bytes were stored; null: they are not there
    bytes_kept = models.PositiveBigIntegerField(default=0)
    has_preview = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "source_sha256"], name="quarantined_file_once_a_dataset")
        ]
        ordering = ["created_at"]


class HeaderDifference(Addressed):
    """A fact of a film that a later file with the same pixels states otherwise (portal.intake.header_differences). It
    waits until a person takes or dismisses it, and never changes after that; `old` is then what the film had before.
    While a row is `taking`, within a transaction, the database lets the film's facts change."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        TAKING = "taking", "Taking"
        TAKEN = "taken", "Taken"
        DISMISSED = "dismissed", "Dismissed"

    image = models.ForeignKey(Image, models.PROTECT, related_name="header_differences")
    upload = models.ForeignKey(Upload, models.PROTECT, related_name="header_differences")  # the latest that brought it
    source_sha256 = models.CharField(max_length=64)  # of the later file
    fact = models.CharField(max_length=30)  # portal.intake.header_differences.Fact
    old = models.JSONField()
    new = models.JSONField()
    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image", "fact"], condition=Q(state="pending"), name="header_difference_pending_once"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True)
                | Q(state__in=["taking", "taken", "dismissed"], decided_at__isnull=False),
                name="header_difference_decided_at",
            ),
        ]
        indexes = [
            models.Index(fields=["fact"], condition=Q(state="pending"), name="header_difference_pending"),
            models.Index(fields=["decided_at"], condition=Q(state="taken"), name="header_difference_taken"),
        ]
