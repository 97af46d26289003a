"""Runs, models and scores. The Run row is the only record of progress; Celery only delivers messages."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from ml_engine.engine.reports import AlignmentReport, DetectorReport
from ml_engine.engine.run_kinds import DIVIDED, KINDS, RunKindFacts
from ml_engine.engine.run_kinds import STUDIES as STUDIES
from ml_engine.engine.run_kinds import RunKind as RunKind
from portal.models import Addressed, Cohort, Dataset, Erasure, Image, Part, Site, Split

KIND_CHOICES = [(kind.value, KINDS[kind].words) for kind in RunKind]


CHILDREN = "ranges"  # the stage of a run whose children are at work


class RunState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class RequestedRuns(models.Manager["Run"]):
    """What people requested: without the children of a run in ranges."""

    def get_queryset(self) -> models.QuerySet["Run"]:
        return super().get_queryset().filter(parent=None)


class Run(Addressed):
    """A request, then a folder and a process (ml_engine.runs.supervisor), then results.

    queued -> running -> done | failed | cancelled; queued -> cancelled. A lapsed lease queues a running run again,
    for another attempt; after the third lost attempt it fails. A queued run also fails if its predecessor (`after`)
    ended without a result. A person can retry, that is queue again, a failed or cancelled run.

    A scoring run of more than `most_a_child` films has children, each for the films `first_row` to `end_row` - 1 of
    its manifest; a study of more cells has children for its cells. It waits in the queue until all of them are done,
    and merges (`ml_engine.runs.sharding`).
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
    # What an alignment is fitted to; null for a canonical image that the fit makes by itself.
    canonical = models.ForeignKey("HandMadeCanonical", models.PROTECT, null=True, blank=True, related_name="used_by")
    # A scoring run whose memory bank is grown by these films, on the films of an earlier run.
    grown_with = models.ManyToManyField(Image, blank=True, related_name="+")
    rescores = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="rescored_by")
    # A semi-supervised head is fitted on films that this run scored, and scores beside the detector in another run.
    scored = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="heads_requested")
    head = models.ForeignKey("HeadModel", models.PROTECT, null=True, blank=True, related_name="used_by")
    # A run may need the model of a run that is not done yet: it then waits for that run. So does a child of a study for
    # a sibling whose features it takes.
    after = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="followers")
    config = models.JSONField(default=dict)
    asked = models.JSONField(default=dict, blank=True)  # of a study, besides the config: its figures, axes, sizes …
    seed = models.PositiveIntegerField(default=0)
    random_weights = models.BooleanField(default=False)  # not for evaluation: marked on every page, plot and export

    # State and progress
    most_a_child = models.PositiveIntegerField(default=0)  # films or cells; 0: the run is never divided
    first_row = models.PositiveIntegerField(null=True)  # of a child: of its films or cells
    end_row = models.PositiveIntegerField(null=True)

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
    kept = models.CharField(max_length=64, blank=True)  # names what `files` list: `runs.run_bucket.digest_of`

    objects = RequestedRuns()
    with_children = models.Manager["Run"]()  # for what brings runs to their end; pages and results see no child

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["site", "-created_at"]), models.Index(fields=["state", "lease_until"])]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=[kind.value for kind in RunKind]), name="run_known_kind"),
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_known_state"),
            models.CheckConstraint(
                condition=Q(kind__in=["score", "embedding"]) | Q(split__isnull=False),
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
                condition=Q(canonical__isnull=True) | Q(kind="fit_alignment"), name="run_canonical_fits_alignment"
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_owner__gt="", lease_until__isnull=False),
                name="run_running_has_lease",
            ),
            models.UniqueConstraint(fields=["parent", "first_row"], name="run_child_once"),
            models.CheckConstraint(
                condition=Q(parent__isnull=True, first_row__isnull=True, end_row__isnull=True)
                | Q(
                    parent__isnull=False,
                    kind__in=[kind.value for kind in DIVIDED],
                    most_a_child=0,
                    end_row__gt=F("first_row"),
                ),
                name="run_child_has_rows",
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
    def is_child(self) -> bool:
        return self.parent_id is not None

    @property
    def waits_for_children(self) -> bool:
        """Whether its ranges are being carried out, or wait for a worker."""
        return self.state == RunState.QUEUED and self.stage == CHILDREN

    @property
    def has_ended(self) -> bool:
        return self.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class RunFile(models.Model):
    """A file of a run's folder that the bucket has, where HILUM_RUNS_IN_BUCKET is set. `kept_by` is the run under whose
    name the object lies: a file that comes from another run, such as its detector, is there once."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="files")
    path = models.CharField(max_length=400)  # in the folder
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    kept_by = models.ForeignKey(Run, models.RESTRICT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="run_file_once")]
        indexes = [models.Index(fields=["kept_by", "sha256"])]

    def __str__(self) -> str:
        return self.path


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
        indexes = [models.Index(fields=["run", "-fused_score", "image"], name="score_highest_first")]  # of the grid


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


class CanonicalBoard(Addressed):
    """Films that people align by hand, one after another, to be averaged into a canonical image (paper, Figs. 4-6).

    They were drawn by `seed` from the normal frontal films of a part of a split, a cohort or a dataset. `side` is that
    of the canonical frame in pixels. With a `start`, each film is first shown as that alignment places it."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="boards")
    name = models.CharField(max_length=100)
    seed = models.PositiveIntegerField(default=0)
    side = models.PositiveSmallIntegerField(default=448)
    split = models.ForeignKey(Split, models.PROTECT, null=True, related_name="+")
    part = models.CharField(max_length=9, blank=True, choices=Part)
    cohort = models.ForeignKey(Cohort, models.PROTECT, null=True, related_name="+")
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, related_name="+")
    start = models.ForeignKey(AlignmentModel, models.PROTECT, null=True, related_name="boards")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(split__isnull=False, cohort__isnull=True, dataset__isnull=True)
                | Q(split__isnull=True, part="", cohort__isnull=False, dataset__isnull=True)
                | Q(split__isnull=True, part="", cohort__isnull=True, dataset__isnull=False),
                name="board_draws_from_one_place",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def source_words(self) -> str:
        """Where the films come from: "from Normals v3, seed 0"."""
        source = f"{self.split}, part {self.part}" if self.split else str(self.cohort or self.dataset)
        start = f", started from {self.start}" if self.start else ""
        return f"from {source}, seed {self.seed}{start}"


class BoardFilm(models.Model):
    board = models.ForeignKey(CanonicalBoard, models.PROTECT, related_name="films")
    image = models.ForeignKey(Image, models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()  # from 1

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["board", "image"], name="board_film_once"),
            models.UniqueConstraint(fields=["board", "position"], name="board_position_once"),
        ]


class HowPlaced(models.TextChoices):
    HANDLES = "handles", "By handles"
    LANDMARKS = "landmarks", "By landmarks"
    LEFT_OUT = "left out", "Left out"


class FilmPlacement(models.Model):
    """Append-only. A film as somebody placed it on a board; the last one counts.

    `matrix` is original_from_canonical, 3 x 3 row by row, in pixels of a frame of the board's side. `points` are the
    landmarks by name, (x, y) in original pixels, `targets` where they should lie in the frame."""

    film = models.ForeignKey(BoardFilm, models.PROTECT, related_name="placements")
    how = models.CharField(max_length=9, choices=HowPlaced)
    matrix = models.JSONField(null=True)
    points = models.JSONField(default=dict)
    targets = models.JSONField(default=dict)
    rms_px = models.FloatField(null=True)  # of the landmarks, in canonical pixels
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(how="left out", matrix__isnull=True)
                | Q(how__in=["handles", "landmarks"], matrix__isnull=False),
                name="placement_has_matrix",
            ),
        ]


class HandMadeCanonical(Addressed):
    """Write-once. The mean of the films of a board, as they were placed when it was made: canonical.npy, float32
    (side, side) in [0, 1], kept under its SHA-256. `report` is a `boards.canonicals.CanonicalReport` as JSON."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="canonicals")
    board = models.ForeignKey(CanonicalBoard, models.PROTECT, related_name="canonicals")
    name = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    films = models.PositiveIntegerField()
    report = models.JSONField(default=dict)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class AffineVerdict(models.TextChoices):
    ACCEPT = "accept", "Accepted"
    BY_HAND = "by hand", "Aligned by hand"
    EXCLUDE = "exclude", "Excluded"


class AffineDecision(models.Model):
    """Append-only. What a person decided of a film's place by a fitted alignment; the last one counts.

    `affine` is original_from_canonical (2 x 3) in pixels of a frame of the side `canonical_size`: later runs with this
    alignment place the film by it."""

    alignment = models.ForeignKey(AlignmentModel, models.PROTECT, related_name="decisions")
    image = models.ForeignKey(Image, models.PROTECT, related_name="affine_decisions")
    verdict = models.CharField(max_length=7, choices=AffineVerdict)
    affine = models.JSONField(null=True)
    canonical_size = models.PositiveSmallIntegerField(null=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["alignment", "image"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict="by hand", affine__isnull=False, canonical_size__isnull=False)
                | Q(verdict__in=["accept", "exclude"], affine__isnull=True),
                name="decision_by_hand_has_affine",
            ),
        ]
