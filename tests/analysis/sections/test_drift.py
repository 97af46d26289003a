"""Drift of a detector by import: which films count, and page and API show the same."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from scipy.stats import mannwhitneyu

from ml_engine.models import Run, RunState, Score
from ml_engine.runs.paths import run_folder
from portal.models import Dataset, Image, Role, Upload
from tests.analysis.scored import Scored, looked_at
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories

pytestmark = pytest.mark.django_db
BASE = np.linspace(2, 4, 40)


@pytest.fixture
def later(scored: Scored) -> Scored:
    """The detector has 40 calibration normals, and scored 31 normal and 31 abnormal films of a later import."""
    change_summary(
        run_folder(scored.run.uuid),
        calibration_scores=BASE.tolist(),
        calibration_patients=list(range(40)),
    )
    dataset = factories.dataset("Later", at=scored.run.site)
    score_films(scored.run, dataset, normal=np.linspace(2.2, 4.2, 31), abnormal=np.linspace(5, 6, 31))
    return scored


def score_films(run: Run, dataset: Dataset, **scores: Any) -> list[Image]:
    """Films of a new import, with a row of the run for each."""
    upload = Upload.objects.create(dataset=dataset, state=Upload.State.DONE)
    films = [
        (factories.film(dataset, label, person=f"{dataset} {label} {k}"), value)
        for label, values in scores.items()
        for k, value in enumerate(values)
    ]
    upload.finished_at = films[-1][0].created_at + timedelta(seconds=1)
    upload.save()
    first = Score.objects.filter(run=run).count()
    Score.objects.bulk_create(
        Score(run=run, image=film, row=first + k, fused_score=value, global_score=value, region_score=value)
        for k, (film, value) in enumerate(films)
    )
    return [film for film, _ in films]


def asked(client: Client, run: Run) -> tuple[dict[str, Any], str]:
    api = client.get(reverse("api-drift", args=[run.uuid]))
    page = client.get(reverse("analysis:drift", args=[run.uuid]))
    assert (api.status_code, page.status_code) == (200, 200)
    return api.json(), page.content.decode()


def detector_run(scored: Scored) -> Run:
    assert scored.run.detector is not None
    return scored.run.detector.run


def test_each_import_is_compared_with_the_calibration_normals(as_analyst: Client, later: Scored) -> None:
    answer, page = asked(as_analyst, detector_run(later))
    of_name = {row["name"].rpartition(" into ")[2]: row for row in answer["all_films"]}
    every = of_name["Later"]
    (normal,) = (row for row in answer["normals"] if row["name"] == every["name"])
    values = np.linspace(2.2, 4.2, 31)
    assert normal["above"]["auroc"] == pytest.approx(mannwhitneyu(values, BASE).statistic / 31 / 40, abs=1e-9)
    assert (every["films"], normal["films"], normal["above"]["positives"]) == (62, 31, 31)
    assert normal["alarms"]["successes"] == (values >= answer["threshold"]).sum()
    assert every["adjusted_p_value"] < 0.001
    assert f"{normal['above']['auroc']:.3f}" in page
    assert "random weights, not for evaluation" in page


def test_films_of_test_wait_for_a_look_and_those_of_the_model_never_count(as_analyst: Client, later: Scored) -> None:
    answer, page = asked(as_analyst, detector_run(later))
    assert answer["left_out"] == {"in test, at which nobody has looked": 12}
    assert "Left out, in test, at which nobody has looked: 12 films." in " ".join(page.split())
    small = next(row for row in answer["all_films"] if not row["name"].endswith("Later"))  # the 12 films of tune
    assert (small["above"], small["reason"]) == (None, "12 films of this batch: at least 30 are needed.")
    looked_at(later.run)
    fitted = Image.objects.filter(split_images__member__part="fit")[:3]
    Score.objects.bulk_create(
        Score(run=later.run, image=film, row=900 + k, fused_score=1) for k, film in enumerate(fitted)
    )
    answer, _ = asked(as_analyst, detector_run(later))
    assert answer["left_out"] == {"of patients whose films made the model": 3}
    assert sum(row["films"] for row in answer["all_films"]) == 62 + 24


def test_a_film_counts_once_with_its_latest_score(as_analyst: Client, later: Scored) -> None:
    run = later.run
    again = Run.objects.create(
        site=run.site, name="Again", kind=run.kind, split=run.split, detector=run.detector, state=RunState.DONE
    )
    change = np.full(31, 9.0)
    films = Image.objects.filter(dataset__name="Later", label_events__value="normal").order_by("pk")
    Score.objects.bulk_create(
        Score(run=again, image=film, row=k, fused_score=value)
        for k, (film, value) in enumerate(zip(films, change, strict=True))
    )
    run_folder(run.uuid).rename(run_folder(again.uuid))
    answer, _ = asked(as_analyst, detector_run(later))
    (normal,) = (row for row in answer["normals"] if row["name"].endswith("Later"))
    assert (normal["films"], normal["median"]) == (31, 9.0)


def test_a_film_of_test_keeps_its_disclosed_score_where_a_later_run_is_not_looked_at(
    as_analyst: Client, later: Scored
) -> None:
    run = later.run
    looked_at(run)
    again = Run.objects.create(
        site=run.site, name="Again", kind=run.kind, split=run.split, detector=run.detector, state=RunState.DONE
    )
    of_test = Image.objects.filter(split_images__member__part="test", scores__run=run)
    Score.objects.bulk_create(
        Score(run=again, image=film, row=k, fused_score=9.0) for k, film in enumerate(of_test.order_by("pk"))
    )
    run_folder(again.uuid).symlink_to(run_folder(run.uuid))
    answer, _ = asked(as_analyst, detector_run(later))
    assert answer["left_out"] == {}
    assert sum(row["films"] for row in answer["all_films"]) == 62 + 24


def test_without_scores_it_says_what_to_do(as_analyst: Client, scored: Scored) -> None:
    Run.objects.filter(pk=scored.run.pk).update(state=RunState.FAILED)
    page = as_analyst.get(reverse("analysis:drift", args=[detector_run(scored).uuid])).content.decode()
    assert "No run has scored films with this detector yet" in page
    assert as_analyst.get(reverse("api-drift", args=[detector_run(scored).uuid])).status_code == 400
    assert as_analyst.get(reverse("api-drift", args=[scored.run.uuid])).status_code == 404  # fitted no detector


def test_only_those_who_see_scores_see_it(client: Client, later: Scored) -> None:
    for person, status in (
        (factories.user("curator", Role.CURATOR, at=later.run.site), 403),
        (factories.user("stranger", Role.ANALYST, at=factories.site("Elsewhere")), 404),
    ):
        client.force_login(person)
        assert client.get(reverse("analysis:drift", args=[detector_run(later).uuid])).status_code == status


def test_the_figure_as_csv_has_the_numbers_of_the_api(as_analyst: Client, later: Scored) -> None:
    run = detector_run(later)
    answer, page = asked(as_analyst, run)
    assert reverse("analysis:drift-csv", args=[run.uuid]) in page
    files = [as_analyst.get(reverse(door, args=[run.uuid])) for door in ("analysis:drift-csv", "api-drift-csv")]
    assert files[0].content == files[1].content
    rows = list(csv.DictReader(io.StringIO(files[0].text)))
    for counted, key in (("all", "all_films"), ("normal", "normals")):
        for row, batch in zip([row for row in rows if row["counted"] == counted], answer[key], strict=True):
            assert (row["import"], row["count [films]"], row["reason"]) == (
                batch["name"], str(batch["films"]), batch["reason"],
            )  # fmt: skip
            above = batch["above"] or {"auroc": None, "low": None, "high": None}
            numbers = [above["auroc"], above["low"], above["high"], batch["adjusted_p_value"]]
            columns = ("higher", "higher_low", "higher_high", "p_value_holm")
            assert [row[column] for column in columns] == ["" if number is None else repr(number) for number in numbers]
    assert {row["threshold [score]"] for row in rows} == {repr(answer["threshold"])}
    assert {row["calibration [films]"] for row in rows} == {"40"}
    assert all("Films left out: 12 in test, at which nobody has looked." in row["notice"] for row in rows)
    looked_at(later.run)
    seen = as_analyst.get(reverse("api-drift-csv", args=[run.uuid])).text
    assert "at which nobody has looked" not in seen


def test_the_csv_is_refused_as_the_page_is(as_analyst: Client, scored: Scored, client: Client) -> None:
    Run.objects.filter(pk=scored.run.pk).update(state=RunState.FAILED)
    for door in ("analysis:drift-csv", "api-drift-csv"):
        refused = as_analyst.get(reverse(door, args=[detector_run(scored).uuid]))
        assert (refused.status_code, "No run has scored films with this detector yet" in refused.text) == (400, True)
    client.force_login(factories.user("colleague", Role.CURATOR))
    assert client.get(reverse("api-drift-csv", args=[detector_run(scored).uuid])).status_code == 403
