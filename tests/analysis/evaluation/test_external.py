"""External validation: which films count, which looks it costs, and page and API side by side."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from sklearn.metrics import roc_auc_score, roc_curve

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.external import validate
from analysis.evaluation.looks import CannotEvaluate
from analysis.models import ExternalValidation, TestLook
from ml_engine.models import Run, Score
from portal.models import Dataset, Role, User
from portal.sets.sealing import TestRules, set_test_rules
from portal.sets.splits import SplitRequest, split_from_csv
from tests.analysis.scored import Scored, scored_dataset
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def abroad(scored: Scored) -> Dataset:
    """30 normal and 20 abnormal AP films, and one of a patient in the split."""
    dataset = factories.dataset("Abroad", at=scored.run.site)
    for number in range(50):
        label, part = ("abnormal", "tune") if number < 20 else ("normal", "test" if number % 2 else "fit")
        factories.film(dataset, label, person=f"abroad {number}", view="AP", csv_split=part)
    factories.film(dataset, "normal", person="test normal 1")
    return dataset


@pytest.fixture
def run(scored: Scored, abroad: Dataset, analyst: User) -> Run:
    evaluate(run=scored.run, author=analyst)
    return scored_dataset(scored, abroad)


def results(client: Client, run: Run) -> tuple[dict[str, Any], str]:
    made = client.post(reverse("api-validate-externally", args=[run.uuid]))
    assert made.status_code == 201, made.content
    uuid = made.json()["uuid"]
    page = client.get(reverse("analysis:external-validation", args=[uuid]))
    return client.get(reverse("api-external-validation", args=[uuid])).json(), page.content.decode()


def test_internal_and_external_figures_stand_side_by_side(
    as_analyst: Client, scored: Scored, run: Run, analyst: User
) -> None:
    answer, page = results(as_analyst, run)
    external, internal = answer["external"], answer["internal"]
    assert (external["normal"], external["abnormal"], external["patients"]) == (30, 20, 50)
    assert external["left_out"] == {"of patients in the detector's split": 1}
    scores = dict(Score.objects.filter(run=run).values_list("image__uuid", "fused_score"))
    films = [film for film in run.datasets.get().images.all() if film.view_position == "AP"]
    truth = [film.label_events.get().value == "abnormal" for film in films]
    expected = roc_auc_score(truth, [scores[film.uuid] for film in films])
    assert external["auroc"]["fused"]["auroc"] == pytest.approx(expected)
    stored = scored.run.evaluations.get().metrics["parts"]["test"]["auroc"]["fused"]
    assert internal["auroc"]["fused"]["auroc"] == pytest.approx(stored["auroc"])
    assert answer["difference"]["difference"] == pytest.approx(expected - stored["auroc"])
    for number in (expected, stored["auroc"]):
        assert f"{number:.3f}" in page
    assert "External validations on these datasets so far: 1" in " ".join(page.split())
    assert "random weights, not for evaluation" in page


def test_the_figure_as_csv_has_every_corner_of_both_curves(as_analyst: Client, scored: Scored, run: Run) -> None:
    answer, page = results(as_analyst, run)
    validation = ExternalValidation.objects.get()
    assert reverse("analysis:external-csv", args=[validation.uuid]) in page
    doors = ("analysis:external-csv", "api-external-csv")
    files = [as_analyst.get(reverse(door, args=[validation.uuid])) for door in doors]
    assert (files[0].status_code, files[0].content) == (200, files[1].content)
    rows = list(csv.DictReader(io.StringIO(files[0].text)))
    scores = dict(Score.objects.filter(run=run).values_list("image__uuid", "fused_score"))
    films = [film for film in run.datasets.get().images.all() if film.view_position == "AP"]
    truth = [film.label_events.get().value == "abnormal" for film in films]
    x, y, _ = roc_curve(truth, [scores[film.uuid] for film in films], drop_intermediate=False)
    external = [row for row in rows if row["population"] == "external"]
    points = [(float(row["false_positive_rate [share]"]), float(row["sensitivity [share]"])) for row in external]
    assert set(points) <= set(zip(x.tolist(), y.tolist(), strict=True))
    assert np.trapezoid(*np.array(points).T[::-1]) == pytest.approx(answer["external"]["auroc"]["fused"]["auroc"])
    for name in ("internal", "external"):
        (areas,) = {(row["auroc"], row["auroc_low"], row["auroc_high"], row["abnormal [films]"])
                    for row in rows if row["population"] == name}  # fmt: skip
        fused = answer[name]["auroc"]["fused"]
        assert areas == (repr(fused["auroc"]), repr(fused["low"]), repr(fused["high"]), str(answer[name]["abnormal"]))
    assert {row["difference_from_internal"] for row in external} == {repr(answer["difference"]["difference"])}
    assert all("random weights" in row["notice"].lower() and "ook" in row["notice"] for row in rows)


def test_the_page_of_results_offers_and_lists_it(as_analyst: Client, run: Run) -> None:
    address = reverse("analysis:validate-externally", args=[run.uuid])
    assert address in as_analyst.get(reverse("analysis:results")).content.decode()
    made = as_analyst.post(address)
    assert made["Location"] in as_analyst.get(reverse("analysis:results")).content.decode()


def test_populations_are_named_where_they_differ(as_analyst: Client, run: Run) -> None:
    answer, page = results(as_analyst, run)
    rows = {row["name"]: row for row in answer["populations"]}
    assert rows["View position"]["difference"] == "complete"
    share, other = 0.5, 0.4  # of abnormal films
    expected = abs(share - other) / np.sqrt((share * (1 - share) + other * (1 - other)) / 2)
    assert rows["Label"]["difference"] == pytest.approx(expected)
    assert "The populations differ in view position (complete), dataset (complete), label (0.20)" in " ".join(
        page.split()
    )


def test_it_is_made_once_until_labels_change(run: Run, analyst: User) -> None:
    first = validate(run=run, author=analyst)
    assert validate(run=run, author=analyst) == first
    factories.event(run.datasets.get().images.first(), "unsure")
    assert validate(run=run, author=analyst) != first
    with pytest.raises(DatabaseError), transaction.atomic():
        ExternalValidation.objects.filter(pk=first.pk).update(created_by=analyst)


def test_films_in_the_test_part_of_another_split_cost_a_look_there(run: Run, analyst: User, abroad: Dataset) -> None:
    author = factories.user("splitter", is_superuser=True)
    split = split_from_csv(SplitRequest(site=run.site, name="Of abroad", datasets=[abroad], seed=0, author=author))
    before = TestLook.objects.count()
    set_test_rules(site=run.site, rules=TestRules(plan=True, second_person=False), author=author)
    with pytest.raises(CannotEvaluate, match="sealed"):
        validate(run=run, author=analyst)
    assert (TestLook.objects.count(), ExternalValidation.objects.count()) == (before, 0)
    set_test_rules(site=run.site, rules=TestRules(plan=False, second_person=False), author=author)
    validate(run=run, author=analyst)
    look = TestLook.objects.get(split=split)
    assert (look.reason, look.run, TestLook.objects.count()) == ("external validation", None, before + 1)


def test_what_cannot_be_validated_has_a_reason(scored: Scored, abroad: Dataset, analyst: User) -> None:
    outside = scored_dataset(scored, abroad)
    with pytest.raises(CannotEvaluate, match="was not evaluated on the test part of its own split"):
        validate(run=outside, author=analyst)
    with pytest.raises(CannotEvaluate, match="did not score whole datasets"):
        validate(run=scored.run, author=analyst)
    evaluate(run=scored.run, author=analyst)
    known = factories.dataset("Known", at=scored.run.site)
    factories.film(known, "normal", person="fit 0")
    with pytest.raises(CannotEvaluate, match=r"No film of the run .* 1 of patients in the detector's split"):
        validate(run=scored_dataset(scored, known), author=analyst)


def test_readers_may_see_it_and_not_make_it(client: Client, run: Run, analyst: User) -> None:
    validation = validate(run=run, author=analyst)
    reader = factories.user("reader", Role.READER, at=run.site)
    with pytest.raises(PermissionDenied):
        validate(run=run, author=reader)
    client.force_login(reader)
    assert client.get(reverse("analysis:external-validation", args=[validation.uuid])).status_code == 200
    assert client.get(reverse("api-external-validations")).json()["results"][0]["run"] == str(run.uuid)
    page = client.post(reverse("analysis:validate-externally", args=[run.uuid]))
    assert page.status_code == 403
