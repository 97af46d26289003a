"""What is concluded: evaluations of scored runs, looks at test, and readings."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ml_engine.models import Run
from portal.models import Addressed, Image, Split


class Evaluation(Addressed):
    """A scored run joined with the labels of its detector's split at a cut-off. Making one is a look at test."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="evaluations")
    split = models.ForeignKey(Split, models.PROTECT, related_name="evaluations")
    label_cutoff = models.DateTimeField()
    metrics = models.JSONField()  # by part: counts, AUROC with interval of global, region, fused, the sweep
    subgroups = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "split", "label_cutoff"], name="evaluation_once_a_cutoff")
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"evaluation of {self.run} at {self.label_cutoff:%Y-%m-%d %H:%M}"


class TestLook(Addressed):
    """Append-only. Each time figures of the test part are made: an evaluation, or a weight moved on test."""

    __test__ = False  # the name is the field's word; it is not a test class

    evaluation = models.ForeignKey(Evaluation, models.PROTECT, related_name="looks")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    fusion_weight = models.FloatField()
    reason = models.CharField(max_length=200)


class Reading(Addressed):
    """Append-only. One person's verdict on one film; `model_shown` decides what it may be used for."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="readings")
    run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="readings")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="readings")
    verdict = models.CharField(max_length=10)
    confidence = models.PositiveSmallIntegerField(null=True)  # 0-100
    reason = models.CharField(max_length=40, blank=True)
    comment = models.TextField(blank=True)
    boxes = models.JSONField(default=list)
    seconds = models.FloatField()
    model_shown = models.BooleanField()
    sampling_probability = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(confidence__isnull=True) | Q(confidence__lte=100), name="reading_confidence"
            ),
            models.CheckConstraint(
                condition=Q(sampling_probability__isnull=True)
                | Q(sampling_probability__gt=0, sampling_probability__lte=1),
                name="reading_sampling_probability",
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=["agree", "disagree", "uncertain", "normal", "abnormal"]),
                name="reading_known_verdict",
            ),
        ]
