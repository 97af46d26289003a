"""The forms of a new run. Each saves by one call of ml_engine.runs.requests."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from django import forms

from ml_engine.core import published_weights
from ml_engine.core.architectures import TIMM, XRV
from ml_engine.core.backbone.weights import RANDOM_NOTICE, StoredFile
from ml_engine.core.config import BACKBONES, DETECTORS, PRESETS, PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.forecast import Forecast
from ml_engine.engine.run_kinds import KINDS
from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunKind
from ml_engine.runs import paths, requests, run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Dataset, Part, Site, Split, User

UNALIGNED, FIT_FIRST = "none", "first"
# The settings that have a form field; all others are set in `advanced`.
OWN_FIELDS = (
    "detector", "size", "backbone", "weights", "rate", "neighbours", "distance", "grid", "mask", "fusion_weight",
    "seed",
)  # fmt: skip
AS_PRESET = ("", "as the preset")
RANDOM_WEIGHTS = RANDOM_NOTICE
NO_VGG = "alignment.perceptual=0"


class RunForm(forms.Form):
    """The fields of all kinds of runs. An empty field takes the preset's value."""

    kind: RunKind
    button = ""  # the label of the button that leads to the form
    lead = ""  # what the run does, in a sentence
    template = "ml_engine/new.html"

    name = forms.CharField(max_length=100)
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, site: Site, user: User, clone_of: Run | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site, self.user, self.clone_of = site, user, clone_of
        self.set_choices()
        for field in self.fields.values():
            _add_css_class(field.widget)

    @property
    def title(self) -> str:
        return KINDS[self.kind].words

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        """The initial values of a new run. `query` may name the split or the detector to start with."""
        return {name: query[name] for name in ("split", "detector") if name in query}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        """The initial values of a clone: everything that the run was requested with."""
        return {"name": f"{run.name} (copy)"[:100], "note": run.note}

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        """(label, value) for the run's page: what was requested besides the split, the models and the config."""
        return []

    def set_choices(self) -> None:
        """Choices that depend on the site."""

    def request(self) -> RunRequest:
        values = self.cleaned_data
        return RunRequest(
            site=self.site,
            name=values["name"],
            note=values["note"],
            requested_by=self.user,
            clone_of=self.clone_of,
        )

    def save(self) -> Run | None:
        """Request the run. None if it is refused; the reason is then one of the form's errors."""
        try:
            return self.make()
        except (RunRefused, InvalidConfig) as refusal:
            self.add_error(None, str(refusal))
            return None

    def make(self) -> Run:
        raise NotImplementedError

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        """What the run would take, None where that is not known, and its config. Raises RunRefused, InvalidConfig."""
        raise NotImplementedError


class SectionedForm(RunForm):
    """A form with its fields in groups under headings."""

    template = "ml_engine/new_bank_study.html"

    sections: tuple[tuple[str, tuple[str, ...]], ...]

    def grouped(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in self.sections]


def _add_css_class(widget: forms.Widget) -> None:
    if isinstance(widget, forms.CheckboxSelectMultiple | forms.CheckboxInput):
        widget.attrs["class"] = "form-check-input"
    elif isinstance(widget, forms.Select):
        widget.attrs["class"] = "form-select form-select-sm"
    else:
        widget.attrs["class"] = "form-control form-control-sm"


class FitForm(RunForm):
    own_settings: tuple[str, ...] = ("seed",)  # the settings that a clone shows in fields of their own

    split = forms.ModelChoiceField(Split.objects.none(), to_field_name="uuid", empty_label="choose a frozen split")
    preset = forms.ChoiceField(
        choices=[(name, name) for name in PRESETS],
        help_text="The values of all empty fields: default is ours, paper is the publication's.",
    )
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, help_text="Fixes every random draw.")
    advanced = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "placeholder": "alignment.epochs=20"}),
        help_text="Any further settings, one per line: FIELD=VALUE.",
    )

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        """Without the VGG19 weights, the loss that needs them is set to 0 in a field that the user sees."""
        values = super().start_values(query) | {"preset": "default", "alignment": FIT_FIRST, "weights": ""}
        return values | ({} if paths.has_vgg_weights() else {"advanced": NO_VGG})

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        changes = cls.changes_of(run)
        alignment = str(run.alignment.uuid) if run.alignment else FIT_FIRST if run.after else UNALIGNED
        own = {name: changes.pop(name) for name in cls.own_settings if name in changes}
        if "fusion_weight" in own:
            changes.pop("fusion_choice", None)
        return super().values_of(run) | {
            "split": str(run.split.uuid) if run.split else "",
            "preset": run.config.get("preset", "default"),
            "alignment": alignment,
            "weights": run.config.get("weights", "imagenet"),
            "advanced": "\n".join(f"{name}={text}" for name, text in changes.items()),
            **own,
        }

    @classmethod
    def changes_of(cls, run: Run) -> dict[str, str]:
        """The run's settings that differ from its preset, for a clone's own fields and `advanced`."""
        changes = requests.changes_from_preset(run.config)
        if run.alignment:  # the alignment brings its settings
            return {name: text for name, text in changes.items() if not name.startswith("alignment.")}
        return changes

    def set_choices(self) -> None:
        self.fields["split"].queryset = Split.objects.filter(  # type: ignore[attr-defined]
            site=self.site, frozen_at__isnull=False
        )

    def clean_advanced(self) -> dict[str, str]:
        changes = {}
        for number, line in enumerate(self.cleaned_data["advanced"].splitlines(), start=1):
            name, equals, value = line.partition("=")
            if not line.strip():
                continue
            if not equals or not name.strip():
                raise forms.ValidationError(
                    f"Line {number} is “{line.strip()}”: write FIELD=VALUE, such as alignment.epochs=20."
                )
            changes[name.strip()] = value.strip()
        return changes

    def config(self) -> PipelineConfig:
        values = self.cleaned_data
        own = {name: str(values[name]) for name in OWN_FIELDS if values.get(name) not in (None, "")}
        if "fusion_weight" in own:
            own["fusion_choice"] = "config"  # a weight set by hand is not chosen on tune
        return requests.config_from(values["preset"], own | values["advanced"])


class AlignmentForm(FitForm):
    kind = RunKind.FIT_ALIGNMENT
    button = "Fit an alignment"
    lead = "Fits an alignment to one canonical position on the normal films of part align, or of fit if align is empty."

    def make(self) -> Run:
        return requests.request_alignment(self.request(), split=self.cleaned_data["split"], config=self.config())

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        config = self.config().replace(align="network")
        return run_forecasts.of_alignment(self.cleaned_data["split"], config), config


class DetectorForm(FitForm):
    kind = RunKind.FIT_DETECTOR
    button = "Fit a detector"
    own_settings: tuple[str, ...] = OWN_FIELDS
    lead = "Builds the global and the region memory banks from the normal films of part fit, and calibrates them."

    alignment = forms.ChoiceField(help_text="Aligns the films to one position first.")
    detector = forms.ChoiceField(
        required=False,
        choices=[AS_PRESET, *DETECTORS.items()],
        help_text="PatchCore, or a published detector on the same features to compare it with.",
    )
    weights = forms.ChoiceField(label="Backbone weights", required=False)
    backbone = forms.ChoiceField(
        required=False, help_text="A vision transformer uses the layer last unless it is set under Advanced."
    )
    size = forms.IntegerField(required=False, help_text="Side in pixels, a multiple of 32, or of a ViT's patch.")
    rate = forms.FloatField(required=False, help_text="Share of patches kept in a bank (s).")
    neighbours = forms.IntegerField(
        required=False, help_text="Number of nearest vectors whose mean distance is the score (K)."
    )
    distance = forms.ChoiceField(
        required=False, choices=[AS_PRESET, ("l2", "Euclidean"), ("squared", "squared Euclidean (Eq. 1)")]
    )
    grid = forms.IntegerField(required=False, help_text="Cells along a side, each with a memory bank (n).")
    mask = forms.ChoiceField(required=False, choices=[AS_PRESET, ("yes", "yes"), ("no", "no")], label="Hard mask")
    fusion_weight = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "0.01"}),
        help_text="Of the region map, in hundredths. Empty: chosen on tune by preset default.",
    )

    def set_choices(self) -> None:
        super().set_choices()
        models = AlignmentModel.objects.filter(site=self.site).select_related("run", "split").order_by("-created_at")
        self.fields["alignment"].choices = [  # type: ignore[attr-defined]
            (FIT_FIRST, "fit one first, on the same split"),
            (UNALIGNED, "none: films are not aligned"),
            *((str(model.uuid), model_label(model.run, f"split {model.split.name}")) for model in models),
        ]
        stored = paths.stored_weights()
        self.fields["weights"].choices = weights_choices(stored)  # type: ignore[attr-defined]
        self.fields["backbone"].choices = backbone_choices(stored)  # type: ignore[attr-defined]

        for name in OWN_FIELDS:
            field = self.fields[name]
            if name not in ("weights", "seed"):
                field.help_text = f"{field.help_text} Preset: {_preset_words(name)}.".strip()

    def make(self) -> Run:
        values = self.cleaned_data
        split, config, request = values["split"], self.config(), self.request()
        if values["alignment"] == FIT_FIRST:
            return requests.request_aligned_detector(request, split=split, config=config)
        alignment = None
        if values["alignment"] != UNALIGNED:
            alignment = AlignmentModel.objects.get(site=self.site, uuid=values["alignment"])
        return requests.request_detector(request, split=split, config=config, alignment=alignment)

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        values = self.cleaned_data
        aligns = "none" if values["alignment"] == UNALIGNED else "network"
        config = self.config().replace(align=aligns)
        fits_alignment = values["alignment"] == FIT_FIRST
        return run_forecasts.of_fit(values["split"], config, fits_alignment=fits_alignment), config


def backbone_choices(stored: list[StoredFile]) -> list[Any]:
    """The known networks and those of imported weight files, grouped by library."""
    names = list(dict.fromkeys([*BACKBONES, *(file.architecture for file in stored if file.architecture)]))
    installed = [known.architecture for known in published_weights.all_known() if known.package]
    missing = "" if importlib.util.find_spec("timm") else " (timm is not installed here)"
    return [
        AS_PRESET,
        ("torchvision", [(n, n) for n in names if not n.startswith(TIMM) and n not in (XRV, *installed)]),
        ("EfficientNet-Lite, with weights that come with Hilum", [(n, n) for n in installed]),
        ("Trained on chest X-rays", [(XRV, f"{XRV}: torchxrayvision's DenseNet-121")]),
        (f"timm{missing}", [(n, n.removeprefix(TIMM)) for n in names if n.startswith(TIMM)]),
    ]


def weights_choices(stored: list[StoredFile]) -> list[Any]:
    labels = {
        published_weights.IMAGENET: "imagenet: torchvision's IMAGENET1K_V1, or what comes with Hilum",
        published_weights.IMAGENET_V2: "imagenet-v2: torchvision's IMAGENET1K_V2",
        published_weights.DINOV2: "dinov2: of vit_small and vit_base_patch14_dinov2",
    }
    return [
        ("", "as the backbone: imagenet, or the weights published for it"),
        *((name, labels.get(name, name)) for name in published_weights.SETS),
        *((file.name, f"{file.name} (of {file.architecture})") for file in stored),
        ("random", "random: untrained, not for evaluation"),
    ]


def model_label(run: Run, detail: str) -> str:
    """The label of a model in a list of choices, by the run that made it."""
    return " · ".join([run.name, detail, *([RANDOM_WEIGHTS] if run.random_weights else [])])


def _preset_words(name: str) -> str:
    """A setting's value in preset default, and in the presets that differ: "1 (paper, paper-448: 9)"."""
    values = {preset: getattr(PipelineConfig.from_preset(preset), name) for preset in PRESETS}
    words = {preset: requests.as_text(value) for preset, value in values.items()}
    ours = words[PRESETS[0]]
    others = [preset for preset in PRESETS if words[preset] != ours]
    return f"{ours} ({', '.join(others)}: {words[others[0]]})" if others else ours


class ScoreForm(RunForm):
    kind = RunKind.SCORE
    button = "Score films"
    lead = "Gives every chosen film its scores and its two maps. No label is used."

    detector = forms.ChoiceField()
    head = forms.ChoiceField(
        label="Semi-supervised head beside it",
        required=False,
        help_text="Adds its score and the combined one; the one-class score stays the default.",
    )
    parts = forms.MultipleChoiceField(
        required=False,
        choices=[(part.value, part.label) for part in Part],
        widget=forms.CheckboxSelectMultiple,
        label="Parts of the detector's split",
    )
    datasets = forms.ModelMultipleChoiceField(
        Dataset.objects.none(),
        required=False,
        to_field_name="uuid",
        widget=forms.CheckboxSelectMultiple,
        label="Or whole datasets",
    )

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        head = {"head": query["head"]} if "head" in query else {}
        return super().start_values(query) | {"parts": [Part.TUNE, Part.TEST]} | head

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        source = run.detector.run if run.detector else run.after
        datasets = [str(dataset.uuid) for dataset in run.datasets.all()]
        requested = {"detector": str(source.uuid) if source else "", "parts": run.parts, "datasets": datasets}
        return super().values_of(run) | requested | {"head": str(run.head.run.uuid) if run.head else ""}

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        return [("Semi-supervised head", run.head.run.name)] if run.head else []

    def set_choices(self) -> None:
        models = DetectorModel.objects.filter(site=self.site).select_related("run", "split").order_by("-created_at")
        waiting = Run.objects.filter(site=self.site, kind=RunKind.FIT_DETECTOR, state__in=["queued", "running"])
        self.fields["detector"].choices = [  # type: ignore[attr-defined]
            ("", "choose a detector"),
            *((str(model.run.uuid), model_label(model.run, f"split {model.split.name}")) for model in models),
            *((str(run.uuid), model_label(run, "when it is done")) for run in waiting),
        ]
        heads = HeadModel.objects.filter(site=self.site).select_related("run", "detector__run").order_by("-created_at")
        self.fields["head"].choices = [  # type: ignore[attr-defined]
            ("", "none: one-class scores alone"),
            *((str(head.run.uuid), model_label(head.run, f"beside {head.detector.run.name}")) for head in heads),
        ]
        self.fields["datasets"].queryset = Dataset.objects.filter(site=self.site)  # type: ignore[attr-defined]

    def make(self) -> Run:
        values = self.cleaned_data
        source = Run.objects.get(site=self.site, uuid=values["detector"])
        detector = DetectorModel.objects.filter(run=source).select_related("split").first()
        head = None
        if values["head"]:
            head = requests.find_model(HeadModel, self.site, values["head"])
        return requests.request_score(
            self.request(),
            detector=detector,
            head=head,
            after=None if detector else source,
            parts=values["parts"],
            datasets=list(values["datasets"]),
        )

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        values = self.cleaned_data
        source = Run.objects.get(site=self.site, uuid=values["detector"])
        config = PipelineConfig.from_json(source.config)
        detector = DetectorModel.objects.filter(run=source).select_related("split").first()
        if detector is None or bool(values["parts"]) == bool(values["datasets"]):
            return None, config
        chosen = {"parts": values["parts"], "datasets": list(values["datasets"])}
        return run_forecasts.of_score(detector, config, **chosen), config


FORMS = (DetectorForm, ScoreForm, AlignmentForm)
