"""Screening queues, and double reading in them."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Image
from portal.models.labels import LabelEvent, LabelValue, NormalCriteria
from portal.models.people import Site
from portal.models.sets import Split


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
