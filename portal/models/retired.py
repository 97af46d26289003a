"""What managers have retired."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.people import Site


class Retired(Addressed):
    """A dataset, run or worklist that was retired: lists leave it out and nothing new starts with it, while all that
    was made with it stays. The row goes when it is brought back; the audit has both acts."""

    class Kind(models.TextChoices):
        """As Django names the models."""

        DATASET = "dataset", "Dataset"
        RUN = "run", "Run"
        WORKLIST = "worklist", "Worklist"

    site = models.ForeignKey(Site, models.PROTECT, related_name="retired")
    kind = models.CharField(max_length=8, choices=Kind)
    target = models.UUIDField(unique=True)
    name = models.CharField(max_length=100)  # of the target, when it was retired
    reason = models.CharField(max_length=500)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["dataset", "run", "worklist"]), name="retired_known_kind")
        ]
        ordering = ["-created_at"]
        verbose_name_plural = "retired"

    def __str__(self) -> str:
        return self.name
