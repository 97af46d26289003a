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
from ml_engine.forms.runs import FIT_FIRST, UNALIGNED, DetectorForm, SectionedForm, named
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind
from ml_engine.runs.bank_requests import request_aligned_bank_study, request_bank_study, request_blind_spots
from ml_engine.runs.lifecycle import RunRefused


def _listed(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


class BankStudyForm(SectionedForm, DetectorForm):
    kind = RunKind.BANK_STUDY
    button = "How many normals"
    own_settings = ("seed",)
    lead = (
        "Scores the test part with banks of fewer normal films and with some abnormal ones among them, all else alike: "
        "how many normal films are enough, and how clean do they have to be?"
    )
    sections = (
        ("", ("split", "alignment")),
        ("What is varied", ("shares", "contaminations", "repeats")),
        ("The method, the same for every bank", (
            "preset", "seed", "weights", "backbone", "size", "rate", "neighbours", "distance", "grid", "mask",
            "fusion_weight", "advanced",
        )),
    )  # fmt: skip

    shares = forms.CharField(
        label="Shares of the fit films",
        initial=_listed(SHARES),
        help_text="Joined by commas; the whole is always among them.",
    )
    contaminations = forms.CharField(
        label="Shares of abnormal films in the bank",
        initial=_listed(CONTAMINATIONS),
        help_text="From the abnormal films of tune; a clean bank is always among them.",
    )
    repeats = forms.IntegerField(
        label="Draws of each", initial=3, min_value=1, max_value=20, help_text="Shows the spread of the bank's films."
    )
    detector = forms.ChoiceField(required=False, choices=[("", "")], widget=forms.HiddenInput)

    @classmethod
    def start_values(cls, query: Mapping[str, str]) -> dict[str, Any]:
        return super().start_values(query) | {"name": cls.button}

    @classmethod
    def values_of(cls, run: Run) -> dict[str, Any]:
        planned = BankPlan.from_json(run.asked["bank"])
        return super().values_of(run) | {
            "shares": _listed(planned.shares),
            "contaminations": _listed(planned.contaminations),
            "repeats": planned.repeats,
        }

    @classmethod
    def asked_words(cls, run: Run) -> list[tuple[str, str]]:
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
        given = self.cleaned_data
        planned = BankPlan.from_json(
            {
                "shares": parse_numbers("Shares of the fit films", given["shares"]),
                "contaminations": parse_numbers("Shares of abnormal films", given["contaminations"]),
                "repeats": given["repeats"],
            }
        )
        split, config, request = given["split"], self.config(), self.request()
        if given["alignment"] == FIT_FIRST:
            return request_aligned_bank_study(request, split=split, config=config, planned=planned)
        alignment = None
        if given["alignment"] != UNALIGNED:
            alignment = AlignmentModel.objects.get(site=self.site, uuid=given["alignment"])
        return request_bank_study(request, split=split, config=config, planned=planned, alignment=alignment)


class BlindSpotsForm(SectionedForm):
    kind = RunKind.BLIND_SPOTS
    button = "Blind spots"
    lead = (
        "Pastes synthetic lesions of known size and contrast into the team's own held-out normal films and scores them "
        "beside the films themselves: what does the detector not see? No abnormal film is needed."
    )
    sections = (
        ("", ("detector", "part")),
        ("Films", ("films", "places")),
        ("Lesions", ("kinds", "contrasts", *(f"size_{kind}" for kind in KINDS))),
    )

    detector = forms.ChoiceField()
    part = forms.ChoiceField(
        choices=[(part, part) for part in PARTS],
        help_text="Whose normal films. Of test the results are shown after a counted look only.",
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
        initial=_listed(CONTRASTS),
        help_text="Change at the thickest point, as a share of the gray scale; joined by commas.",
    )
    size_nodule = forms.CharField(label="Nodules: diameters (mm)", required=False, initial=_listed(SIZES_MM["nodule"]))
    size_effusion = forms.CharField(
        label="Effusions: heights at the wall (mm)", required=False, initial=_listed(SIZES_MM["effusion"])
    )
    size_pneumothorax = forms.CharField(
        label="Pneumothoraces: gaps at the apex (mm)", required=False, initial=_listed(SIZES_MM["pneumothorax"])
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
            "contrasts": _listed(planned.contrasts),
            **{f"size_{kind}": _listed(planned.sizes(kind)) for kind in KINDS},
        }

    @classmethod
    def asked_words(cls, run: Run) -> list[tuple[str, str]]:
        lesions = run.asked["lesions"]
        places = f"{lesions['places']} place{'' if lesions['places'] == 1 else 's'} of each kind"
        return [
            ("Lesions", ", ".join(lesions["kinds"])),
            ("Contrasts", ", ".join(map(str, lesions["contrasts"]))),
            ("Films at most", f"{lesions['films']}, {places}"),
        ]

    def set_choices(self) -> None:
        models = DetectorModel.objects.filter(site=self.site).select_related("run", "split").order_by("-created_at")
        self.fields["detector"].choices = [  # type: ignore[attr-defined]
            ("", "choose a detector"),
            *((str(model.run.uuid), named(model.run, f"split {model.split.name}")) for model in models),
        ]

    def make(self) -> Run:
        given = self.cleaned_data
        sizes = {kind: parse_numbers(f"Sizes of {kind}", given[f"size_{kind}"]) for kind in given["kinds"]}
        planned = LesionPlan.from_json(
            {
                "part": given["part"],
                "films": given["films"],
                "places": given["places"],
                "kinds": given["kinds"],
                "sizes_mm": sizes,
                "contrasts": parse_numbers("contrasts", given["contrasts"]),
            }
        )
        models = DetectorModel.objects.select_related("split", "run")
        detector = models.filter(site=self.site, run__uuid=given["detector"]).first()
        if detector is None:
            raise RunRefused("There is no such detector any more: choose another.")
        return request_blind_spots(self.request(), detector=detector, planned=planned)


FORMS = (BankStudyForm, BlindSpotsForm)
