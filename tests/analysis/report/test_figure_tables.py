"""The data of each figure as CSV: the page's numbers in full precision, for those who may see them."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import roc_auc_score, roc_curve

from analysis.evaluation.evaluate import evaluate, look_at_weight
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.models import Evaluation
from analysis.report.figure_tables import AT_RUN_WEIGHT, COMPARED, FIGURES
from portal.models import Membership, Role, User
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored, scored_run
from tests.analysis.views.test_results import another_scored_run
from tests.portal import factories

pytestmark = pytest.mark.django_db
DOORS = ("analysis:figure-csv", "api-figure-csv")
COMPARISON_DOORS = ("analysis:comparison-csv", "api-comparison-csv")


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    with_head(scored)
    return evaluate(run=scored.run, author=analyst)


def rows_of(client: Client, evaluation: Evaluation, name: str, door: str = DOORS[0], **query: Any) -> list[Any]:
    answer = client.get(reverse(door, args=[evaluation.uuid, name]), {"part": "test"} | query)
    assert answer.status_code == 200, answer.text
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def of_test(scored: Scored, weight: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([film.label_events.get().value == "abnormal" for film in scored.films[12:]])
    return labels, scored.sweep[12:, round(weight * 100)].astype(np.float64)


@pytest.mark.parametrize("name", AT_RUN_WEIGHT)
def test_a_figure_at_the_run_s_weight_refuses_another(as_analyst: Client, evaluation: Evaluation, name: str) -> None:
    for door in DOORS:
        address = reverse(door, args=[evaluation.uuid, name])
        assert as_analyst.get(address, {"part": "tune", "weight": "0.6"}).status_code == 200
        answer = as_analyst.get(address, {"part": "tune", "weight": "0.9"})
        assert answer.status_code == 400
        assert "is drawn at the run" in answer.text and "leave out the weight" in answer.text


@pytest.mark.parametrize("name", FIGURES)
def test_the_api_gives_the_bytes_of_the_page(as_analyst: Client, evaluation: Evaluation, name: str) -> None:
    page, api = (rows_of(as_analyst, evaluation, name, door) for door in DOORS)
    assert page == api
    assert page


def test_an_api_client_may_ask_for_csv(as_analyst: Client, evaluation: Evaluation) -> None:
    address = reverse("api-figure-csv", args=[evaluation.uuid, "roc"])
    assert as_analyst.get(address, headers={"accept": "text/csv"}).status_code == 200


def test_the_curve_is_scikit_learn_s_to_the_last_digit(
    as_analyst: Client, evaluation: Evaluation, scored: Scored
) -> None:
    labels, scores = of_test(scored, 0.6)
    rows = [row for row in rows_of(as_analyst, evaluation, "roc") if row["series"] == "fused curve"]
    x, y, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    place = dict(zip(thresholds.tolist(), zip(x.tolist(), y.tolist(), strict=True), strict=True))
    assert rows[0]["threshold [score]"] == ""
    assert len(rows) > 2
    for row in rows[1:]:
        rates = (float(row["false_positive_rate [share]"]), float(row["sensitivity [share]"]))
        assert rates == pytest.approx(place[float(row["threshold [score]"])], abs=1e-15)
    assert float(rows[0]["auroc"]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (rows[0]["abnormal [films]"], rows[0]["normal [films]"]) == ("6", "6")


def test_the_areas_are_those_of_the_evaluation(as_analyst: Client, evaluation: Evaluation) -> None:
    known = evaluation.metrics["parts"]["test"]["auroc"]
    for row in rows_of(as_analyst, evaluation, "roc"):
        kind, what = row["series"].split()
        if what == "curve":
            values = [float(row[name]) for name in ("auroc", "auroc_low", "auroc_high")]
            assert values == [known[kind][name] for name in ("auroc", "low", "high")]


def test_the_sweep_marks_the_weights(as_analyst: Client, evaluation: Evaluation, scored: Scored) -> None:
    rows = rows_of(as_analyst, evaluation, "sweep")
    assert len(rows) == 101
    labels, scores = of_test(scored, 0.37)
    assert float(rows[37]["auroc"]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    marked = {row["fusion_weight"]: row["mark"] for row in rows if row["mark"]}
    assert "run" in marked["0.6"] and "shown" in marked["0.6"]
    assert [mark for mark in marked.values() if "best on tune" in mark]


def test_the_bins_hold_every_film(as_analyst: Client, evaluation: Evaluation, scored: Scored) -> None:
    rows = rows_of(as_analyst, evaluation, "histogram")
    labels, scores = of_test(scored, 0.6)
    for name, of_label in (("normal", scores[~labels]), ("abnormal", scores[labels])):
        bins = [row for row in rows if row["label"] == name]
        edges = [float(bins[0]["bin_low [score]"]), *(float(row["bin_high [score]"]) for row in bins)]
        assert [int(row["count [films]"]) for row in bins] == np.histogram(of_label, bins=edges)[0].tolist()
        assert {row["of [films]"] for row in bins} == {"6"}


def test_the_forest_names_every_group(as_analyst: Client, evaluation: Evaluation) -> None:
    area = evaluation.metrics["parts"]["test"]["auroc"]["fused"]
    rows = rows_of(as_analyst, evaluation, "forest")
    assert rows[0]["name"] == "all films"
    assert float(rows[0]["auroc"]) == area["auroc"]


def test_the_operating_point_is_the_api_s(as_analyst: Client, evaluation: Evaluation) -> None:
    query = {"rule": "sensitivity", "target": "0.8", "prevalence": "0.02"}
    operating = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "test"} | query).json()
    rows = {row["quantity"]: row for row in rows_of(as_analyst, evaluation, "operating", **query)}
    assert float(rows["threshold [score]"]["value"]) == operating["threshold"]
    assert int(rows["false_positives [films]"]["value"]) == operating["false_positives"]
    assert float(rows["specificity [share]"]["low"]) == operating["specificity"]["low"]
    flags = rows["flags_per_1000 [films of 1,000]"]
    assert float(flags["high"]) == operating["predictive"]["flags_per_1000"]["high"]
    assert (flags["prevalence [share]"], flags["fixed_on"]) == ("0.02", "tune")


def test_every_line_carries_the_notices(as_analyst: Client, evaluation: Evaluation) -> None:
    for name in FIGURES:
        for row in rows_of(as_analyst, evaluation, name):
            assert row["notice"].startswith(f"{RANDOM_WEIGHTS}. {NOTICE}")
            assert "ook" in row["notice"]  # how often the test part was looked at
    tune = rows_of(as_analyst, evaluation, "roc", part="tune")
    assert tune[0]["notice"] == f"{RANDOM_WEIGHTS}. {NOTICE}"


# Who, and what not ---------------------------------------------------------------------------------------


def test_hidden_films_are_not_named(client: Client, evaluation: Evaluation, scored: Scored) -> None:
    film = scored.films[12]
    factories.label_films(images=[film], value="unsure", author=factories.curator("c"), site=scored.run.site)
    manager = factories.user("manager", Role.MANAGER)
    client.force_login(manager)
    rows = rows_of(client, evaluation, "roc")
    named = {row["image"] for row in rows} - {""}
    assert named and str(film.uuid) not in named
    assert "1 film of test is hidden from you" in rows[0]["notice"]
    again = another_evaluation(scored, factories.user("second", Role.ANALYST))
    compared = compared_rows(client, [evaluation, again], "scatter")
    assert len(compared) == 11
    assert str(film.uuid) not in {row["image"] for row in compared}
    assert "hidden from you" in compared[0]["notice"]


@pytest.mark.parametrize("door", DOORS)
def test_another_weight_on_test_is_a_look_first(
    as_analyst: Client, evaluation: Evaluation, analyst: User, door: str
) -> None:
    address, query = reverse(door, args=[evaluation.uuid, "roc"]), {"part": "test", "weight": "0.25"}
    refused = as_analyst.get(address, query)
    assert refused.status_code == 400
    assert "Another weight counts as a look" in refused.text
    assert as_analyst.get(address, query | {"part": "tune"}).status_code == 200
    look_at_weight(evaluation=evaluation, author=analyst, weight=0.25)
    assert as_analyst.get(address, query).status_code == 200
    assert as_analyst.get(address, query | {"weight": "0.26"}).status_code == 400


def test_a_colleague_s_look_opens_the_same_numbers(client: Client, evaluation: Evaluation, analyst: User) -> None:
    client.force_login(factories.user("other", Role.ANALYST))
    address, query = reverse(DOORS[0], args=[evaluation.uuid, "roc"]), {"part": "test", "weight": "0.25"}
    assert client.get(address, query).status_code == 400
    look_at_weight(evaluation=evaluation, author=analyst, weight=0.25)
    assert client.get(address, query).status_code == 200


@pytest.mark.parametrize("door", DOORS)
def test_nonsense_gets_a_sentence(as_analyst: Client, evaluation: Evaluation, door: str) -> None:
    def ask(name: str, **query: str) -> Any:
        return as_analyst.get(reverse(door, args=[evaluation.uuid, name]), query)

    unknown = ask("pie")
    assert unknown.status_code == 404
    assert door.startswith("analysis:") or "roc, sweep" in unknown.text
    assert ask("roc", part="fit").status_code == 404
    weight = ask("roc", weight="heavy")
    assert (weight.status_code, "is not one of 0, 0.01 … 1" in weight.text) == (400, True)
    target = ask("operating", target="2")
    assert (target.status_code, "it must lie from" in target.text) == (400, True)


@pytest.mark.parametrize("door", DOORS)
def test_only_who_sees_scores_exports_them(client: Client, evaluation: Evaluation, door: str) -> None:
    address = reverse(door, args=[evaluation.uuid, "roc"])
    client.force_login(factories.user("colleague", Role.CURATOR))
    assert client.get(address).status_code == 403
    stranger = factories.user("stranger")
    Membership.objects.create(user=stranger, site=factories.site("Busan"), role=Role.MANAGER)
    client.force_login(stranger)
    assert client.get(address).status_code == 404


# A comparison --------------------------------------------------------------------------------------------


def another_evaluation(scored: Scored, author: User) -> Evaluation:
    return evaluate(run=another_scored_run(scored), author=author)


def compared_rows(client: Client, chosen: list[Evaluation], name: str, door: str = COMPARISON_DOORS[0]) -> list[Any]:
    query = {"evaluation": [evaluation.uuid for evaluation in chosen], "part": "test"}
    answer = client.get(reverse(door, args=[name]), query)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("name", COMPARED)
def test_a_comparison_s_figures_by_page_and_api(
    as_analyst: Client, evaluation: Evaluation, scored: Scored, analyst: User, name: str
) -> None:
    chosen = [evaluation, another_evaluation(scored, analyst)]
    page, api = (compared_rows(as_analyst, chosen, name, door) for door in COMPARISON_DOORS)
    assert page == api
    assert page


def test_the_scatter_has_both_scores_of_a_film(
    as_analyst: Client, evaluation: Evaluation, scored: Scored, analyst: User
) -> None:
    rows = compared_rows(as_analyst, [evaluation, another_evaluation(scored, analyst)], "scatter")
    first = next(row for row in rows if row["image"] == str(scored.films[12].uuid))
    assert float(first["Scores 0 [score]"]) == float(scored.sweep[12, 60])
    assert float(first["Again [score]"]) == float(scored.sweep[12, 60])


@pytest.mark.parametrize("door", COMPARISON_DOORS)
def test_a_comparison_of_nothing_is_refused(as_analyst: Client, evaluation: Evaluation, door: str) -> None:
    address = reverse(door, args=["roc"])
    answer = as_analyst.get(address, {"evaluation": [evaluation.uuid]})
    assert (answer.status_code, "choose 2 to 6" in answer.text) == (400, True)
    damaged = as_analyst.get(address, {"evaluation": ["x"]})
    assert (damaged.status_code, "is not a UUID" in damaged.text) == (400, True)
    elsewhere = scored_run(factories.site("Busan"), author=factories.user("root", is_superuser=True), seed=3)
    theirs = evaluate(run=elsewhere.run, author=factories.user("root 2", is_superuser=True))
    assert as_analyst.get(address, {"evaluation": [evaluation.uuid, theirs.uuid]}).status_code == 404
