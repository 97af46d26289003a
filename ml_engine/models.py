"""Runs, models and scores. The Run row is the only record of progress; Celery only delivers messages."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ml_engine.engine.reports import AlignmentReport, DetectorReport
from ml_engine.engine.run_kinds import KINDS, RunKindFacts
from ml_engine.engine.run_kinds import STUDIES as STUDIES
from ml_engine.engine.run_kinds import RunKind as RunKind
from portal.models import Addressed, Dataset, Erasure, Image, Site, Split

KIND_CHOICES = [(kind.value, KINDS[kind].words) for kind in RunKind]


class RunState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Run(Addressed):
    """A request, then a folder and a process (ml_engine.runs.supervisor), then results.

    queued -> running -> done | failed | cancelled; queued -> cancelled. A lapsed lease queues a running run again,
    for another attempt; after the third lost attempt it fails. A queued run also fails if its predecessor (`after`)
    ended without a result. A person can retry, that is queue again, a failed or cancelled run.
    """

    site = models.ForeignKey(Site, models.PROTECT, related_name="runs")
    name = models.CharField(max_length=100)
    note = models.TextField(blank=True)
    tags = models.JSONField(default=list, blank=True)
    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    clone_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="clones")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    # What is requested
    split = models.ForeignKey(Split, models.PROTECT, null=True, blank=True, related_name="runs")
    datasets = models.ManyToManyField(Dataset, blank=True, related_name="runs")  # score whole datasets instead of parts
    parts = models.JSONField(default=list, blank=True)  # of the split, for a scoring run
    alignment = models.ForeignKey("AlignmentModel", models.PROTECT, null=True, blank=True, related_name="used_by")
    detector = models.ForeignKey("DetectorModel", models.PROTECT, null=True, blank=True, related_name="used_by")
    # A scoring run whose memory bank is grown by these films, on the films of an earlier run.
    grown_with = models.ManyToManyField(Image, blank=True, related_name="+")
    rescores = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="rescored_by")
    # A semi-supervised head is fitted on films that this run scored, and scores beside the detector in another run.
    scored = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="heads_requested")
    head = models.ForeignKey("HeadModel", models.PROTECT, null=True, blank=True, related_name="used_by")
    # A run may need the model of a run that is not done yet: it then waits for that run.
    after = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="followers")
    config = models.JSONField(default=dict)
    asked = models.JSONField(default=dict, blank=True)  # of a study, besides the config: its figures, axes, sizes …
    seed = models.PositiveIntegerField(default=0)
    random_weights = models.BooleanField(default=False)  # not for evaluation: marked on every page, plot and export

    # State and progress
    state = models.CharField(max_length=9, choices=RunState, default=RunState.QUEUED)
    stage = models.CharField(max_length=40, blank=True)
    stage_index = models.PositiveSmallIntegerField(default=0)
    stage_count = models.PositiveSmallIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    seconds_left = models.FloatField(null=True)  # of the stage
    run_seconds_left = models.FloatField(null=True)  # of the whole run; null where nobody knows
    memory_mib = models.FloatField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)  # only increases: the run folder refuses an earlier attempt
    losses = models.PositiveSmallIntegerField(default=0)  # attempts that were killed or lost since the last retry
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(default=timezone.now)  # since when a worker may take it: the order of the queue
    published_at = models.DateTimeField(null=True)
    cancel_requested = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    versions = models.JSONField(default=dict)
    device = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)  # for the user
    detail = models.TextField(blank=True)  # for staff
    unreadable = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["site", "-created_at"]), models.Index(fields=["state", "lease_until"])]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=[kind.value for kind in RunKind]), name="run_known_kind"),
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_known_state"),
            models.CheckConstraint(
                condition=Q(kind="score") | Q(split__isnull=False),
                name="run_fit_has_split",
            ),
            models.CheckConstraint(
                condition=~Q(kind="score") | Q(detector__isnull=False) | Q(after__isnull=False),
                name="run_score_has_detector",
            ),
            models.CheckConstraint(
                condition=Q(rescores__isnull=True) | Q(kind="score", detector__isnull=False),
                name="run_rescore_is_score",
            ),
            models.CheckConstraint(
                condition=~Q(kind="fit_head") | Q(detector__isnull=False, scored__isnull=False),
                name="run_head_has_scored_run",
            ),
            models.CheckConstraint(
                condition=Q(head__isnull=True) | Q(kind="score", detector__isnull=False),
                name="run_head_scores_with_detector",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_owner__gt="", lease_until__isnull=False),
                name="run_running_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def facts(self) -> RunKindFacts:
        """The facts shared by all runs of this kind."""
        return KINDS[RunKind(self.kind)]

    @property
    def stage_number(self) -> int:
        """The stage that runs, from 1."""
        return self.stage_index + 1

    @property
    def has_ended(self) -> bool:
        return self.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class AlignmentModel(Addressed):
    """Write-once."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="alignments")
    run = models.OneToOneField(Run, models.PROTECT, related_name="alignment_made")
    split = models.ForeignKey(Split, models.PROTECT, related_name="alignments")
    sha256 = models.CharField(max_length=64)  # of alignment.safetensors; also the name of the kept file
    config = models.JSONField()
    report = models.JSONField(default=dict)
    random_weights = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.run.name

    @property
    def fit_report(self) -> AlignmentReport:
        """`report`, validated. Raises IncompleteJson."""
        return AlignmentReport.from_json(self.report)


class DetectorModel(Addressed):
    """Write-once."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="detectors")
    run = models.OneToOneField(Run, models.PROTECT, related_name="detector_made")
    split = models.ForeignKey(Split, models.PROTECT, related_name="detectors")
    alignment = models.ForeignKey(AlignmentModel, models.PROTECT, null=True, related_name="detectors")
    sha256 = models.CharField(max_length=64)
    config = models.JSONField()
    summary = models.JSONField(default=dict)
    fusion_weight = models.FloatField()
    random_weights = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(fusion_weight__gte=0, fusion_weight__lte=1), name="detector_fusion_weight_in_range"
            )
        ]

    def __str__(self) -> str:
        return self.run.name

    @property
    def fit_report(self) -> DetectorReport:
        """`summary`, validated. Raises IncompleteJson."""
        return DetectorReport.from_json(self.summary)


class ReadSource(models.TextChoices):
    BLINDED = "blinded", "Read in a worklist, without the model"
    ASSISTED = "assisted", "Read in a worklist, with the model at hand"
    LABEL = "label", "Labelled by curators"
    UNREAD = "unread", "Not read: for the control of the population"


class HeadRead(models.Model):
    """Append-only. A film of the pool of a semi-supervised head, as it was when the run was requested.

    `verdict` is normal or abnormal, blank where nobody read the film. `weight` is the inverse of the probability with
    which the film was drawn for reading. A verdict with `model_shown` trains, and is never a reference."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="reads")
    image = models.ForeignKey(Image, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, blank=True)
    source = models.CharField(max_length=8, choices=ReadSource)
    weight = models.FloatField(default=1.0)
    model_shown = models.BooleanField(default=False)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "image"], name="head_read_once_a_run"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="head_read_weight"),
            models.CheckConstraint(
                condition=Q(source="unread", verdict="") | ~Q(source="unread") & Q(verdict__in=["normal", "abnormal"]),
                name="head_read_has_verdict",
            ),
        ]


class HeadModel(Addressed):
    """Write-once. A semi-supervised head, fitted beside `detector`. `summary` is fit_head.json; `tune` holds, by the
    UUID of a labelled film of tune, its (one-class z, head's z, combined) by heads without reads of its patient."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="heads")
    run = models.OneToOneField(Run, models.PROTECT, related_name="head_made")
    split = models.ForeignKey(Split, models.PROTECT, related_name="heads")
    detector = models.ForeignKey(DetectorModel, models.PROTECT, related_name="heads")
    sha256 = models.CharField(max_length=64)  # of head.safetensors; also the name of the kept file
    summary = models.JSONField(default=dict)
    tune = models.JSONField(default=dict)
    random_weights = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.run.name


class Score(models.Model):
    """A film's scores in a run: `global_score` at fusion weight 0, `region_score` at 1, `fused_score` at the run's.

    `mean_z` and `top_z`, at the run's weight: the mean of all patches and of the highest 1 %, standardised by the
    calibration normals. Null from engines before 0.3.0 and without calibration normals."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="scores")
    run = models.ForeignKey(Run, models.CASCADE, related_name="scores")
    part = models.CharField(max_length=9, blank=True)
    global_score = models.FloatField(null=True)
    region_score = models.FloatField(null=True)
    fused_score = models.FloatField(null=True)
    mean_z = models.FloatField(null=True)
    top_z = models.FloatField(null=True)
    percentile = models.FloatField(null=True)  # 0-100, among the calibration normals
    # Of a semi-supervised head; null without one. `head_score` is its logit, `combined_score` the sum of both z.
    one_class_z = models.FloatField(null=True)
    head_score = models.FloatField(null=True)
    head_z = models.FloatField(null=True)
    combined_score = models.FloatField(null=True)
    combined_p_value = models.FloatField(null=True)
    row = models.PositiveIntegerField()  # in maps.npy, affines.npy, sweep.npy
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "run"], name="score_once_a_run"),
            models.UniqueConstraint(fields=["run", "row"], name="score_row_once_a_run"),
            models.CheckConstraint(
                condition=Q(error="", fused_score__isnull=False) | Q(error__gt="", fused_score__isnull=True),
                name="score_or_error",
            ),
        ]


class WithdrawnModel(Addressed):
    """An alignment, detector or head that was fitted on films of an erased patient: its file is deleted, and no run may
    start from it. `fitted_again` is the run that fits it anew without these films."""

    erasure = models.ForeignKey(Erasure, models.PROTECT, related_name="withdrawn_models")
    alignment = models.ForeignKey(AlignmentModel, models.PROTECT, null=True, related_name="withdrawals")
    detector = models.ForeignKey(DetectorModel, models.PROTECT, null=True, related_name="withdrawals")
    head = models.ForeignKey(HeadModel, models.PROTECT, null=True, related_name="withdrawals")
    fitted_again = models.ForeignKey(Run, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(alignment__isnull=False, detector__isnull=True, head__isnull=True)
                | Q(alignment__isnull=True, detector__isnull=False, head__isnull=True)
                | Q(alignment__isnull=True, detector__isnull=True, head__isnull=False),
                name="withdrawn_model_is_one",
            )
        ]

    def __str__(self) -> str:
        return f"withdrawn {self.model}"

    @property
    def model(self) -> AlignmentModel | DetectorModel | HeadModel:
        model = self.alignment or self.detector or self.head
        assert model is not None  # constraint withdrawn_model_is_one
        return model
