"""Datasets, patients and films, and which films may be copies of each other."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from portal.models.addressed import Addressed
from portal.models.people import Site


class Dataset(Addressed):
    site = models.ForeignKey(Site, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=100)
    source = models.CharField(max_length=200, blank=True)
    licence = models.CharField(max_length=200, blank=True)
    purpose = models.CharField(max_length=200, blank=True)
    ethics_approval = models.CharField(max_length=200, blank=True)  # the committee's number
    expires_on = models.DateField(null=True, blank=True)  # the last day on which something new may start with its films
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
        indexes = [models.Index(fields=["pseudonym"], name="patient_by_pseudonym")]  # for the order of the grid

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
            models.Index(fields=["dataset", "view_position", "id"], name="image_by_view"),
            models.Index("dataset", F("rows") * F("columns"), "id", name="image_by_size"),
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
