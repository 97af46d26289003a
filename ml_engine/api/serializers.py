from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ml_engine.core.config import PRESETS
from ml_engine.engine.stages.ablation import FIGURES
from ml_engine.engine.stages.sweep import AXES
from ml_engine.models import Run, RunState
from ml_engine.runs.earlier_facts import earlier_facts
from ml_engine.runs.study_requests import FIGURES as PAPER_FIGURES
from ml_engine.runs.waiting import places
from portal.models import Part


class RunSerializer(serializers.ModelSerializer[Run]):
    split = serializers.UUIDField(source="split.uuid", default=None, read_only=True, allow_null=True)
    after = serializers.UUIDField(source="after.uuid", default=None, read_only=True, allow_null=True)
    clone_of = serializers.UUIDField(source="clone_of.uuid", default=None, read_only=True, allow_null=True)
    requested_by = serializers.CharField(source="requested_by.username", default=None, read_only=True, allow_null=True)
    alignment = serializers.UUIDField(source="alignment.uuid", default=None, read_only=True, allow_null=True)
    detector = serializers.UUIDField(source="detector.uuid", default=None, read_only=True, allow_null=True)
    alignment_made = serializers.UUIDField(source="alignment_made.uuid", default=None, read_only=True, allow_null=True)
    detector_made = serializers.UUIDField(source="detector_made.uuid", default=None, read_only=True, allow_null=True)
    scored = serializers.UUIDField(source="scored.uuid", default=None, read_only=True, allow_null=True)
    head = serializers.UUIDField(source="head.uuid", default=None, read_only=True, allow_null=True)
    head_made = serializers.UUIDField(source="head_made.uuid", default=None, read_only=True, allow_null=True)

    runs_before = serializers.SerializerMethodField(
        help_text="Of a queued run: how many runs of the installation are executed before it."
    )

    def get_runs_before(self, run: Run) -> int | None:
        if run.state != RunState.QUEUED:
            return None
        context = cast(dict[str, Any], self.context)
        if "places" not in context:  # once for a list
            context["places"] = places()
        return cast(int | None, context["places"].get(run.pk))

    class Meta:
        model = Run
        fields = [
            "uuid",
            "name",
            "note",
            "kind",
            "state",
            "created_at",
            "started_at",
            "finished_at",
            "requested_by",
            "split",
            "parts",
            "alignment",
            "detector",
            "after",
            "clone_of",
            "random_weights",
            "stage",
            "stage_index",
            "stage_count",
            "done",
            "total",
            "seconds_left",
            "run_seconds_left",
            "runs_before",
            "memory_mib",
            "attempt",
            "losses",
            "cancel_requested",
            "message",
            "unreadable",
            "alignment_made",
            "detector_made",
            "scored",
            "head",
            "head_made",
        ]


class RunDetailSerializer(RunSerializer):
    asked = serializers.SerializerMethodField()
    controls = serializers.JSONField(
        source="detector_made.summary.controls",
        default=None,
        read_only=True,
        allow_null=True,
        help_text="The negative controls of the detector that the run made, as in its detector.json.",
    )

    earlier_facts = serializers.SerializerMethodField(
        help_text="Films whose headers were corrected since the run, by the facts that the run had read otherwise; "
        "`pixels`: films on which text was blacked out since."
    )

    def get_earlier_facts(self, run: Run) -> dict[str, int]:
        return earlier_facts(run)

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_asked(self, run: Run) -> dict[str, Any]:
        """Without how many reads of a semi-supervised head were left out, which counts what people said of films."""
        asked = {name: values for name, values in run.asked.items() if name != "reads"}
        return asked | ({"reads": {"sources": run.asked["reads"]["sources"]}} if "reads" in run.asked else {})

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "config", "asked", "versions", "device", "controls", "earlier_facts"]


class NewRunSerializer(serializers.Serializer[None]):
    """The fields of all kinds of runs."""

    site = serializers.UUIDField(required=False, help_text="Required for members of several sites.")
    name = serializers.CharField(max_length=100)
    note = serializers.CharField(default="", allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=40), default=list)


class NewFitSerializer(NewRunSerializer):
    split = serializers.UUIDField()
    preset = serializers.ChoiceField(choices=PRESETS, default="default")
    settings = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        default=dict,
        help_text='Single settings as text: {"size": "448", "alignment.epochs": "20"}.',
    )


class NewAlignmentFitSerializer(NewFitSerializer):
    canonical = serializers.UUIDField(
        default=None, allow_null=True, help_text="A hand-made canonical image; without one, the run makes its own."
    )


class NewDetectorFitSerializer(NewAlignmentFitSerializer):
    alignment = serializers.CharField(
        default="none", help_text="none, first (fit one on the same split first), or the UUID of an alignment."
    )


class NewScoreSerializer(NewRunSerializer):
    detector = serializers.UUIDField(help_text="UUID of the detector, or of the run that makes it.")
    head = serializers.UUIDField(
        default=None,
        allow_null=True,
        help_text="UUID of a semi-supervised head of this detector, or of the run that made it, to score beside it.",
    )
    parts = serializers.ListField(child=serializers.ChoiceField(choices=Part.choices), default=list)
    datasets = serializers.ListField(child=serializers.UUIDField(), default=list)


class NewAblationSerializer(NewFitSerializer):
    figures = serializers.ListField(
        child=serializers.ChoiceField(choices=FIGURES), default=list(PAPER_FIGURES), help_text="Figures of the paper."
    )


class NewSweepSerializer(NewFitSerializer):
    axes = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text=f'Values by setting, as text: {{"rate": ["0.01", "0.1"]}}; the settings are {", ".join(AXES)}.',
    )
    aligned = serializers.BooleanField(default=True, help_text="Fit an alignment first, for all detectors.")
