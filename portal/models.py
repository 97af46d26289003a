"""The portal's data: people, films, labels, cohorts, splits, queues, uploads and the audit.

Integer keys are internal; URLs use `uuid`. Triggers of the database (portal.triggers) refuse UPDATE and DELETE on the
tables that must not change.
"""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q


class Addressed(models.Model):
    """A row with a UUID for its URL and the time of its creation."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class User(AbstractUser):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    theme = models.CharField(max_length=5, choices=[("light", "Light"), ("dark", "Dark")], default="light")
    label_keys = models.JSONField(
        default=dict, blank=True
    )  # command -> key, where not the default (portal.labels.keys)


class Site(Addressed):
    """A hospital or group. Every row belongs to a single site, and nothing is shared between sites."""

    name = models.CharField(max_length=100, unique=True)
    findings = models.JSONField(default=list, blank=True)  # the findings to choose from; an empty list allows any
    # The test part of a split stays sealed until an analysis plan is locked, and until a second person has approved it.
    plan_before_test = models.BooleanField(default=False)
    second_person_for_test = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    CURATOR = "curator", "Curator"
    READER = "reader", "Reader"
    ADJUDICATOR = "adjudicator", "Adjudicator"
    ANALYST = "analyst", "Analyst"
    MANAGER = "manager", "Manager"
    BROKER = "broker", "Honest broker"  # the only role that may turn a pseudonym back into a patient


class Membership(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site", "role"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} at {self.site}"


class Dataset(Addressed):
    site = models.ForeignKey(Site, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=100)
    source = models.CharField(max_length=200, blank=True)
    licence = models.CharField(max_length=200, blank=True)
    purpose = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="dataset_name_once_a_site")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Patient(Addressed):
    """A person by pseudonym, HMAC(site key, normalised identifier), which is the same in all datasets of a site."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="patients")
    pseudonym = models.CharField(max_length=64)
    sex = models.CharField(max_length=1, blank=True)
    age_band = models.CharField(max_length=8, blank=True)  # "40-49", from the first film imported
    # A film without a patient identifier counts as its own patient; intervals and reports give the number of these.
    identified = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "pseudonym"], name="patient_once_a_site")]

    def __str__(self) -> str:
        return self.pseudonym[:8]


class Study(Addressed):
    patient = models.ForeignKey(Patient, models.PROTECT, related_name="studies")
    pseudonym = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["patient", "pseudonym"], name="study_once_a_patient")]
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return self.pseudonym[:8]


class Image(Addressed):
    """A film: the hash of its pixels, the facts needed to show them, and the allowed header values. Write-once; facts
    and header values change only where a person takes those of a later file (HeaderDifference)."""

    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="images")
    patient = models.ForeignKey(Patient, models.PROTECT, related_name="images")
    study = models.ForeignKey(Study, models.PROTECT, related_name="images", null=True)
    # Shifted by a secret number of days, the same for all films of the patient: only differences mean anything.
    acquired_day = models.DateField(null=True)  # null: not known
    source_sha256 = models.CharField(max_length=64)  # of the file as received
    pixel_sha256 = models.CharField(max_length=64)  # of the decoded pixels; also the name of the pixel file
    rows = models.PositiveIntegerField()
    columns = models.PositiveIntegerField()
    facts = models.JSONField()  # portal.imaging.film.PixelFacts
    header = models.JSONField(default=dict)  # the values that de-identification allows
    view_position = models.CharField(max_length=8, blank=True)
    laterality = models.CharField(max_length=2, blank=True)
    warning = models.CharField(max_length=1000, blank=True)
    # No contrast, or none under the header's window (portal.imaging.visibility). None: imported before this was asked.
    shows_nothing = models.BooleanField(null=True)
    original_name = models.CharField(max_length=255, blank=True)  # kept for CSV imports only
    csv_split = models.CharField(max_length=20, blank=True)
    extra = models.JSONField(default=dict)  # further columns of the CSV

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "pixel_sha256"], name="image_pixels_once_a_dataset"),
        ]
        indexes = [
            models.Index(fields=["dataset", "view_position"]),
            models.Index(fields=["dataset", "source_sha256"]),
            models.Index(fields=["dataset", "original_name"]),
            models.Index(fields=["pixel_sha256"], name="image_copies"),
            models.Index(fields=["dataset", "id"], name="image_of_dataset"),  # for paging through the grid
            models.Index(fields=["dataset"], name="image_shows_nothing", condition=Q(shows_nothing=True)),
        ]

    def __str__(self) -> str:
        return self.original_name or self.neutral_name

    @property
    def neutral_name(self) -> str:
        """A name that says nothing about what is on the film."""
        return f"film {str(self.uuid)[:8]}"


class FilmFingerprint(models.Model):
    """What near copies of a film are looked for by. Not part of the film: it is computed from the film's preview, and
    again where another release computes it otherwise."""

    image = models.OneToOneField(Image, models.CASCADE, related_name="fingerprint", primary_key=True)
    bits = models.BinaryField(max_length=32)  # portal.imaging.near_copies.fingerprint; empty: no preview could be made
    compared = models.BooleanField(default=False)  # with all films of the site that were there before

    class Meta:
        indexes = [models.Index(fields=["image"], name="fingerprint_to_compare", condition=Q(compared=False))]


class FilmPair(Addressed):
    """Two films of a site that may be the same film: exported again, resized, with another window. Films with equal
    pixels are no pair: nobody has to judge those."""

    class Verdict(models.TextChoices):
        SAME = "same", "The same film"
        DIFFERENT = "different", "Different films"

    site = models.ForeignKey(Site, models.PROTECT, related_name="film_pairs")
    first = models.ForeignKey(Image, models.PROTECT, related_name="+")  # imported before the second
    second = models.ForeignKey(Image, models.PROTECT, related_name="+")
    correlation = models.FloatField()  # portal.imaging.near_copies.correlation
    verdict = models.CharField(max_length=9, choices=Verdict, blank=True)  # blank: not judged yet
    judged_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    judged_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="film_pair_once"),
            models.CheckConstraint(condition=Q(first__lt=models.F("second")), name="film_pair_in_order"),
            models.CheckConstraint(
                condition=Q(verdict="", judged_by__isnull=True, judged_at__isnull=True)
                | Q(verdict__in=["same", "different"], judged_by__isnull=False, judged_at__isnull=False),
                name="film_pair_judged_by_somebody",
            ),
        ]
        indexes = [models.Index(fields=["site", "verdict"], name="film_pair_to_judge")]

    def __str__(self) -> str:
        return f"{self.first} and {self.second}"


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

    image = models.ForeignKey(Image, models.PROTECT, related_name="label_events")
    value = models.CharField(max_length=8, choices=LabelValue, blank=True)  # blank: the event only reverts another
    findings = models.JSONField(default=list)
    attributes = models.JSONField(default=list)  # of NormalAttribute; empty unless the value is normal
    boxes = models.JSONField(default=list)  # [{"x", "y", "width", "height", "finding"}] in original pixels
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
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(value__in=["normal", "abnormal", "unsure", "exclude", "unresolved"]),
                name="current_label_known_value",
            )
        ]

    @property
    def details(self) -> list[str]:
        """Findings and attributes, to be shown beside the value."""
        return [*self.findings, *self.attributes]


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


class Cohort(Addressed):
    """Films frozen under a name and a version, such as "normals v3". Never changes; the next version may differ."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="cohorts")
    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    note = models.CharField(max_length=500, blank=True)
    filters = models.JSONField(default=dict)  # the filters that selected the films, as stated when they were frozen
    counts = models.JSONField(default=dict)  # films by label when frozen, so that lists need not count them
    films = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "name", "version"], name="cohort_version_once_a_name"),
            models.CheckConstraint(condition=Q(version__gte=1), name="cohort_version_from_one"),
        ]
        ordering = ["name", "-version"]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class CohortImage(models.Model):
    cohort = models.ForeignKey(Cohort, models.PROTECT, related_name="members")
    image = models.ForeignKey(Image, models.PROTECT, related_name="cohort_images")
    label = models.CharField(max_length=10, blank=True)  # when the cohort was frozen; blank: unlabelled

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cohort", "image"], name="cohort_image_once")]


class Part(models.TextChoices):
    ALIGN = "align", "Align"
    FIT = "fit", "Fit"
    TUNE = "tune", "Tune"
    CALIBRATE = "calibrate", "Calibrate"
    TEST = "test", "Test"


class Split(Addressed):
    """Patients assigned to parts at a label cut-off. A frozen split never changes."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="splits")
    name = models.CharField(max_length=100)
    datasets = models.ManyToManyField(Dataset, related_name="splits")
    cohorts = models.ManyToManyField(Cohort, related_name="splits")  # none: all films of the datasets
    origin = models.CharField(max_length=5, choices=[("drawn", "Drawn"), ("csv", "From the CSV")])
    seed = models.PositiveIntegerField()
    fractions = models.JSONField(default=dict)
    label_cutoff = models.DateTimeField()
    frozen_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)  # films by part and label at the cut-off, and left-out films by reason
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="split_name_once_a_site")]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class SplitMember(models.Model):
    """The part of a patient. The constraint of one row per patient makes leakage between parts impossible."""

    split = models.ForeignKey(Split, models.CASCADE, related_name="members")
    patient = models.ForeignKey(Patient, models.PROTECT, related_name="+")
    part = models.CharField(max_length=9, choices=Part)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["split", "patient"], name="split_patient_in_one_part"),
            models.CheckConstraint(condition=Q(part__in=Part.values), name="split_member_known_part"),
        ]


class SplitImage(models.Model):
    """A film that counts in the split. Its part is that of its patient: triggers of the database accept a film only
    under its own patient, and with its own pixels (portal.triggers.same_patient, same_film)."""

    member = models.ForeignKey(SplitMember, models.CASCADE, related_name="images")
    image = models.ForeignKey(Image, models.PROTECT, related_name="split_images")
    # Of member and film, for the constraint that copies of a film are in a split once. Null in splits that were frozen
    # before there was this constraint.
    split = models.ForeignKey(Split, models.CASCADE, null=True, related_name="+", db_index=False)
    pixel_sha256 = models.CharField(max_length=64, null=True)  # noqa: DJ001 (blank would not be unique)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member", "image"], name="split_image_once"),
            models.UniqueConstraint(
                fields=["split", "pixel_sha256"],
                condition=Q(pixel_sha256__isnull=False),
                name="split_pixels_once",
            ),
        ]

    @classmethod
    def under(cls, member: SplitMember, image: Image) -> "SplitImage":
        """A new row, not saved."""
        return cls(member=member, image=image, split_id=member.split_id, pixel_sha256=image.pixel_sha256)


class TrainingFilm(models.Model):
    """Append-only. A film whose verdict trained the semi-supervised model `source`: it never enters an evaluation, and
    later splits leave its patient out of test (portal.sets.training_films)."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="trained_models")
    source = models.UUIDField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "source"], name="training_film_once_a_model")]


class ScreeningQueue(Addressed):
    """Films in a fixed order for screening. Never changes; each person has a place in it."""

    class Order(models.TextChoices):
        IMPORTED = "imported", "As imported"
        UNLABELLED = "unlabelled", "Unlabelled first"
        RANDOM = "random", "Random"
        SCORE = "score", "Least normal first"

    site = models.ForeignKey(Site, models.PROTECT, related_name="queues")
    name = models.CharField(max_length=100)
    source = models.CharField(max_length=300)  # description of where the films come from
    order = models.CharField(max_length=10, choices=Order)
    seed = models.PositiveIntegerField(null=True)
    split = models.ForeignKey(
        Split, models.PROTECT, null=True, related_name="+"
    )  # for an order by score, whose films are in its fit part
    films = models.PositiveIntegerField()
    blinded = models.BooleanField(default=False)  # each of its `readers` reads every film, blinded to the others
    days_to_read = models.PositiveSmallIntegerField(default=28)  # of a blinded queue, from beginning to expiry
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(order__in=["imported", "unlabelled", "random", "score"]), name="queue_known_order"
            ),
            models.CheckConstraint(
                condition=~Q(order="score") | Q(split__isnull=False), name="queue_by_score_has_split"
            ),
            models.CheckConstraint(condition=~Q(order="random") | Q(seed__isnull=False), name="queue_random_has_seed"),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class QueueImage(models.Model):
    queue = models.ForeignKey(ScreeningQueue, models.PROTECT, related_name="members")
    image = models.ForeignKey(Image, models.PROTECT, related_name="queue_images")
    position = models.PositiveIntegerField()  # from 1
    outline = models.JSONField(default=list)  # [{"x", "y", "width", "height"}] in original pixels: where to look

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["queue", "position"], name="queue_position_once"),
            models.UniqueConstraint(fields=["queue", "image"], name="queue_image_once"),
        ]


class QueuePlace(models.Model):
    """The position where a person stopped in a queue."""

    queue = models.ForeignKey(ScreeningQueue, models.CASCADE, related_name="places")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    position = models.PositiveIntegerField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "user"], name="queue_place_once_a_person")]


class QueueReader(models.Model):
    """A person who reads the films of a blinded queue. They read it until `expires_at`, or until they hand it back;
    beginning again continues it."""

    queue = models.ForeignKey(ScreeningQueue, models.PROTECT, related_name="readers")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    expires_at = models.DateTimeField(null=True)  # null: not begun
    handed_back_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "user"], name="queue_reader_once")]


class QueueReading(Addressed):
    """Append-only. What a reader of a blinded queue said about a film. It is no label: nobody sees it on the pages of
    films, and it counts nowhere, until the double reading is closed (portal.sets.consensus). A reader's later reading
    replaces their earlier one, and a reverted one does not count."""

    queue = models.ForeignKey(ScreeningQueue, models.PROTECT, related_name="readings")
    image = models.ForeignKey(Image, models.PROTECT, related_name="queue_readings")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    value = models.CharField(max_length=8, choices=LabelValue, blank=True)  # blank: it only reverts another
    findings = models.JSONField(default=list)
    attributes = models.JSONField(default=list)
    boxes = models.JSONField(default=list)
    comment = models.CharField(max_length=500, blank=True)
    criteria = models.ForeignKey(NormalCriteria, models.PROTECT, null=True, related_name="+")
    act = models.UUIDField(default=uuid.uuid4, db_index=True)  # chosen by the page, so that it can send it again
    reverts = models.OneToOneField("self", models.PROTECT, null=True, related_name="reverted_by")
    # From what the reader had been shown of the film when they read it.
    model_shown = models.BooleanField(default=False)
    label_shown = models.BooleanField(default=False)  # within the washout

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(value__in=LabelValue.values, reverts__isnull=True) | Q(value="", reverts__isnull=False),
                name="queue_reading_states_or_reverts",
            ),
            models.UniqueConstraint(fields=["act", "image"], name="queue_reading_once_an_act"),
        ]
        indexes = [models.Index(fields=["queue", "reader"], name="queue_reading_of_reader")]


class DoubleReading(models.Model):
    """What may still change of a blinded queue: who adjudicates, and whether reading is closed."""

    queue = models.OneToOneField(ScreeningQueue, models.PROTECT, related_name="double_reading")
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    adjudicator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    expires_at = models.DateTimeField(null=True)  # of the adjudicator; null: not begun
    handed_back_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closed_by__isnull=True)
                | Q(closed_at__isnull=False, closed_by__isnull=False),
                name="double_reading_closed_by_somebody",
            )
        ]


class Consensus(Addressed):
    """Append-only. The label event that a double reading ended with on a film, and the readings behind it: all agree,
    or an adjudication settled them (`label_event.adjudication`)."""

    queue = models.ForeignKey(ScreeningQueue, models.PROTECT, related_name="consensus")
    image = models.ForeignKey(Image, models.PROTECT, related_name="+")
    label_event = models.OneToOneField(LabelEvent, models.PROTECT, related_name="consensus")
    readings = models.ManyToManyField(QueueReading, related_name="consensus")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "image"], name="consensus_once_a_film")]
        verbose_name_plural = "consensus"

    def reader_names(self) -> list[str]:
        return list(self.readings.order_by("reader__username").values_list("reader__username", flat=True))


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
    message = models.TextField(blank=True)
    heartbeat_at = models.DateTimeField(null=True)  # an import without a recent heartbeat is started again
    finished_at = models.DateTimeField(null=True)
    patients = models.CharField(max_length=6, choices=Patients, default=Patients.TABLE)
    check_columns = models.BooleanField(default=False)  # ask what the columns mean, even where their names say it
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
    upload = models.OneToOneField(Upload, models.CASCADE, null=True, related_name="partial_upload")  # once complete

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(bytes_total__gt=0), name="partial_upload_has_bytes")]
        ordering = ["created_at"]


class QuarantinedFile(Addressed):
    """A file that could not become a film, with the reason in a sentence for the curator."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="quarantined")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="quarantined")
    source_sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=255, blank=True)  # kept for CSV imports only
    reason = models.CharField(max_length=20)
    sentence = models.TextField()

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
