"""Evaluations of scored runs, looks at test, worklists, their readings, and what follows from readings."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from ml_engine.models import Run
from portal.models import Addressed, Cohort, Dataset, Image, Split


class Evaluation(Addressed):
    """A scored run joined with the labels of its detector's split at a cut-off. Making it is a look at test."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="evaluations")
    split = models.ForeignKey(Split, models.PROTECT, related_name="evaluations")
    label_cutoff = models.DateTimeField()
    metrics = models.JSONField()  # by part: counts, AUROCs with intervals, on tune the best weight
    subgroups = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "split", "label_cutoff"], name="evaluation_once_a_cutoff")
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"evaluation of {self.run} at {self.label_cutoff:%Y-%m-%d %H:%M}"


class SetEvaluation(Addressed):
    """The way from a dataset to its evaluation, requested at once: its imports end, a split is frozen, an alignment, a
    detector and a scoring run are executed one after the other, and the scores are evaluated. Each step is what its
    author could do by hand; analysis.evaluation.set_evaluation goes on with it, whichever worker is alive."""

    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="set_evaluations")
    name = models.CharField(max_length=80)  # of the split; the runs are named after it
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    config = models.JSONField()
    aligned = models.BooleanField(default=True)
    opens_test = models.BooleanField(default=True)  # also scores and evaluates test, which is a counted look
    split = models.ForeignKey(Split, models.PROTECT, null=True, related_name="+")
    score = models.ForeignKey(Run, models.PROTECT, null=True, related_name="set_evaluations")
    evaluation = models.ForeignKey(Evaluation, models.PROTECT, null=True, related_name="+")
    message = models.TextField(blank=True)  # why the split or the evaluation was refused, for the user
    claimed_until = models.DateTimeField(null=True)  # a process works on its next step

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class AnalysisPlan(Addressed):
    """Append-only. What will be evaluated on the test part of a split, stated before the first look at it. A later
    version replaces an earlier one; after the first look there is no new version.

    `document` is the plan as JSON text; `sha256` is that of its UTF-8 bytes.
    """

    split = models.ForeignKey(Split, models.PROTECT, related_name="analysis_plans")
    version = models.PositiveSmallIntegerField()
    document = models.TextField()
    sha256 = models.CharField(max_length=64)
    locked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["split", "version"]
        constraints = [models.UniqueConstraint(fields=["split", "version"], name="analysis_plan_version_once")]

    def __str__(self) -> str:
        return f"analysis plan {self.version} of {self.split}"


class PlanApproval(Addressed):
    """Append-only. The approval of a plan by a second person."""

    plan = models.OneToOneField(AnalysisPlan, models.PROTECT, related_name="approval")
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")


class TestLook(Addressed):
    """Append-only. One row each time results on the test part are disclosed that were not before: an evaluation, a
    moved weight, a study, a worklist, a run's archive."""

    __test__ = False  # pytest would otherwise collect it as a test class

    split = models.ForeignKey(Split, models.PROTECT, related_name="test_looks")
    run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="test_looks")
    evaluation = models.ForeignKey(Evaluation, models.PROTECT, null=True, related_name="looks")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    fusion_weight = models.FloatField(null=True)
    reason = models.CharField(max_length=200)
    plan = models.ForeignKey(AnalysisPlan, models.PROTECT, null=True, related_name="looks")  # current at that time


class ExternalValidation(Addressed):
    """Append-only. A frozen detector on films of other datasets, with their labels at a cut-off, beside an evaluation
    of the detector on its own test part."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="external_validations")  # scored whole datasets
    evaluation = models.ForeignKey(Evaluation, models.PROTECT, related_name="external_validations")
    label_cutoff = models.DateTimeField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"external validation of {self.evaluation.run} on the films of {self.run}"


class Stage(models.TextChoices):
    UNAIDED = "unaided", "Without the model"
    AIDED = "aided", "With the model"


class Agreement(models.TextChoices):
    AGREE = "agree", "Agree"
    DISAGREE = "disagree", "Disagree"


class StudyDesign(models.TextChoices):
    SEQUENTIAL = "sequential", "Sequential: each film without the model, then at once with it"
    CROSSOVER = "crossover", "Crossover: two sessions, one without and one with the model, in balanced order"


class ScoreKind(models.TextChoices):
    """The score that films are ordered and called by; see analysis.evaluation.score_kinds."""

    ONE_CLASS = "one-class", "One-class score"
    COMBINED = "combined", "Semi-supervised: one-class and head combined"


class FlaggedBy(models.TextChoices):
    """Which score reaches the operating point; blank for neither, and for a worklist of the one-class score."""

    ONE_CLASS = "one-class", "the one-class score alone"
    COMBINED = "combined", "the semi-supervised score alone"
    BOTH = "both", "both scores"


class Worklist(Addressed):
    """Write-once. Films of a scored run to read: those at or above a threshold, and a share of the others.

    Each item stores its sampling probability, so that estimates for all scored films can be made. A worklist with a
    `design` is a reader study: each reader reads each film without and with the model, and nothing is replaced.
    """

    run = models.ForeignKey(Run, models.PROTECT, related_name="worklists")
    name = models.CharField(max_length=100)
    operating_point = models.JSONField()  # {"part", "target", "value", "films"}: what fixed the threshold
    score = models.CharField(max_length=9, choices=ScoreKind, default=ScoreKind.ONE_CLASS)
    threshold = models.FloatField()  # a film is flagged when its score of that kind is at least this
    parts = models.JSONField(default=list)  # of the detector's split; empty: every film that the run scored
    unflagged_share = models.FloatField()
    most = models.PositiveIntegerField(null=True)  # maximum number of films; above it flagged films are sampled too
    blinded = models.BooleanField(default=False)  # read without the model; otherwise a key shows the heatmap
    days_to_read = models.PositiveSmallIntegerField(default=28)  # from beginning to expiry
    washout_days = models.PositiveSmallIntegerField(default=28)  # a label seen longer ago is taken as forgotten
    design = models.CharField(max_length=10, choices=StudyDesign, blank=True)  # blank: no reader study
    repeat_share = models.FloatField(default=0.0)  # share of the films that each reader reads a second time
    seed = models.PositiveIntegerField()
    counts = models.JSONField()  # films scored and drawn, flagged and unflagged, and films left out
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["run", "name"], name="worklist_name_once_a_run"),
            models.CheckConstraint(
                condition=Q(unflagged_share__gte=0, unflagged_share__lt=1), name="worklist_unflagged_share"
            ),
            models.CheckConstraint(condition=Q(score__in=ScoreKind.values), name="worklist_known_score"),
            models.CheckConstraint(condition=Q(design__in=["", *StudyDesign.values]), name="worklist_known_design"),
            models.CheckConstraint(
                condition=Q(repeat_share__gte=0, repeat_share__lte=1) & (Q(repeat_share=0) | ~Q(design="")),
                name="worklist_repeat_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class WorklistItem(Addressed):
    """Frozen. `flagged`, `flagged_by` and `sampling_probability` reach a reader when all of their verdicts are in.

    In a reader study a film may be shown twice: `repeat` is 0 for the showing that counts, and 1 for an earlier one
    without the model, which serves only the agreement of a reader with themselves.
    """

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="items")
    image = models.ForeignKey(Image, models.PROTECT, related_name="worklist_items")
    repeat = models.PositiveSmallIntegerField(default=0)
    position = models.PositiveIntegerField()
    flagged = models.BooleanField()
    flagged_by = models.CharField(max_length=9, choices=FlaggedBy, blank=True)
    sampling_probability = models.FloatField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["worklist", "image", "repeat"], name="worklist_item_showing_once"),
            models.UniqueConstraint(fields=["worklist", "position"], name="worklist_item_position_once"),
            models.CheckConstraint(
                condition=Q(sampling_probability__gt=0, sampling_probability__lte=1),
                name="worklist_item_sampling_probability",
            ),
        ]


class WorklistAssignment(Addressed):
    """A reader to whom a worklist is assigned. A worklist with assignments is shown to, and read by, these only; one
    without is for every reader of the site. Removed with an audit event."""

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="assignments")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    assigned_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["worklist", "reader"], name="worklist_assignment_once")]


class ReferenceSource(models.TextChoices):
    PEOPLE = "people", "Labels by people outside the study"
    FOLLOW_UP = "follow-up", "Follow-up"
    CT = "ct", "CT"


class StudyReference(Addressed):
    """Append-only. What the readers of a reader study are compared with: labels at a cut-off, none of them by a reader
    of the study, and where they come from. The latest counts."""

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="references")
    source = models.CharField(max_length=9, choices=ReferenceSource)
    statement = models.CharField(max_length=500)  # in words: who labelled, from what
    label_cutoff = models.DateTimeField()
    stated_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=Q(source__in=ReferenceSource.values), name="study_reference_known_source")
        ]


class WorklistReader(Addressed):
    """A person who began to read a worklist, and the seed of their order of its films. The person reads it until every
    film is read, until `expires_at`, or until they hand it back; beginning again continues it."""

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="readers")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    seed = models.PositiveIntegerField()
    expires_at = models.DateTimeField(null=True)  # null: begun before 0.4.0, expires never
    handed_back_at = models.DateTimeField(null=True)
    # Of a crossover study: the stage that this reader reads first, and when that session ended.
    first_stage = models.CharField(max_length=7, choices=Stage, blank=True)
    first_ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["worklist", "reader"], name="worklist_reader_once"),
            models.CheckConstraint(condition=Q(first_stage__in=["", *Stage.values]), name="worklist_reader_stage"),
        ]


class HeatmapUse(Addressed):
    """Append-only. Written by the server when it sends the heatmap of an item, or in a reader study its score and
    heatmap, so it does not rely on the page."""

    item = models.ForeignKey(WorklistItem, models.PROTECT, related_name="heatmap_uses")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["item", "reader"])]


class Verdict(models.TextChoices):
    NORMAL = "normal", "Normal"
    ABNORMAL = "abnormal", "Abnormal"
    UNSURE = "unsure", "Unsure"


class Reason(models.TextChoices):
    TRUE_FINDING = "true finding", "True finding"
    DEVICE = "device", "Device or tube"
    POSITIONING = "positioning", "Positioning"
    ARTEFACT = "artefact", "Artefact"
    ALIGNMENT_FAILURE = "alignment failure", "Alignment failure"
    NORMAL_VARIANT = "normal variant", "Normal variant"
    IMAGE_QUALITY = "image quality", "Image quality"
    OTHER = "other", "Other"


class Reading(Addressed):
    """Append-only. A person's verdict on a film; `model_shown` and `label_shown` decide what it may be used for. Both
    follow from the person's exposures to the film when the reading was made. A later reading of the same item by the
    same person `replaces` the earlier reading, except in a reader study, where each stage is read once."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="readings")
    run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="readings")
    item = models.ForeignKey(WorklistItem, models.PROTECT, null=True, related_name="readings")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="readings")
    replaces = models.OneToOneField("self", models.PROTECT, null=True, related_name="replaced_by")
    stage = models.CharField(max_length=7, choices=Stage, blank=True)  # blank: not in a reader study
    verdict = models.CharField(max_length=10, choices=Verdict)
    confidence = models.PositiveSmallIntegerField(null=True)  # the rating: likelihood of abnormality, 0-100
    agreement = models.CharField(max_length=8, choices=Agreement, blank=True)  # with the model, once it was shown
    reason = models.CharField(max_length=40, blank=True, choices=Reason)
    findings = models.JSONField(default=list)
    comment = models.TextField(blank=True)
    boxes = models.JSONField(default=list)  # [{"x", "y", "width", "height", "finding"}] in original pixels
    active_seconds = models.FloatField()  # page in focus, and input within the last half minute
    total_seconds = models.FloatField()  # film on screen, without pauses
    model_shown = models.BooleanField()
    heatmap_shown = models.BooleanField(default=False)
    label_shown = models.BooleanField(default=False)  # a label or another reader's verdict, within the washout
    exposure_known = models.BooleanField(default=True)  # False before 0.4.0: what was shown was not recorded
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
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="reading_known_verdict"),
            models.CheckConstraint(condition=Q(reason__in=["", *Reason.values]), name="reading_known_reason"),
            models.CheckConstraint(
                condition=Q(active_seconds__gte=0, total_seconds__gte=F("active_seconds")), name="reading_seconds"
            ),
            models.CheckConstraint(
                condition=Q(heatmap_shown=False) | Q(model_shown=True), name="reading_heatmap_is_the_model"
            ),
            models.CheckConstraint(condition=Q(stage__in=["", *Stage.values]), name="reading_known_stage"),
            models.CheckConstraint(condition=Q(agreement__in=["", *Agreement.values]), name="reading_known_agreement"),
            models.CheckConstraint(
                condition=Q(stage="") | Q(confidence__isnull=False, replaces__isnull=True), name="reading_of_a_stage"
            ),
            models.CheckConstraint(
                condition=Q(stage="aided", model_shown=True) & ~Q(agreement="") | ~Q(stage="aided") & Q(agreement=""),
                name="reading_aided_agrees_or_not",
            ),
            # a person's first reading of an item replaces nothing, and every later reading replaces one
            models.UniqueConstraint(
                fields=["item", "reader", "stage"],
                condition=Q(item__isnull=False, replaces__isnull=True),
                name="reading_first_once",
            ),
        ]


class Escalation(Addressed):
    """Append-only. A film that needs action outside research, reported to the honest broker of its site."""

    image = models.ForeignKey(Image, models.PROTECT, related_name="escalations")
    item = models.ForeignKey(WorklistItem, models.PROTECT, null=True, related_name="escalations")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ["-created_at"]


class EscalationAnswer(Addressed):
    """Append-only. What the honest broker did."""

    escalation = models.OneToOneField(Escalation, models.PROTECT, related_name="answer")
    broker = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    action = models.CharField(max_length=500)


class AdjudicationProposal(Addressed):
    """Append-only. A request to confirm a reading by a blinded adjudication before it may count as reference. The
    adjudicator sees the film, not the reading."""

    reading = models.OneToOneField(Reading, models.PROTECT, related_name="adjudication_proposal")
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")


class HeadProposal(Addressed):
    """Append-only. A reader's wish that the model learns what was confirmed in a worklist."""

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="head_proposals")
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-created_at"]


class HeadDecision(Addressed):
    """Append-only. What an analyst or manager decided: the run that fits a semi-supervised head, or why there is
    none."""

    proposal = models.OneToOneField(HeadProposal, models.PROTECT, related_name="decision")
    run = models.OneToOneField(Run, models.PROTECT, null=True, related_name="head_decision")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(run__isnull=False) | ~Q(reason=""), name="head_decision_run_or_reason")
        ]


class NormalProposal(Addressed):
    """Write-once. Films of a worklist that readers called normal, proposed for the next version of the normal set.
    `run` scores the films of the worklist's run again with a memory bank that has grown by them."""

    worklist = models.ForeignKey(Worklist, models.PROTECT, related_name="normal_proposals")
    run = models.OneToOneField(Run, models.PROTECT, related_name="normal_proposal")
    films = models.ManyToManyField(Image, related_name="normal_proposals")
    left_out = models.JSONField(default=dict)  # reason -> films
    label_cutoff = models.DateTimeField()  # its labels tell vanished alarms from lost true positives
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-created_at"]


class NormalDecision(Addressed):
    """Append-only. The decision on a proposal: accepted, with the cohort that was frozen, or refused."""

    proposal = models.OneToOneField(NormalProposal, models.PROTECT, related_name="decision")
    accepted = models.BooleanField()
    cohort = models.OneToOneField(Cohort, models.PROTECT, null=True, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(accepted=False) | Q(cohort__isnull=False), name="normal_decision_has_cohort"
            )
        ]
