"""The forms of ablations and sweeps."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.urls import reverse

from ml_engine.core.config import PipelineConfig
from ml_engine.engine.stages.ablation import FIGURES
from ml_engine.engine.stages.sweep import AXES, MOST_EXPERIMENTS
from ml_engine.forms.runs import FitForm, Section, backbone_choices, weights_choices
from ml_engine.models import Run, RunKind
from ml_engine.runs import paths, study_requests

FIGURE_WORDS = {
    "12": "Fig. 12: aligned or not, of global, region and combined",
    "13": "Fig. 13: masked or not, of global, region and combined",
    "14": "Fig. 14: the fusion weight from 0 to 1",
    "15": "Fig. 15: twice the size, and PaDiM, SPADE, DN2 and CLAHE + global PatchCore",
    "alignment": "Alignment: its backbones, losses and α one at a time; takes longest",
}


FURTHER = Section("Further settings, note", ("advanced", "note"))


class StudyForm(FitForm):
    """The fields of both: a split, a preset, weights, and any further settings."""

    weights = forms.ChoiceField(label="Backbone weights", required=False)

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        """Initial values that can be submitted unchanged."""
        return super().start_values(query) | {"align": "network"}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        return super().values_of(run) | {"align": run.config.get("align", "network")}

    @classmethod
    def changes_of(cls, run: Run) -> dict[str, str]:
        own_fields = {"weights", *run.asked.get("axes", {})}
        return {name: text for name, text in super().changes_of(run).items() if name not in own_fields}

    def set_choices(self) -> None:
        super().set_choices()
        stored = paths.stored_weights()
        self.fields["weights"].choices = weights_choices(stored)  # type: ignore[attr-defined]


class AblationForm(StudyForm):
    kind = RunKind.ABLATION
    button = "The paper's experiments"
    sections = (
        Section("", ("split", "figures", "name"), folded=False),
        Section("Preset and backbone", ("preset", "backbone", "weights", "seed")),
        FURTHER,
    )
    lead = (
        "The paper's experiments on this split: each a detector of its own, compared with the first, which is aligned "
        "and masked. Figs. 14 and 16 need only the first."
    )

    backbone = forms.ChoiceField(required=False)
    figures = forms.MultipleChoiceField(
        choices=[(name, FIGURE_WORDS[name]) for name in FIGURES],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one figure."},
    )

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return super().start_values(query) | {"name": cls.button, "figures": list(study_requests.FIGURES)}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        return super().values_of(run) | {"figures": run.asked.get("figures", [])}

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        return [("Figures", ", ".join(run.asked["figures"]))] if run.asked.get("figures") else []

    def set_choices(self) -> None:
        super().set_choices()
        choices = backbone_choices(paths.stored_weights())
        self.fields["backbone"].choices = choices  # type: ignore[attr-defined]

    def make(self) -> Run:
        values = self.cleaned_data
        return study_requests.request_ablation(
            self.request(), split=values["split"], config=self.config(), figures=values["figures"]
        )


def _axis(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, help_text=help_text, widget=forms.TextInput(attrs={"spellcheck": "false"})
    )


class SweepForm(StudyForm):
    kind = RunKind.SWEEP
    button = "Sweep settings"
    sections = (
        Section("", ("split", "align", "name"), folded=False),
        Section(
            "Settings to vary",
            ("axis_backbone", "axis_size", "axis_rate", "axis_neighbours", "axis_seed", "axis_fusion_weight"),
            folded=False,
            words="Separate values with commas. A setting that is left empty keeps the value of the preset.",
        ),
        Section("Preset and weights", ("preset", "weights")),
        FURTHER,
    )
    lead = (
        "A detector for each combination of the values below; they share features. Everything is compared on "
        f"tune; test stays closed until somebody opens it. At most {MOST_EXPERIMENTS} detectors."
    )

    seed = None  # type: ignore[assignment]  # an axis of its own here
    align = forms.ChoiceField(
        label="Alignment",
        choices=[
            ("network", "fit one first, with the first seed, for all detectors"),
            ("none", "none: films are not aligned"),
        ],
    )
    axis_backbone = forms.MultipleChoiceField(
        label="Backbone",
        required=False,
        help_text="Several with Ctrl or ⌘.",
        widget=forms.SelectMultiple(attrs={"size": 6}),
    )
    axis_size = _axis("Size", "Sides in pixels, such as 224, 448. Each needs its own features.")
    axis_rate = _axis("Rate s", "Shares of patches kept in a memory bank.")
    axis_neighbours = _axis("Neighbours K", "Numbers of nearest vectors whose mean distance is the score.")
    axis_seed = _axis(
        "Seed", "Several show the spread of the method: the first vector of each memory bank is then drawn."
    )
    axis_fusion_weight = _axis("Fusion weight w", "Hundredths from 0 to 1, at no cost. Empty: chosen on tune, or 0.6.")

    def set_choices(self) -> None:
        super().set_choices()
        _, *groups = backbone_choices(paths.stored_weights())
        self.fields["axis_backbone"].choices = groups  # type: ignore[attr-defined]

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        swept = {"axis_backbone": [], "axis_rate": "0.001, 0.01, 0.1", "axis_neighbours": "1, 9"}
        return super().start_values(query) | {"name": "Sweep"} | swept

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        asked = run.asked.get("axes", {})
        axes = {f"axis_{name}": ", ".join(values) for name, values in asked.items()}
        axes |= {"axis_backbone": asked.get("backbone", [])}
        return super().values_of(run) | axes

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        axes = run.asked.get("axes", {})
        return [(name, ", ".join(axes[name])) for name in AXES if name in axes]

    @property
    def forecast_address(self) -> str:
        return reverse("ml_engine:sweep-forecast")

    def axes(self) -> dict[str, list[str]]:
        """The values by setting, for the settings that have some."""
        texts = {name: self.cleaned_data.get(f"axis_{name}") or "" for name in AXES}
        texts["backbone"] = ",".join(texts["backbone"])
        lists = {name: [value.strip() for value in text.split(",") if value.strip()] for name, text in texts.items()}
        return {name: values for name, values in lists.items() if values}

    def config(self) -> PipelineConfig:
        return super().config().replace(align=self.cleaned_data["align"])

    def forecast(self) -> str:
        """A phrase with the number of fits that the run needs. Raises RunRefused, InvalidConfig."""
        config, planned = study_requests.plan_sweep(self.config(), self.axes())
        return planned.forecast(config)

    def make(self) -> Run:
        return study_requests.request_sweep(
            self.request(), split=self.cleaned_data["split"], config=self.config(), axes=self.axes()
        )


FORMS = (AblationForm, SweepForm)
