"""The form of a semi-supervised head."""

from collections.abc import Mapping
from typing import Any

from django import forms

from ml_engine.engine.study_plans import PENALTY_BY_FOLDS, HeadPlan
from ml_engine.forms.runs import NOTE, RunForm, Section, model_label
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.confirmed_reads import READINGS, SOURCES
from ml_engine.runs.head_requests import plan_from, request_head
from ml_engine.runs.lifecycle import RunRefused
from portal.people.retired import without_retired


class HeadForm(RunForm):
    kind = RunKind.FIT_HEAD
    button = "Teach the model what was confirmed"
    lead = (
        "Fits a semi-supervised head beside a detector: a regression that separates films which people confirmed as "
        "abnormal from the known normals. Its score stands beside the one-class score, which stays the default. Films "
        "that train it leave tune’s evaluation with this head, and the test part of later splits."
    )
    sections = (
        Section("", ("scored", "sources", "name"), folded=False),
        Section("The regression", ("penalty", "read_normals")),
        Section("The control of the population, and the learning curve", ("false_alarm_rate", "repeats")),
        NOTE,
    )

    scored = forms.ChoiceField(
        label="Scored run", help_text="Its detector, its split, and its films that are in tune or outside every split."
    )
    sources = forms.MultipleChoiceField(
        label="What people said",
        choices=list(SOURCES.items()),
        initial=[READINGS],
        widget=forms.CheckboxSelectMultiple,
        help_text="Where people differ on a film, it is left out. Labels use up the labelled films of tune.",
    )
    penalty = forms.CharField(
        label="Penalty λ",
        initial="100",
        widget=forms.TextInput(attrs={"spellcheck": "false"}),
        help_text=f"1 / C of the regression, or {PENALTY_BY_FOLDS}: chosen by nested folds of patients.",
    )
    read_normals = forms.BooleanField(
        label="Films read as normal join the known normals",
        required=False,
        help_text="Otherwise only films confirmed as abnormal train.",
    )
    false_alarm_rate = forms.FloatField(
        label="False-alarm rate of the operating point",
        required=False,
        help_text="Films of the pool below it count as scored normals. Empty: the detector’s.",
    )
    repeats = forms.IntegerField(
        label="Draws of each point of the curve", initial=5, min_value=1, max_value=50, help_text="Show the spread."
    )

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return {"name": "Semi-supervised head"} | ({"scored": query["scored"]} if "scored" in query else {})

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        planned = HeadPlan.from_json(run.asked["head"])
        penalty = planned.penalty
        return super().values_of(run) | {
            "scored": str(run.scored.uuid) if run.scored else "",
            "sources": run.asked["reads"]["sources"],
            "penalty": penalty if isinstance(penalty, str) else f"{penalty:g}",
            "read_normals": planned.read_normals,
            "false_alarm_rate": planned.false_alarm_rate,
            "repeats": planned.repeats,
        }

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        planned = HeadPlan.from_json(run.asked["head"])
        sources = [SOURCES[name].lower() for name in run.asked["reads"]["sources"]]
        rate = planned.false_alarm_rate
        return [
            ("Scored run", run.scored.name if run.scored else ""),
            ("Reads from", "; ".join(sources)),
            ("Penalty λ", planned.penalty if isinstance(planned.penalty, str) else f"{planned.penalty:g}"),
            ("Read normals", "train" if planned.read_normals else "do not train"),
            ("Operating point", "the detector’s" if rate is None else f"{rate:g} false alarms"),
        ]

    def set_choices(self) -> None:
        scored = Run.objects.filter(
            site=self.site, kind=RunKind.SCORE, state=RunState.DONE, detector__isnull=False, rescores=None
        )
        self.fields["scored"].choices = [  # type: ignore[attr-defined]
            ("", "choose a scored run"),
            *(
                (str(run.uuid), model_label(run, _detail(run)))
                for run in without_retired(scored).select_related("detector__run", "split")
            ),
        ]

    def make(self) -> Run:
        values = self.cleaned_data
        runs = Run.objects.select_related("site", "detector__split", "detector__run")
        scored = runs.filter(site=self.site, uuid=values["scored"]).first()
        if scored is None:
            raise RunRefused("This run no longer exists: choose another.")
        plan = plan_from(
            {name: values[name] for name in ("read_normals", "false_alarm_rate", "repeats")}
            | {"penalty": as_penalty(values["penalty"])}
        )
        return request_head(self.request(), scored=scored, plan=plan, sources=values["sources"])


def _detail(run: Run) -> str:
    return f"detector {run.detector.run.name}" if run.detector else ""


def as_penalty(text: str) -> object:
    """The number in the text, or the text, which the plan then takes or refuses."""
    try:
        return float(text)
    except ValueError:
        return text


FORMS = (HeadForm,)
