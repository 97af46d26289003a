"""The form and the page of the way from a dataset to its evaluation, and the same by API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.set_evaluation import advance, runs_of
from analysis.models import SetEvaluation, TestLook
from ml_engine.models import Run, RunState
from portal.models import Dataset, Role, Split, Upload, User
from tests.analysis.scored import Scored
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def labelled(data_dir: Path) -> Dataset:
    dataset = factories.dataset()
    for number in range(14):
        factories.film(dataset, "normal" if number < 10 else "abnormal", person=f"patient {number}")
    return dataset


@pytest.fixture
def row(scored: Scored, analyst: User) -> SetEvaluation:
    return SetEvaluation.objects.create(
        dataset=scored.films[0].dataset, name="All", author=analyst, config={}, split=scored.split, score=scored.run
    )


def form_of(dataset: Dataset) -> str:
    return reverse("analysis:evaluate-set", args=[dataset.uuid])


def page_of(row: SetEvaluation) -> str:
    return reverse("analysis:set-evaluation", args=[row.uuid])


def sent(**changes: Any) -> dict[str, Any]:
    return {"name": "Normals", "preset": "default", "aligned": "on", "test": "open", **changes}


def test_the_form_can_be_sent_unchanged_and_says_what_it_opens(as_analyst: Client, labelled: Dataset) -> None:
    response = as_analyst.get(form_of(labelled))
    text = one_line(response)
    assert "10 normal and 4 abnormal films" in text
    assert "the first look at the test part of the new split. It is counted and audited under your name" in text
    assert text.index('id="look"') < text.index(">Evaluate</button>")
    form = response.context["form"]
    start = {name: form[name].value() for name in form.fields}
    answer = as_analyst.post(form_of(labelled), {**start, "aligned": "on"})
    row = SetEvaluation.objects.get()
    assert answer.headers["Location"] == page_of(row)
    assert row.name.startswith("Normals 20")
    assert TestLook.objects.count() == 0


def test_a_second_request_gets_another_name(as_analyst: Client, labelled: Dataset) -> None:
    first = as_analyst.get(form_of(labelled)).context["form"]["name"].value()
    as_analyst.post(form_of(labelled), sent(name=first))
    assert as_analyst.get(form_of(labelled)).context["form"]["name"].value() == f"{first} (2)"


def test_a_sealed_site_is_told_that_test_stays_sealed(as_analyst: Client, labelled: Dataset) -> None:
    labelled.site.plan_before_test = True
    labelled.site.save()
    text = one_line(as_analyst.get(form_of(labelled)))
    assert "test stays sealed until an analysis plan is locked" in text


def test_errors_stand_at_their_fields_and_keep_what_was_chosen(as_analyst: Client, labelled: Dataset) -> None:
    response = as_analyst.post(form_of(labelled), sent(name="", preset="mine", test="closed"))
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {"name", "preset"}
    assert response.context["form"]["test"].value() == "closed"
    assert not Split.objects.exists()


def test_weights_that_are_missing_are_refused_with_what_to_do(as_analyst: Client, labelled: Dataset) -> None:
    response = as_analyst.post(form_of(labelled), sent(preset="paper"))
    assert response.status_code == 400
    assert "manage.py weights" in response.text or "weights" in response.context["form"].non_field_errors()[0]


def test_an_import_that_runs_is_part_of_the_way(as_analyst: Client, labelled: Dataset) -> None:
    Upload.objects.create(dataset=labelled, state=Upload.State.IMPORTING, done=4, total=14)
    assert "The films are still being imported" in one_line(as_analyst.get(form_of(labelled)))
    as_analyst.post(form_of(labelled), sent())
    text = one_line(as_analyst.get(page_of(SetEvaluation.objects.get())))
    assert "Import the films" in text
    assert "4 of 14 files or rows" in text


def test_the_page_polls_and_then_leads_to_the_roc_curve(as_analyst: Client, row: SetEvaluation) -> None:
    fragment = as_analyst.get(page_of(row), headers={"HX-Request": "true"})
    assert 'hx-trigger="every 2s"' in fragment.text
    assert "HX-Redirect" not in fragment.headers
    advance(row.uuid)
    fragment = as_analyst.get(page_of(row), headers={"HX-Request": "true"})
    row.refresh_from_db()
    assert row.evaluation is not None
    address = reverse("analysis:evaluation", args=[row.evaluation.uuid])
    assert fragment.headers["HX-Redirect"] == f"{address}?part=test#roc"
    page = as_analyst.get(page_of(row))
    assert "hx-trigger" not in page.text
    assert f'href="{address}?part=test#roc">See the ROC curve' in page.text


def test_a_failed_step_says_which_and_offers_to_try_again(as_analyst: Client, labelled: Dataset) -> None:
    as_analyst.post(form_of(labelled), sent())
    row = SetEvaluation.objects.get()
    alignment = runs_of(row)[0]
    Run.objects.filter(pk=alignment.pk).update(state=RunState.FAILED, message="The disk is full: free some space.")
    text = one_line(as_analyst.get(page_of(row)))
    assert "<strong>Fit the alignment: failed.</strong>" in text
    assert "The disk is full: free some space." in text
    assert "hx-trigger" not in text
    answer = as_analyst.post(reverse("analysis:set-evaluation-again", args=[row.uuid]))
    assert answer.headers["Location"] == page_of(row)
    alignment.refresh_from_db()
    assert alignment.state == RunState.QUEUED


def test_who_may(client: Client, as_analyst: Client, labelled: Dataset, row: SetEvaluation) -> None:
    reader, stranger = Client(), Client()
    reader.force_login(factories.user("rho", Role.READER))
    stranger.force_login(factories.user("eve", Role.MANAGER, at=factories.site("Busan")))
    assert "/accounts/login/" in Client().get(form_of(labelled)).headers["Location"]
    assert [stranger.get(address).status_code for address in (form_of(labelled), page_of(row))] == [404, 404]
    assert [reader.get(form_of(labelled)).status_code, reader.get(page_of(row)).status_code] == [403, 200]
    assert reader.post(reverse("analysis:set-evaluation-again", args=[row.uuid])).status_code == 403
    curator = Client()
    curator.force_login(factories.user("cu", Role.CURATOR))
    assert "See the ROC curve" not in curator.get(page_of(row)).text


def test_the_page_of_the_dataset_leads_to_it(as_analyst: Client, labelled: Dataset) -> None:
    dataset_page = reverse("portal:dataset", args=[labelled.uuid])
    assert form_of(labelled) in as_analyst.get(dataset_page).text
    curator = Client()
    curator.force_login(factories.user("cu", Role.CURATOR))
    assert form_of(labelled) not in curator.get(dataset_page).text


def test_the_api_does_the_same(as_analyst: Client, labelled: Dataset) -> None:
    address = reverse("api-evaluate-set", args=[labelled.uuid])
    refused = as_analyst.post(
        address, {"name": "By API", "opens_test": False, "settings": {"size": "33"}}, "application/json"
    )
    assert refused.status_code == 400
    assert "size is 33" in refused.json()["detail"]
    assert as_analyst.post(address, {"name": "By API"}, "application/json").json().keys() == {"opens_test"}
    asked = {"name": "By API", "opens_test": False, "settings": {"weights": "random"}, "aligned": False}
    answer = as_analyst.post(address, asked, "application/json")
    assert answer.status_code == 201
    assert [step["state"] for step in answer.json()["steps"]] == ["done", "waiting", "waiting", "waiting"]
    row = SetEvaluation.objects.get()
    again = as_analyst.get(reverse("api-set-evaluation", args=[row.uuid])).json()
    assert (again["run"], again["evaluation"]) == (str(runs_of(row)[-1].uuid), None)
    assert as_analyst.post(reverse("api-set-evaluation-again", args=[row.uuid])).status_code == 200
