"""The forms of a bank study and of a study of blind spots."""

from collections.abc import Mapping
from typing import Any

from django import forms

from ml_engine.engine.study_plans import (
    CONTAMINATIONS,
    CONTRASTS,
    KINDS,
    PARTS,
    SHARES,
    SIZES_MM,
    BankPlan,
    LesionPlan,
    parse_numbers,
)
from ml_engine.forms.runs import FIT_FIRST, NOTE, UNALIGNED, DetectorForm, RunForm, Section, model_label
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind
from ml_engine.runs.bank_requests import request_aligned_bank_study, request_bank_study, request_blind_spots
from ml_engine.runs.lifecycle import RunRefused
from portal.people.retired import without_retired


def _comma_separated(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


class BankStudyForm(DetectorForm):
    kind = RunKind.BANK_STUDY
    button = "How many normals"
    is_forecast = False
    lead = (
        "Scores the test part with banks of fewer normal films and with some abnormal ones among them, and everything "
        "else the same: how many normal films are enough, and how clean do they have to be?"
    )
    sections = (
        Section("", ("split", "alignment", "name"), folded=False),
        Section("What is varied", ("shares", "contaminations", "repeats"), folded=False),
        Section(
            "The method, the same for every bank",
            (
                "preset", "seed", "weights", "backbone", "size", "rate", "neighbours", "distance", "grid", "mask",
                "fusion_weight", "advanced",
            ),
        ),
        NOTE,
    )  # fmt: skip

    shares = forms.CharField(
        label="Shares of the fit films",
        initial=_comma_separated(SHARES),
        help_text="Separated by commas; the whole is always included.",
    )
    contaminations = forms.CharField(
        label="Shares of abnormal films in the bank",
        initial=_comma_separated(CONTAMINATIONS),
        help_text="From the abnormal films of tune; a clean bank is always included.",
    )
    repeats = forms.IntegerField(
        label="Draws of each",
        initial=3,
        min_value=1,
        max_value=20,
        help_text="Show the spread due to the choice of films.",
    )
    detector = forms.ChoiceField(required=False, choices=[("", "")], widget=forms.HiddenInput)

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return super().start_values(query) | {"name": cls.button}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        planned = BankPlan.from_json(run.asked["bank"])
        return super().values_of(run) | {
            "shares": _comma_separated(planned.shares),
            "contaminations": _comma_separated(planned.contaminations),
            "repeats": planned.repeats,
        }

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        bank = run.asked["bank"]
        return [
            ("Shares of fit", ", ".join(map(str, bank["shares"]))),
            ("Abnormal shares", ", ".join(map(str, bank["contaminations"]))),
            ("Draws of each", str(bank["repeats"])),
        ]

    def set_choices(self) -> None:
        super().set_choices()
        self.fields["fusion_weight"].help_text = "Of the region map, in hundredths. Empty: the preset's; not chosen."

    def make(self) -> Run:
        values = self.cleaned_data
        planned = BankPlan.from_json(
            {
                "shares": parse_numbers("Shares of the fit films", values["shares"]),
                "contaminations": parse_numbers("Shares of abnormal films", values["contaminations"]),
                "repeats": values["repeats"],
            }
        )
        split, config, request = values["split"], self.config(), self.request()
        if values["alignment"] == FIT_FIRST:
            return request_aligned_bank_study(request, split=split, config=config, planned=planned)
        alignment = None
        if values["alignment"] != UNALIGNED:
            alignment = AlignmentModel.objects.get(site=self.site, uuid=values["alignment"])
        return request_bank_study(request, split=split, config=config, planned=planned, alignment=alignment)


class BlindSpotsForm(RunForm):
    kind = RunKind.BLIND_SPOTS
    button = "Blind spots"
    lead = (
        "Pastes synthetic lesions of known size and contrast into the team's own held-out normal films and scores them "
        "together with the unchanged films: what does the detector miss? No abnormal film is needed."
    )
    sections = (
        Section("", ("detector", "part", "name"), folded=False),
        Section("Films", ("films", "places")),
        Section("Lesions", ("kinds", "contrasts", *(f"size_{kind}" for kind in KINDS))),
        NOTE,
    )

    detector = forms.ChoiceField()
    part = forms.ChoiceField(
        choices=[(part, part) for part in PARTS],
        help_text="The part whose normal films are used. Results on test are shown only after a counted look.",
    )
    films = forms.IntegerField(
        label="Films at most", initial=50, min_value=1, max_value=10_000, help_text="Drawn by the detector's seed."
    )
    places = forms.IntegerField(
        label="Places of each kind a film", initial=2, min_value=1, max_value=50, help_text="In the lungs."
    )
    kinds = forms.MultipleChoiceField(
        choices=[(kind, kind) for kind in KINDS], initial=KINDS, widget=forms.CheckboxSelectMultiple
    )
    contrasts = forms.CharField(
        initial=_comma_separated(CONTRASTS),
        help_text="Change at the thickest point, as a share of the gray scale; separated by commas.",
    )
    size_nodule = forms.CharField(
        label="Nodules: diameters (mm)", required=False, initial=_comma_separated(SIZES_MM["nodule"])
    )
    size_effusion = forms.CharField(
        label="Effusions: heights at the wall (mm)", required=False, initial=_comma_separated(SIZES_MM["effusion"])
    )
    size_pneumothorax = forms.CharField(
        label="Pneumothoraces: gaps at the apex (mm)",
        required=False,
        initial=_comma_separated(SIZES_MM["pneumothorax"]),
    )

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return super().start_values(query) | {"name": cls.button}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        planned = LesionPlan.from_json(run.asked["lesions"])
        return super().values_of(run) | {
            "detector": str(run.detector.run.uuid) if run.detector else "",
            "part": planned.part,
            "films": planned.films,
            "places": planned.places,
            "kinds": planned.kinds,
            "contrasts": _comma_separated(planned.contrasts),
            **{f"size_{kind}": _comma_separated(planned.sizes(kind)) for kind in KINDS},
        }

    @classmethod
    def describe_request(cls, run: Run) -> list[tuple[str, str]]:
        lesions = run.asked["lesions"]
        places = f"{lesions['places']} place{'' if lesions['places'] == 1 else 's'} of each kind"
        return [
            ("Lesions", ", ".join(lesions["kinds"])),
            ("Contrasts", ", ".join(map(str, lesions["contrasts"]))),
            ("Films at most", f"{lesions['films']}, {places}"),
        ]

    def set_choices(self) -> None:
        of_site = without_retired(DetectorModel.objects.filter(site=self.site), through="run")
        models = of_site.select_related("run", "split").order_by("-created_at")
        self.fields["detector"].choices = [  # type: ignore[attr-defined]
            ("", "choose a detector"),
            *((str(model.run.uuid), model_label(model.run, f"split {model.split.name}")) for model in models),
        ]

    def make(self) -> Run:
        values = self.cleaned_data
        sizes = {kind: parse_numbers(f"The list of {kind} sizes", values[f"size_{kind}"]) for kind in values["kinds"]}
        planned = LesionPlan.from_json(
            {
                "part": values["part"],
                "films": values["films"],
                "places": values["places"],
                "kinds": values["kinds"],
                "sizes_mm": sizes,
                "contrasts": parse_numbers("contrasts", values["contrasts"]),
            }
        )
        models = DetectorModel.objects.select_related("split", "run")
        detector = models.filter(site=self.site, run__uuid=values["detector"]).first()
        if detector is None:
            raise RunRefused("This detector no longer exists: choose another.")
        return request_blind_spots(self.request(), detector=detector, planned=planned)


FORMS = (BankStudyForm, BlindSpotsForm)
