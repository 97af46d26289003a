"""The form of an embedding map."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django import forms

from ml_engine.core.config import PRESETS, PipelineConfig
from ml_engine.engine.forecast import Forecast
from ml_engine.engine.study_plans import KEPT_NEIGHBOURS, EmbeddingPlan
from ml_engine.forms.runs import NOTE, RunForm, Section, backbone_choices, weights_choices
from ml_engine.forms.setting_fields import texts_of
from ml_engine.models import Run, RunKind
from ml_engine.runs import paths, requests, run_forecasts
from ml_engine.runs.embedding_requests import mapped_films, request_embedding
from portal.models import Dataset
from portal.people.retired import without_retired
from portal.sets.film_filters import FILTERS

SETTINGS = ("backbone", "weights", "size", "seed")


class EmbeddingForm(RunForm):
    kind = RunKind.EMBEDDING
    button = "Map the films"
    lead = (
        "Lays out all films in the plane, so that films that look alike to the backbone lie together: groups, scanners "
        "and films that do not belong are seen at once, and can be chosen with a lasso. No label is used, films are "
        "neither aligned nor masked. It also finds the films most like each film."
    )
    is_forecast = True
    sections = (
        Section("", ("datasets", "filters", "name"), folded=False),
        Section("Backbone", ("preset", *SETTINGS)),
        Section("Layout", ("neighbours_kept", "epochs")),
        NOTE,
    )

    datasets = forms.ModelMultipleChoiceField(
        Dataset.objects.none(),
        to_field_name="uuid",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one dataset."},
    )
    filters = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"spellcheck": "false", "placeholder": "label=normal&view=PA"}),
        help_text="Of the grid of a single dataset, as in its address. Empty: all films.",
    )
    preset = forms.ChoiceField(choices=[(name, name) for name in PRESETS])
    backbone = forms.ChoiceField(required=False)
    weights = forms.ChoiceField(label="Backbone weights", required=False)
    size = forms.IntegerField(required=False, help_text="Side in pixels, a multiple of 32, or of a ViT's patch.")
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, help_text="Fixes every random draw.")
    neighbours_kept = forms.IntegerField(
        label="Neighbours",
        initial=EmbeddingPlan.neighbours,
        min_value=2,
        max_value=KEPT_NEIGHBOURS,
        help_text="Nearest films that the layout keeps together: few show small groups, many show the whole.",
    )
    epochs = forms.IntegerField(label="Rounds", initial=EmbeddingPlan.epochs, min_value=10, max_value=2000)

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        filters = {name: query[name] for name in FILTERS if query.get(name)}
        return {
            "datasets": [query["dataset"]] if query.get("dataset") else [],
            "filters": urlencode(filters),
            "preset": "default",
        }

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        plan = EmbeddingPlan.from_json(run.asked["embedding"])
        changes = requests.changes_from_preset(run.config)
        return super().values_of(run) | {
            "datasets": [str(dataset.uuid) for dataset in run.datasets.all()],
            "filters": urlencode(run.asked.get("filter", {})),
            "preset": run.config.get("preset", "default"),
            "neighbours_kept": plan.neighbours,
            "epochs": plan.epochs,
            **{name: changes[name] for name in SETTINGS if name in changes},
        }

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        plan = EmbeddingPlan.from_json(run.asked["embedding"])
        filters = ", ".join(f"{name} {value}" for name, value in run.asked.get("filter", {}).items() if name != "split")
        return [
            ("Datasets", ", ".join(dataset.name for dataset in run.datasets.all())),
            *([("Films", filters)] if filters else []),
            ("Neighbours", str(plan.neighbours)),
            ("Rounds", str(plan.epochs)),
        ]

    def set_choices(self) -> None:
        stored = paths.stored_weights()
        datasets = without_retired(Dataset.objects.filter(site=self.site))
        self.fields["datasets"].queryset = datasets  # type: ignore[attr-defined]
        self.fields["backbone"].choices = backbone_choices(stored)  # type: ignore[attr-defined]
        self.fields["weights"].choices = weights_choices(stored)  # type: ignore[attr-defined]

    def clean_filters(self) -> dict[str, str]:
        return dict(parse_qsl(self.cleaned_data["filters"].removeprefix("?"), keep_blank_values=True))

    def config(self) -> PipelineConfig:
        values = self.cleaned_data
        return requests.config_from(values["preset"], texts_of(values, list(SETTINGS)))

    def make(self) -> Run:
        values = self.cleaned_data
        return request_embedding(
            self.request(),
            datasets=list(values["datasets"]),
            config=self.config(),
            plan=EmbeddingPlan(neighbours=values["neighbours_kept"], epochs=values["epochs"]),
            filters=values["filters"],
        )

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        config = self.config().replace(align="none", mask=False)
        films = mapped_films(list(self.cleaned_data["datasets"]), self.cleaned_data["filters"])
        return run_forecasts.of_embedding(films, config), config


FORMS = (EmbeddingForm,)
