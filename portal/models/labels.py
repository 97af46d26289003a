"""Labels as events, what a site calls normal, and the settling of disagreements."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.models.addressed import Addressed
from portal.models.films import Dataset, Image
from portal.models.people import Site


class LabelValue(models.TextChoices):
    NORMAL = "normal", "Normal"
    ABNORMAL = "abnormal", "Abnormal"
    UNSURE = "unsure", "Unsure"
    EXCLUDE = "exclude", "Exclude"


class LabelSource(models.TextChoices):
    IMPORT = "import", "Import"
    READER = "reader", "Reader"
    CONSENSUS = "consensus", "Consensus"  # on which all readers of a double reading agreed
    ADJUDICATION = "adjudication", "Adjudication"


class LabelOrigin(models.TextChoices):
    """What an imported label of a published dataset was made from. "No finding" that software mined from a report is
    not the "normal" of somebody who read the film."""

    SOFTWARE = "software", "mined from the report by software"
    REPORT = "report", "taken from the report by a physician"
    READER = "reader", "read on the film"


class NormalAttribute(models.TextChoices):
    """What a normal film may show without being abnormal."""

    DEVICE = "device", "Device"
    POST_OPERATIVE = "post-operative", "Post-operative"
    VARIANT = "variant", "Variant"
    OLD_FRACTURE = "old fracture", "Old fracture"
    POOR_INSPIRATION = "poor inspiration", "Poor inspiration"


class NormalCriteria(Addressed):
    """Append-only. What a site calls a normal film, in words; label events name the version that they were given
    under."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="normal_criteria")
    version = models.PositiveIntegerField()
    text = models.TextField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "version"], name="normal_criteria_version_once_a_site"),
            models.CheckConstraint(condition=Q(version__gte=1), name="normal_criteria_version_from_one"),
        ]
        ordering = ["-version"]
        verbose_name_plural = "normal criteria"

    def __str__(self) -> str:
        return f"v{self.version}"


class LabelEvent(Addressed):
    """Append-only. The current label is derived from the events (portal.labels.events.resolve)."""

    # `portal.labels.events.append` dates an event after those of its film, whatever the clock says
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    image = models.ForeignKey(Image, models.PROTECT, related_name="label_events")
    value = models.CharField(max_length=8, choices=LabelValue, blank=True)  # blank: the event only reverts another
    findings = models.JSONField(default=list)
    attributes = models.JSONField(default=list)  # of NormalAttribute; empty unless the value is normal
    boxes = models.JSONField(default=list)  # [{"x", "y", "width", "height", "finding"}] in original pixels
    origin = models.CharField(max_length=8, choices=LabelOrigin, blank=True)  # of an import; blank: not stated
    # The code of a reader of a published dataset, several of whom may have read a film: each has an event of their own.
    reader = models.CharField(max_length=20, blank=True)
    # In force when a reader or an adjudicator gave the label; null for imports, and for sites without written criteria.
    criteria = models.ForeignKey(NormalCriteria, models.PROTECT, null=True, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="label_events")
    source = models.CharField(max_length=12, choices=LabelSource)
    reason = models.CharField(max_length=500, blank=True)
    batch = models.UUIDField(default=uuid.uuid4, db_index=True)  # of an act, whose events are undone together
    reverts = models.OneToOneField("self", models.PROTECT, null=True, related_name="reverted_by")
    # Recorded because a queue ordered by a model's scores reveals something about the scores.
    queue = models.ForeignKey("ScreeningQueue", models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(value__in=LabelValue.values, reverts__isnull=True) | Q(value="", reverts__isnull=False),
                name="label_event_states_or_reverts",
            ),
            models.CheckConstraint(condition=Q(source__in=LabelSource.values), name="label_event_known_source"),
            models.CheckConstraint(
                condition=Q(source=LabelSource.IMPORT) | Q(author__isnull=False), name="label_event_has_author"
            ),
            models.CheckConstraint(
                condition=Q(source=LabelSource.IMPORT) | Q(origin="", reader=""), name="label_event_origin_of_import"
            ),
            models.CheckConstraint(condition=Q(origin__in=["", *LabelOrigin.values]), name="label_event_known_origin"),
        ]
        indexes = [models.Index(fields=["image", "created_at"])]


class CurrentLabel(models.Model):
    """The current label of a film, derived from its events in the transaction that appends one, so that
    100,000 films can be filtered. A label at a cut-off is always derived from the events."""

    UNRESOLVED = "unresolved"
    VALUES = [*LabelValue.values, UNRESOLVED]

    image = models.OneToOneField(Image, models.CASCADE, related_name="current_label", primary_key=True)
    dataset = models.ForeignKey(
        Dataset, models.CASCADE, related_name="+", db_index=False
    )  # the film's dataset, for counting
    value = models.CharField(max_length=10)
    findings = models.JSONField(default=list)
    finding_words = models.TextField(blank=True)  # "|effusion|nodule|", which every database filters in the same way
    attributes = models.JSONField(default=list)
    attribute_words = models.TextField(blank=True, default="")  # as finding_words
    criteria = models.ForeignKey(NormalCriteria, models.PROTECT, null=True, related_name="+")
    source = models.CharField(max_length=12, choices=LabelSource, blank=True)
    origin = models.CharField(max_length=8, choices=LabelOrigin, blank=True, default="")
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["value"]),
            models.Index(fields=["dataset", "value"], name="current_label_counts"),
            models.Index(
                fields=["dataset", "finding_words"], name="current_label_findings", condition=~Q(finding_words="")
            ),
            models.Index(
                fields=["dataset", "attribute_words"],
                name="current_label_attributes",
                condition=~Q(attribute_words=""),
            ),
            models.Index(fields=["dataset", "origin"], name="current_label_origins", condition=~Q(origin="")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(value__in=["normal", "abnormal", "unsure", "exclude", "unresolved"]),
                name="current_label_known_value",
            )
        ]

    @property
    def details(self) -> list[str]:
        """Findings and attributes, to be shown beside the value, and that software mined it from a report."""
        mined = ["mined from the report"] if self.origin == LabelOrigin.SOFTWARE else []
        return [*self.findings, *self.attributes, *mined]


class AdjudicatorVerdict(Addressed):
    """Append-only. An adjudicator's own verdict on a film of a double reading, or without a `queue` on a film that was
    proposed from a worklist, given before they were shown the readings to be settled. `model_shown` and `label_shown`
    follow from their exposures to the film until then."""

    queue = models.ForeignKey("ScreeningQueue", models.PROTECT, null=True, related_name="adjudicator_verdicts")
    image = models.ForeignKey(Image, models.PROTECT, related_name="adjudicator_verdicts")
    adjudicator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    value = models.CharField(max_length=8, choices=LabelValue)
    findings = models.JSONField(default=list)
    attributes = models.JSONField(default=list)
    comment = models.CharField(max_length=500, blank=True)
    model_shown = models.BooleanField()
    label_shown = models.BooleanField()  # within the washout

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["queue", "image", "adjudicator"], name="adjudicator_verdict_once"),
            models.UniqueConstraint(
                fields=["image", "adjudicator"],
                condition=Q(queue__isnull=True),
                name="adjudicator_verdict_proposed_once",
            ),
            models.CheckConstraint(condition=Q(value__in=LabelValue.values), name="adjudicator_verdict_known_value"),
        ]


class Adjudication(Addressed):
    """Append-only. Settles differing labels, the differing readings of a double reading, or readings that were proposed
    from a worklist, by a single label event. Without an `own_verdict` the adjudicator decided with the labels in
    view."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="adjudications")
    settles = models.JSONField(default=list)  # UUIDs of the settled label events
    settles_readings = models.JSONField(default=list)  # UUIDs of the settled readings
    adjudicator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=LabelValue)
    reason = models.CharField(max_length=500)
    label_event = models.OneToOneField(LabelEvent, models.PROTECT, related_name="adjudication")
    own_verdict = models.OneToOneField(AdjudicatorVerdict, models.PROTECT, null=True, related_name="adjudication")
    changed_own_verdict = models.BooleanField(null=True)  # whether the verdict differs from it in value
