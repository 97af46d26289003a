"""The pages of splits."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, Membership, Role, Split
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]

HALVES = {"fit": "0.5", "tune": "0", "calibrate": "0", "test": "0.5", "align": ""}


def text(response: Any) -> str:
    return response.content.decode()


def send(client: Client, *datasets: Dataset, **changes: Any) -> Any:
    form = {
        "name": "S",
        "datasets": [str(dataset.uuid) for dataset in datasets],
        "origin": "drawn",
        "seed": "7",
        **HALVES,
    }
    return client.post("/splits/new/", form | changes)


def make_split(of: Dataset, name: str = "S") -> Split:
    author = factories.curator(f"author of {name}")
    split_request = SplitRequest(site=of.site, name=name, datasets=[of], seed=0, author=author)
    return draw_split(split_request, fractions={"fit": 0.5, "test": 0.5})


def test_a_split_is_drawn_and_frozen(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=4, abnormal=2, unsure=1)
    response = send(curator, of)
    split = Split.objects.get()
    assert response["Location"] == f"/splits/{split.uuid}/"
    assert (split.seed, split.fractions, str(split.created_by)) == (7, {"fit": 0.5, "test": 0.5}, "curator")
    page = text(curator.get(f"/splits/{split.uuid}/"))
    assert "1 film: unsure" in page
    assert "Drawn, seed 7" in page
    assert 'href="/splits/' in text(curator.get("/splits/"))


def test_a_split_from_the_csv(curator: Client, of: Dataset) -> None:
    for part in ("train", "train", "test"):
        factories.film(of, "normal", csv_split=part)
    send(curator, of, origin="csv", train_is_fit="on")
    assert Split.objects.get().counts["parts"] == {"fit": {"normal": 2}, "test": {"normal": 1}}


def test_the_page_counts_patients_and_those_without_identifier(curator: Client, of: Dataset) -> None:
    for _ in range(2):
        factories.film(of, "normal", person="P")
    factories.film(of, "normal")
    response = curator.get(f"/splits/{make_split(of).uuid}/")
    assert sum(row["patients"] for row in response.context["rows"]) == 2
    assert "1 patient had no identifier" in text(response)


def test_parts_stand_in_their_order_whatever_the_database_does(curator: Client, of: Dataset) -> None:
    for part in ("test", "calibrate", "tune", "fit", "align"):
        factories.film(of, "normal", csv_split=part)
    send(curator, of, origin="csv")
    rows = curator.get(f"/splits/{Split.objects.get().uuid}/").context["rows"]
    assert [row["label"] for row in rows] == ["Align", "Fit", "Tune", "Calibrate", "Test"]
    listed = text(curator.get("/splits/"))
    assert listed.index("<span>align") < listed.index("<span>fit") < listed.index("<span>test")


def test_the_form_ticks_the_dataset_that_it_came_from(curator: Client, of: Dataset) -> None:
    page = text(curator.get(f"/splits/new/?dataset={of.uuid}"))
    assert f'value="{of.uuid}"' in page
    assert "checked" in page.split(str(of.uuid))[-1].split(">")[0]
    assert curator.get("/splits/new/?dataset=nonsense").status_code == 200


def test_the_form_is_of_the_site_of_the_dataset_that_it_came_from(of: Dataset) -> None:
    """The site that is chosen in the bar is another one."""
    person = factories.user("both", Role.CURATOR)
    aachen = factories.site("Aachen")
    Membership.objects.create(user=person, site=aachen, role=Role.CURATOR)
    theirs = factories.dataset("Theirs", at=aachen)
    factories.films(of, normal=4)
    client = as_(person)
    assert client.get("/datasets/").context["site"] == aachen
    address = f"/splits/new/?dataset={of.uuid}"
    page = client.get(address)
    assert page.context["site"] == of.site
    assert str(of.uuid) in text(page)
    assert str(theirs.uuid) not in text(page)
    form = {"name": "S", "datasets": [str(of.uuid)], "origin": "drawn", "seed": "7", **HALVES}
    client.post(address, form)  # the form is sent to the address that it came from
    assert Split.objects.get().site == of.site
    foreign = factories.dataset("Foreign", at=factories.site("Busan"))
    assert client.get(f"/splits/new/?dataset={foreign.uuid}").context["site"] == of.site  # as the pages before it


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test": "0.1"}, "The fractions sum to 0.6; they must sum to 1."),
        ({"fit": "2"}, "less than or equal to 1"),
        ({"name": ""}, "required"),
        ({"name": " "}, "required"),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"seed": "99999999999"}, "less than or equal to"),
        ({"datasets": []}, "required"),
        ({"origin": "csv"}, "No film would be in fit"),
        ({"datasets": ["nonsense"]}, "nonsense"),
    ],
)
def test_what_cannot_be_frozen_says_why_and_keeps_the_form(
    curator: Client, of: Dataset, changes: dict[str, Any], sentence: str
) -> None:
    factories.films(of, normal=4)
    response = send(curator, of, **({"seed": "7"} | changes))
    assert response.status_code == 400
    assert sentence in text(response)
    assert 'value="0.5"' in text(response)
    assert not Split.objects.exists()


def test_a_dataset_of_another_site_cannot_be_named(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=4)
    foreign = factories.dataset("Theirs", at=factories.site("Busan"))
    response = send(curator, of, foreign)
    assert response.status_code == 400
    assert "Theirs" not in text(response)


def test_a_reader_makes_no_split_and_a_stranger_sees_none(reader: Client, stranger: Client, of: Dataset) -> None:
    factories.films(of, normal=2)
    split = make_split(of)
    assert send(reader, of).status_code == 403
    refused = reader.get("/splits/new/")
    assert refused.status_code == 403
    assert "To make splits at Seoul" in text(refused)
    assert "New split" not in text(reader.get("/splits/"))
    assert reader.get(f"/splits/{split.uuid}/").status_code == 200
    assert stranger.get(f"/splits/{split.uuid}/").status_code == 404
    assert split.name + "<" not in text(stranger.get("/splits/"))


def test_splits_are_looked_at_and_never_changed(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=2)
    assert curator.post(f"/splits/{make_split(of).uuid}/").status_code == 405
    assert curator.post("/splits/").status_code == 405
    assert curator.delete("/splits/new/").status_code == 405


def test_no_split_says_what_one_is(curator: Client) -> None:
    assert "No split yet. A split assigns patients" in text(curator.get("/splits/"))


def test_runs_are_offered_to_those_who_may_request_them(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=2)
    address = f"/splits/{make_split(of).uuid}/"
    assert "Fit a detector" not in text(curator.get(address))
    assert "Fit a detector" in text(as_(factories.user("analyst", Role.ANALYST)).get(address))


@pytest.mark.parametrize("splits", [1, 5])
def test_the_list_asks_the_same_few_questions(
    curator: Client, of: Dataset, splits: int, django_assert_num_queries: Any
) -> None:
    factories.films(of, normal=2)
    for number in range(splits):
        make_split(of, f"S{number}")
    with django_assert_num_queries(9):
        curator.get("/splits/")


@pytest.mark.parametrize(
    ("films", "sentence"),
    [(78, "between 2.9 and 20.9 % in 95 % of draws"), (16, "This split cannot promise a false-alarm rate of 10 %")],
)
def test_a_split_shows_what_its_calibration_patients_promise(
    curator: Client, of: Dataset, films: int, sentence: str
) -> None:
    factories.films(of, normal=films)
    send(curator, of, test="0", calibrate="0.5")
    page = " ".join(text(curator.get(f"/splits/{Split.objects.get().uuid}/")).split())
    assert sentence in page


def test_the_form_shows_what_numbers_of_patients_promise(curator: Client) -> None:
    page = " ".join(text(curator.get("/splits/new/")).split())
    assert "with 39 it is between 2.9 and 20.9 % in 95 % of draws, with 99 it is between 5.0 and 16.6 %" in page
