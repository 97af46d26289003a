"""Text burned into films: what the search suspects, and what people decided."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Image


class TextLook(models.Model):
    """What the search for burned-in text suspects on a film (portal.imaging.burned_in). Not part of the film: it is
    computed from its pixels, and again where these change."""

    image = models.OneToOneField(Image, models.CASCADE, related_name="text_look", primary_key=True)
    lines = models.JSONField(default=list)  # x, y, width, height, characters, in pixels of the film
    is_suspected = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["image"], name="text_look_suspected", condition=Q(is_suspected=True))]


class TextDecision(Addressed):
    """What a person decided of the text on a film with these pixels. A black-out is the only act that gives a film
    other pixels; the database lets it happen only as such a row says. The pixels before are not kept. Append-only."""

    class Verdict(models.TextChoices):
        NO_TEXT = "no text", "No text"
        BLACKED_OUT = "blacked out", "Blacked out"
        EXCLUDED = "excluded", "Excluded"

    image = models.ForeignKey(Image, models.PROTECT, related_name="text_decisions")
    verdict = models.CharField(max_length=11, choices=Verdict)
    boxes = models.JSONField(default=list)  # that were blacked out, in pixels of the film
    suspected = models.JSONField(default=list)  # what the search had suspected
    pixels_before = models.CharField(max_length=64)  # hashes
    pixels_after = models.CharField(max_length=64)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict="blacked out") & ~Q(pixels_before=models.F("pixels_after"))
                | Q(verdict__in=["no text", "excluded"], pixels_before=models.F("pixels_after")),
                name="text_decision_that_changes_pixels",
            )
        ]
        indexes = [
            models.Index(fields=["image", "pixels_after"], name="text_decision_on_pixels"),
            models.Index(fields=["pixels_before"], name="text_decision_of_pixels"),
        ]
        ordering = ["pk"]
