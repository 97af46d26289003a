"""The form of a new alignment board."""

from typing import Any
from uuid import UUID

from django import forms
from django.utils import timezone

from ml_engine.boards.canonicals import MOST_FILMS, BoardRequest, start_board
from ml_engine.boards.films import PARTS
from ml_engine.forms.runs import add_css_class, model_label
from ml_engine.models import AlignmentModel, CanonicalBoard
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Cohort, Dataset, Site, Split, User
from portal.people.retired import without_retired

FIRST_FILMS = 30
_MODELS: dict[str, Any] = {"split": Split, "cohort": Cohort, "dataset": Dataset}


class BoardForm(forms.Form):
    name = forms.CharField(max_length=100)
    source = forms.ChoiceField(
        label="Draw the films from", help_text="Normal frontal films only; none of a test part, whatever is chosen."
    )
    films = forms.IntegerField(
        min_value=2,
        max_value=MOST_FILMS,
        initial=FIRST_FILMS,
        help_text=f"How many, at most {MOST_FILMS}, the number of the paper. A mean of 30 shows the chest's outline.",
    )
    seed = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, help_text="Fixes the draw. Empty: 0.")
    start = forms.ChoiceField(
        required=False,
        label="Start from",
        help_text="A fitted alignment shows each film where it placed it, over its own canonical image.",
    )

    def __init__(self, *args: Any, site: Site, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site, self.user = site, user
        self.initial.setdefault("name", f"Canonical {timezone.localdate():%Y-%m-%d}")
        self.fields["source"].choices = _sources(site)  # type: ignore[attr-defined]
        of_site = without_retired(AlignmentModel.objects.filter(site=site), through="run")
        fitted = of_site.select_related("run", "split").order_by("-created_at")
        self.fields["start"].choices = [  # type: ignore[attr-defined]
            ("", "the films as they are"),
            *((str(model.uuid), model_label(model.run, f"split {model.split.name}")) for model in fitted),
        ]
        for field in self.fields.values():
            add_css_class(field.widget)

    def save(self) -> CanonicalBoard | None:
        """Start the board. None if it is refused; the reason is then one of the form's errors."""
        values = self.cleaned_data
        kind, _, rest = values["source"].partition(":")
        address, _, part = rest.partition(":")
        drawn_from: dict[str, Any] = {"part": part} if kind == "split" else {}
        drawn_from[kind] = _MODELS[kind].objects.get(site=self.site, uuid=address)
        start = values["start"]
        request = BoardRequest(
            site=self.site,
            name=values["name"],
            films=values["films"],
            seed=values["seed"] or 0,
            start=AlignmentModel.objects.get(site=self.site, uuid=UUID(start)) if start else None,
            **drawn_from,
        )
        try:
            return start_board(request, author=self.user)
        except RunRefused as refusal:
            self.add_error(refusal.field if refusal.field in self.fields else None, str(refusal))
        return None


def _sources(site: Site) -> list[Any]:
    splits = Split.objects.filter(site=site, frozen_at__isnull=False)
    of_splits = [
        (f"split:{split.uuid}:{part}", f"{split.name}, part {part}")
        for split in splits
        for part in PARTS
        if split.members.filter(part=part, images__isnull=False).exists()
    ]
    cohorts = [(f"cohort:{cohort.uuid}", str(cohort)) for cohort in Cohort.objects.filter(site=site)]
    datasets = [
        (f"dataset:{dataset.uuid}", dataset.name) for dataset in without_retired(Dataset.objects.filter(site=site))
    ]
    return [("Splits", of_splits), ("Cohorts", cohorts), ("Datasets, as they are labelled now", datasets)]
