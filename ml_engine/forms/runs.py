"""The forms of a new run. Each saves by one call of ml_engine.runs.requests."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.urls import reverse
from django.utils import timezone

from ml_engine.core import published_weights
from ml_engine.core.architectures import TIMM, XRV
from ml_engine.core.backbone.weights import RANDOM_NOTICE, StoredFile
from ml_engine.core.config import BACKBONES, DETECTORS, PRESETS, PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.forecast import Forecast
from ml_engine.engine.run_kinds import KINDS
from ml_engine.forms.setting_fields import (
    ALIGNMENT_SETTINGS,
    AS_PRESET,
    SETTINGS,
    preset_words,
    setting_field,
    setting_named,
    texts_of,
    words_of,
)
from ml_engine.models import AlignmentModel, DetectorModel, HandMadeCanonical, HeadModel, Run, RunKind
from ml_engine.runs import canonical_files, paths, requests, run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Dataset, Part, Site, Split, User
from portal.people.retired import without_retired

UNALIGNED, FIT_FIRST = "none", "first"
RANDOM_WEIGHTS = RANDOM_NOTICE
PERCEPTUAL, NO_VGG = "alignment.perceptual", "0"


@dataclass(frozen=True)
class Section:
    """Fields under a heading; ``folded`` until a person opens it, or one of them has an error."""

    title: str
    names: tuple[str, ...]
    folded: bool = True
    words: str = ""


NOTE = Section("Note", ("note",))


class RunForm(forms.Form):
    """The fields of all kinds of runs. An empty field takes the preset's value."""

    kind: RunKind
    button = ""  # the label of the button that leads to the form
    lead = ""  # what the run does, in a sentence
    is_forecast = False  # whether the page forecasts the run while the form is filled in
    sections: tuple[Section, ...] = ()

    name = forms.CharField(max_length=100)
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, site: Site, user: User, clone_of: Run | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site, self.user, self.clone_of = site, user, clone_of
        for section in self.sections:
            for name in section.names:
                if name not in self.fields:
                    self.fields[name] = setting_field(name)
        self.set_choices()
        self.initial.setdefault("name", self.first_name())
        for field in self.fields.values():
            add_css_class(field.widget)

    @property
    def forecast_address(self) -> str:
        return reverse("ml_engine:run-forecast", args=[self.kind]) if self.is_forecast else ""

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

    def first_name(self) -> str:
        """A name to start with."""
        return f"{self.button} {timezone.localdate():%Y-%m-%d}"

    def grouped(self) -> list[dict[str, Any]]:
        """The sections with their fields, and what is changed in those that are folded."""
        return [
            {
                "title": section.title,
                "words": section.words,
                "fields": [self[name] for name in section.names],
                "folded": section.folded,
                "opened": any(self.errors.get(name) for name in section.names),
                "changed": self._changed(section),
            }
            for section in self.sections
        ]

    def _changed(self, section: Section) -> str:
        filled = ((name, self[name].value()) for name in section.names if name in SETTINGS)
        return ", ".join(f"{words_of(name)} {value}" for name, value in filled if value not in (None, ""))

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
            field = getattr(refusal, "field", "")
            self.add_error(field if field in self.fields else self.field_about(str(refusal)), str(refusal))
        return None

    def field_about(self, sentence: str) -> str | None:
        """The field of the setting that a refusal is about; None without one."""
        name = setting_named(sentence)
        return next((field for field in (name, f"axis_{name}") if field in self.fields), None)

    def make(self) -> Run:
        raise NotImplementedError

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        """What the run would take, None where that is not known, and its config. Raises RunRefused, InvalidConfig."""
        raise NotImplementedError


def add_css_class(widget: forms.Widget) -> None:
    if isinstance(widget, forms.CheckboxSelectMultiple | forms.CheckboxInput):
        widget.attrs["class"] = "form-check-input"
    elif isinstance(widget, forms.Select):
        widget.attrs["class"] = "form-select form-select-sm"
    else:
        widget.attrs["class"] = "form-control form-control-sm"


BACKBONE = Section("Backbone", ("backbone", "weights", "layers", "pool", "pool_padding", "precision", "kept_precision"))
FILMS = Section(
    "Films",
    ("size", "resize", "intensity", "low_percentile", "high_percentile", "clahe", "clahe_clip", "clahe_tiles"),
)
BANKS = Section(
    "Mask and memory banks",
    (
        "mask", "mask_keep", "mask_threshold", "mask_coverage", "mask_images", "mask_least", "mask_most", "rate",
        "bank_most", "grid", "halo", "neighbours", "distance", "reweight", "coreset_start", "coreset_dimensions",
        "coreset_exact_limit", "search",
    ),
)  # fmt: skip
SCORES = Section(
    "Fusion, film score and threshold",
    (
        "fusion_weight", "fusion_choice", "standardise", "image_score", "top_share", "threshold", "false_alarm_rate",
        "threshold_percentile", "cross_fit", "folds", "controls",
    ),
)  # fmt: skip
TRIED = ("neighbours_tried", "rate_tried", "image_score_tried", "top_share_tried")


class FitForm(RunForm):
    split = forms.ModelChoiceField(Split.objects.none(), to_field_name="uuid", empty_label="choose a frozen split")
    preset = forms.ChoiceField(
        choices=[(name, name) for name in PRESETS],
        help_text="The values of all empty fields: default is ours, paper is the publication's.",
    )
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, help_text="Fixes every random draw.")
    advanced = forms.CharField(
        label="Settings as text",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "placeholder": "alignment.epochs=20"}),
        help_text="Any settings, one per line: FIELD=VALUE. They count before the fields above.",
    )

    config_faults: dict[str, str]  # by field, what is wrong with settings that are filled in

    @classmethod
    def setting_names(cls) -> list[str]:
        """The settings that have a field of their own."""
        return [name for section in cls.sections for name in section.names if name in SETTINGS]

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        """Without the VGG19 weights, the loss that needs them is set to 0 in a field that the user sees."""
        values = super().start_values(query) | {"preset": "default", "alignment": FIT_FIRST, "weights": ""}
        if paths.has_vgg_weights():
            return values
        own = PERCEPTUAL in cls.setting_names()
        return values | ({PERCEPTUAL: NO_VGG} if own else {"advanced": f"{PERCEPTUAL}={NO_VGG}"})

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        changes = cls.changes_of(run)
        if run.canonical:
            changes.pop("alignment.canonical", None)  # the field `canonical` says it
        alignment = str(run.alignment.uuid) if run.alignment else FIT_FIRST if run.after else UNALIGNED
        own = {name: changes.pop(name) for name in cls.setting_names() if name in changes}
        return super().values_of(run) | {
            "split": str(run.split.uuid) if run.split else "",
            "preset": run.config.get("preset", "default"),
            "alignment": alignment,
            "weights": run.config.get("weights", "imagenet"),
            "canonical": str(run.canonical.uuid) if run.canonical else "",
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
        frozen = Split.objects.filter(site=self.site, frozen_at__isnull=False).order_by("-frozen_at")
        self.fields["split"].queryset = frozen  # type: ignore[attr-defined]
        newest = frozen.first()
        if newest is not None:
            self.initial.setdefault("split", str(newest.uuid))

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

    def clean(self) -> None:
        """Every setting that is refused is so at its field, all at once."""
        super().clean()
        self.config_faults = {}
        values = self.cleaned_data
        if "preset" not in values:
            return
        own, lines = texts_of(values, self.setting_names()), dict(values.get("advanced", {}))
        while True:
            try:
                requests.config_from(values["preset"], own | lines)
                return
            except InvalidConfig as refusal:
                name = setting_named(str(refusal))
                field = "advanced" if name in lines or name not in self.fields else name
                self.config_faults[field] = str(refusal)
                self.add_error(field, str(refusal))
                if lines.pop(name, None) is None and own.pop(name, None) is None:
                    return

    def chosen_canonical(self) -> HandMadeCanonical | None:
        """The hand-made canonical image that films are aligned to, if one is chosen."""
        chosen = self.cleaned_data["canonical"]
        return HandMadeCanonical.objects.get(site=self.site, uuid=chosen) if chosen else None

    def config(self) -> PipelineConfig:
        values = self.cleaned_data
        return requests.config_from(values["preset"], texts_of(values, self.setting_names()) | values["advanced"])


def canonical_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Canonical image",
        required=False,
        help_text="What films are aligned to: made by the run itself from its films, or by hand on an alignment board.",
    )


def canonical_choices(site: Site) -> list[Any]:
    """By the run itself, and the site's hand-made canonical images whose file is there."""
    made = HandMadeCanonical.objects.filter(site=site).select_related("board")
    there = [canonical for canonical in made if canonical_files.is_there(canonical)]
    by_hand = [(str(one.uuid), f"{one.name} · by hand, of {one.films} films") for one in there]
    return [("", "made by the run: groupwise, or as the settings say"), *by_hand]


class AlignmentForm(FitForm):
    kind = RunKind.FIT_ALIGNMENT
    button = "Fit an alignment"
    lead = "Fits an alignment to one canonical position on the normal films of part align, or of fit if align is empty."
    is_forecast = True
    sections: tuple[Section, ...] = (
        Section("", ("split", "preset", "name"), folded=False),
        Section("How films are aligned", ("canonical", *ALIGNMENT_SETTINGS)),
        FILMS,
        Section("Seed, machine, note", ("seed", "device", "memory_gib", "note", "advanced")),
    )

    canonical = canonical_field()

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return super().start_values(query) | ({"canonical": query["canonical"]} if "canonical" in query else {})

    def set_choices(self) -> None:
        super().set_choices()
        self.fields["canonical"].choices = canonical_choices(self.site)  # type: ignore[attr-defined]

    def make(self) -> Run:
        return requests.request_alignment(
            self.request(), split=self.cleaned_data["split"], config=self.config(), canonical=self.chosen_canonical()
        )

    def run_forecast(self) -> tuple[Forecast | None, PipelineConfig]:
        config = self.config().replace(align="network")
        return run_forecasts.of_alignment(self.cleaned_data["split"], config), config


class OfSplitSelect(forms.Select):
    """Each option names the split that it belongs to, so that the page shows those of the chosen split only."""

    split_of: Mapping[str, str] = {}

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if str(value) in self.split_of:
            option["attrs"]["data-split"] = self.split_of[str(value)]
        return option


# Fields that are declared below, with help of their own beside the preset's value.
_OWN_WORDS = (
    "detector", "size", "backbone", "rate", "neighbours", "distance", "grid", "mask", "fusion_weight",
)  # fmt: skip


class DetectorForm(FitForm):
    kind = RunKind.FIT_DETECTOR
    button = "Fit a detector"
    lead = "Builds the global and the region memory banks from the normal films of part fit, and calibrates them."

    is_forecast = True
    sections: tuple[Section, ...] = (
        Section("", ("split", "preset", "name"), folded=False),
        Section(
            "Alignment",
            ("alignment", "canonical", *ALIGNMENT_SETTINGS),
            words="These settings are for an alignment that is fitted first; one that is fitted brings its own.",
        ),
        BACKBONE,
        FILMS,
        BANKS,
        SCORES,
        Section("Values to choose from on tune", TRIED, words="PatchCore alone chooses."),
        Section("Other detectors to compare with", ("detector", "film_neighbours", "padim_dimensions")),
        Section("Seed, machine, note", ("seed", "device", "batch", "memory_gib", "note", "advanced")),
    )

    alignment = forms.ChoiceField(
        help_text="Aligns the films to one position first. One that is fitted must be of the same split.",
        widget=OfSplitSelect,
    )
    canonical = canonical_field()
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
        of_site = without_retired(AlignmentModel.objects.filter(site=self.site), through="run")
        models = of_site.select_related("run", "split").order_by("-created_at")
        field = self.fields["alignment"]
        field.widget.split_of = {str(model.uuid): str(model.split.uuid) for model in models}
        field.choices = [  # type: ignore[attr-defined]
            (FIT_FIRST, "fit one first, on the same split"),
            (UNALIGNED, "none: films are not aligned"),
            *((str(model.uuid), model_label(model.run, f"split {model.split.name}")) for model in models),
        ]
        self.fields["canonical"].choices = canonical_choices(self.site)  # type: ignore[attr-defined]
        stored = paths.stored_weights()
        self.fields["weights"].choices = weights_choices(stored)  # type: ignore[attr-defined]
        self.fields["backbone"].choices = backbone_choices(stored)  # type: ignore[attr-defined]
        for name in _OWN_WORDS:
            self.fields[name].help_text = f"{self.fields[name].help_text} {preset_words(name)}".strip()

    def make(self) -> Run:
        values = self.cleaned_data
        split, config, request = values["split"], self.config(), self.request()
        if values["alignment"] == FIT_FIRST:
            canonical = self.chosen_canonical()
            return requests.request_aligned_detector(request, split=split, config=config, canonical=canonical)
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


class ScoreForm(RunForm):
    kind = RunKind.SCORE
    button = "Score films"
    lead = "Gives every chosen film its scores and its two maps. No label is used."

    is_forecast = True
    sections: tuple[Section, ...] = (
        Section("", ("detector", "parts", "name"), folded=False),
        Section("Whole datasets instead of parts", ("datasets",)),
        Section("Semi-supervised head, note", ("head", "note")),
    )

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
        detectors = without_retired(DetectorModel.objects.filter(site=self.site), through="run")
        models = detectors.select_related("run", "split").order_by("-created_at")
        waiting = Run.objects.filter(site=self.site, kind=RunKind.FIT_DETECTOR, state__in=["queued", "running"])
        self.fields["detector"].choices = [  # type: ignore[attr-defined]
            ("", "choose a detector"),
            *((str(model.run.uuid), model_label(model.run, f"split {model.split.name}")) for model in models),
            *((str(run.uuid), model_label(run, "when it is done")) for run in waiting),
        ]
        heads_of_site = without_retired(HeadModel.objects.filter(site=self.site), through="run")
        heads = heads_of_site.select_related("run", "detector__run").order_by("-created_at")
        self.fields["head"].choices = [  # type: ignore[attr-defined]
            ("", "none: one-class scores alone"),
            *((str(head.run.uuid), model_label(head.run, f"beside {head.detector.run.name}")) for head in heads),
        ]
        datasets = without_retired(Dataset.objects.filter(site=self.site))
        self.fields["datasets"].queryset = datasets  # type: ignore[attr-defined]

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
