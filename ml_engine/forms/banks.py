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
from ml_engine.forms import runs as run_forms
from ml_engine.forms.runs import FIT_FIRST, UNALIGNED, DetectorForm, RunForm, named
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind
from ml_engine.runs.bank_requests import request_aligned_bank_study, request_bank_study, request_blind_spots
from ml_engine.runs.lifecycle import RunRefused


def _listed(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


class _Sections:
    """Which fields stand together on the page, each group with its heading."""

    template = "ml_engine/new_bank_study.html"

    sections: tuple[tuple[str, tuple[str, ...]], ...]

    def grouped(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in self.sections]  # type: ignore[index]


class BankStudyForm(_Sections, DetectorForm):
    kind = RunKind.BANK_STUDY
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


class BlindSpotsForm(_Sections, RunForm):
    kind = RunKind.BLIND_SPOTS
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


FORMS: dict[str, type[RunForm]] = {form.kind.value: form for form in (BankStudyForm, BlindSpotsForm)}


def start_values(kind: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A new study's fields."""
    if kind == RunKind.BANK_STUDY:
        return run_forms.start_values(kind, query) | {"name": "How many normals"}
    return {"name": "Blind spots", "detector": query.get("detector", "")}


def values_of(run: Run) -> dict[str, Any]:
    """The fields of a clone: all that the study was asked for."""
    return _bank_values(run) if run.kind == RunKind.BANK_STUDY else _blind_values(run)


def _bank_values(run: Run) -> dict[str, Any]:
    planned = BankPlan.from_json(run.asked["bank"])
    return run_forms.values_of(run) | {
        "shares": _listed(planned.shares),
        "contaminations": _listed(planned.contaminations),
        "repeats": planned.repeats,
    }


def _blind_values(run: Run) -> dict[str, Any]:
    planned = LesionPlan.from_json(run.asked["lesions"])
    source = run.detector.run if run.detector else None
    return {
        "name": f"{run.name} (copy)"[:100],
        "note": run.note,
        "detector": str(source.uuid) if source else "",
        "part": planned.part,
        "films": planned.films,
        "places": planned.places,
        "kinds": planned.kinds,
        "contrasts": _listed(planned.contrasts),
        **{f"size_{kind}": _listed(planned.sizes(kind)) for kind in KINDS},
    }
