"""The breakdown of an evaluation: findings, groups, other treatments of labels, and the page's part."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from sklearn.metrics import roc_auc_score

from analysis import figures, statistics
from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.sections.breakdown import break_down, forest, forest_rows
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    """An evaluation in which three abnormal test films have an effusion, one normal film is unsure, one unresolved."""
    site, first, second = scored.run.site, factories.curator("one"), factories.curator("two")
    test = scored.films[12:]
    factories.label_films(images=test[6:9], value="abnormal", findings=["effusion"], author=first, site=site)
    factories.label_films(images=[test[0]], value="unsure", author=first, site=site)
    factories.label_films(images=[test[1]], value="normal", author=first, site=site)
    factories.label_films(images=[test[1]], value="abnormal", author=second, site=site)
    return evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())


def test_findings_are_compared_with_the_remaining_normals(
    scored: Scored, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert break_down(evaluation, part="test").findings[0].reason == "3 films: below 30 no AUROC is given."
    monkeypatch.setattr("analysis.statistics.findings.LEAST_FILMS", 3)
    breakdown = break_down(evaluation, part="test")
    fused = scored.sweep[12:, 60]
    assert [(row.name, row.films) for row in breakdown.findings] == [("effusion", 3)]
    wanted = statistics.delong([0] * 4 + [1] * 3, [*fused[2:6], *fused[6:9]]).auroc
    assert breakdown.findings[0].auroc.auroc == pytest.approx(wanted)


def test_other_labels_are_counted_either_way(scored: Scored, evaluation: Evaluation) -> None:
    fused = scored.sweep[12:, 60]
    breakdown = break_down(evaluation, part="test")
    assert [row.words for row in breakdown.treatments] == [
        "unsure counted as abnormal",
        "unsure counted as normal",
        "unresolved counted as abnormal",
        "unresolved counted as normal",
    ]
    for row, film, label in zip(breakdown.treatments, (0, 0, 1, 1), (1, 0, 1, 0), strict=True):
        assert row.films == 1
        wanted = statistics.delong([0] * 4 + [1] * 6 + [label], [*fused[2:12], fused[film]]).auroc
        assert row.auroc.auroc == pytest.approx(wanted)


def test_groups_are_those_in_which_films_differ(scored: Scored, evaluation: Evaluation) -> None:
    scored.films[14].patient.sex = "F"
    scored.films[14].patient.save()
    breakdown = break_down(evaluation, part="test")
    assert list(breakdown.groups) == ["sex"]
    assert [(row.name, row.films) for row in breakdown.groups["sex"]] == [("female", 1), ("unknown", 9)]
    plot = forest(breakdown, theme="dark", random_weights=True)
    words = plot["layout"]["annotations"][-2]["text"].replace("<br>", " ")
    assert words.startswith("No AUROC to show. Too few films for an AUROC: effusion (n = 3), Sex: female (n = 1)")
    assert any(figures.RANDOM_WEIGHTS in note["text"] for note in plot["layout"]["annotations"])


def test_the_forest_prints_estimates_and_draws_no_empty_row(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.statistics.findings.LEAST_FILMS", 3)
    breakdown = break_down(evaluation, part="test")
    few = figures.ForestRow("Sex: female", 1, None)
    drawn = figures.as_json(figures.forest_figure([few, *forest_rows(breakdown)], overall=breakdown.overall))
    assert drawn["layout"]["yaxis"]["ticktext"] == ["effusion, n = 3"]
    assert list(drawn["data"][0]["text"]) == [figures.format_auroc(breakdown.findings[0].auroc)]
    assert "text" in drawn["data"][0]["mode"]
    assert "Sex: female (n = 1)" in drawn["layout"]["legend"]["title"]["text"].replace("<br>", " ")


def test_an_area_of_zero_is_drawn() -> None:
    worst = statistics.delong([0, 0, 1, 1], [3.0, 4.0, 1.0, 2.0])
    assert worst.auroc == 0
    drawn = figures.as_json(figures.forest_figure([figures.ForestRow("nodule", 40, worst)], overall=worst))
    assert drawn["layout"]["yaxis"]["ticktext"] == ["nodule, n = 40"]


def test_attributes_of_normals_are_compared(
    as_analyst: Client, scored: Scored, analyst: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.statistics.subgroups.LEAST_FILMS", 3)
    site, test = scored.run.site, scored.films[12:]
    one = factories.curator("one")
    factories.label_films(images=test[:3], value="normal", attributes=["device"], author=one, site=site)
    factories.label_films(images=test[3:4], value="normal", attributes=["variant"], author=one, site=site)
    evaluation = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    factories.label_films(images=test[:6], value="normal", attributes=["old fracture"], author=one, site=site)
    device, variant = break_down(evaluation, part="test").normals
    fused = scored.sweep[12:, 60]
    assert (device.name, device.films, variant.name, variant.films) == ("device", 3, "variant", 1)
    assert device.auroc and device.rest
    assert device.auroc.auroc == pytest.approx(roc_auc_score([0] * 3 + [1] * 6, [*fused[:3], *fused[6:]]))
    assert device.rest.auroc == pytest.approx(roc_auc_score([0] * 3 + [1] * 6, [*fused[3:6], *fused[6:]]))
    assert variant.auroc is None
    plot = forest(break_down(evaluation, part="test"), theme="light", random_weights=False)
    assert plot["layout"]["yaxis"]["ticktext"] == ["Normals with device, n = 3"]
    assert "Normals with variant (n = 1)" in plot["layout"]["legend"]["title"]["text"].replace("<br>", " ")
    page = as_analyst.get(reverse("analysis:breakdown", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert '<tr data-attribute="device">' in page
    answer = as_analyst.get(reverse("api-breakdown", args=[evaluation.uuid]), {"part": "test"}).json()
    assert [(row["name"], row["films"]) for row in answer["normals"]] == [("device", 3), ("variant", 1)]


def test_the_page_has_plot_and_tables(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:breakdown", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert "effusion" in page
    assert ">below 30 films<" in page
    assert "unresolved counted as normal" in page
    assert 'id="forest-figure"' in page


def test_the_api_returns_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.get(reverse("api-breakdown", args=[evaluation.uuid]), {"part": "test"}).json()
    breakdown = break_down(evaluation, part="test")
    assert answer["findings"][0]["auroc"]["auroc"] == breakdown.findings[0].auroc.auroc
    assert [row["words"] for row in answer["treatments"]] == [row.words for row in breakdown.treatments]
    assert answer["overall"]["low"] == breakdown.overall.low
    assert as_analyst.get(reverse("api-breakdown", args=[evaluation.uuid]), {"part": "fit"}).status_code == 404


def test_a_curator_sees_no_breakdown(client: Client, evaluation: Evaluation) -> None:
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(reverse("analysis:breakdown", args=[evaluation.uuid])).status_code == 403


def test_a_breakdown_without_groups_is_reported() -> None:
    nothing = statistics.delong([0, 1], [0, 1])
    drawn = figures.as_json(figures.forest_figure([], overall=nothing))
    assert "No group to show" in drawn["layout"]["annotations"][0]["text"].replace("<br>", " ")
