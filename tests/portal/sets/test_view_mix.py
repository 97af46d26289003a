"""Views of the parts of a split: frontal films by default, the mix of fit beside that of another part."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from portal.forms import SplitForm
from portal.imaging.views import in_words
from portal.models import Cohort, Dataset, Image, SplitImage
from portal.sets.splits import ALL_FRONTAL, SplitRequest, split_from_csv
from portal.sets.view_mix import is_of_frontal_films, of_other_views, views_of, why_differs
from tests.portal import factories

pytestmark = pytest.mark.django_db


def split_of(views: dict[str, list[str]], *, only: str = "") -> Any:
    """A split whose parts have normal films of these views."""
    of = factories.dataset("Set")
    for part, of_part in views.items():
        for number, view in enumerate(of_part):
            factories.film(of, "normal", person=f"{part} {number}", view=view, csv_split=part)
    author = factories.user("author", is_superuser=True)
    request = SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=author, view_position=only)
    return split_from_csv(request)


def test_all_frontal_views_are_the_default_of_the_form_and_pa_is_one_click() -> None:
    form = SplitForm(None, datasets=Dataset.objects.all(), cohorts=Cohort.objects.all())
    assert form["view_position"].value() == ALL_FRONTAL
    assert [value for value, _ in form.fields["view_position"].choices][:2] == [ALL_FRONTAL, "PA"]


def test_frontal_films_are_pa_ap_and_those_without_a_view(data_dir: Any) -> None:
    views = ["PA", "AP", "", "FRONTAL", "LATERAL", "LL", "OBLIQUE", "LLD"]
    split = split_of({"fit": views, "test": ["PA"]}, only=ALL_FRONTAL)
    assert views_of(split, "fit") == Counter({"PA": 1, "AP": 1, "": 1, "FRONTAL": 1})
    assert split.counts["left_out"]["view position is not frontal"] == 4
    assert SplitImage.objects.filter(member__split=split).count() == 5


def test_only_a_model_of_frontal_films_refuses_other_views(data_dir: Any) -> None:
    frontal = split_of({"fit": ["PA", "AP"], "test": ["PA", "LATERAL"]})
    films = Image.objects.filter(split_images__member__split=frontal)
    assert is_of_frontal_films(frontal)
    assert [film.view_position for film in of_other_views(films, frontal)] == ["LATERAL"]
    assert in_words(Counter({"PA": 1200, "": 2, "AP": 30})) == "1,200 PA, 30 AP, 2 unknown"


def test_a_model_of_laterals_scores_all(data_dir: Any) -> None:
    lateral = split_of({"fit": ["LATERAL", "LL"], "test": ["LATERAL"]})
    assert not is_of_frontal_films(lateral)
    assert not of_other_views(Image.objects.all(), lateral).exists()


@pytest.mark.parametrize(
    ("fit", "test", "differs"),
    [
        (["PA"] * 9 + ["AP"], ["PA"] * 8 + ["AP"] * 2, False),  # a tenth of the films
        (["PA"] * 9 + ["AP"], ["PA"] * 7 + ["AP"] * 3, True),
        (["PA"], ["AP"], True),
        (["PA"] * 5, ["PA"], False),
    ],
)
def test_another_mix_is_warned_of(data_dir: Any, fit: list[str], test: list[str], differs: bool) -> None:
    split = split_of({"fit": fit, "test": test})
    sentence = why_differs(split, "test")
    assert bool(sentence) == differs
    if differs:
        assert f"test has {in_words(Counter(test))}, fit {in_words(Counter(fit))}." in sentence
    assert why_differs(split, "fit") == why_differs(split, "tune") == ""
