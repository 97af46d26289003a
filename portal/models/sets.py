"""Sets of films: cohorts, and splits into parts."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Dataset, Image, Patient
from portal.models.people import Site


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
    origin = models.CharField(
        max_length=5,
        choices=[("drawn", "Drawn"), ("csv", "From the CSV"), ("paper", "The numbers of the paper on PadChest")],
    )
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
