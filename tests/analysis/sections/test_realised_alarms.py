"""False-alarm rates by view position and scanner, in the evaluated part and, held out, in calibrate."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import apply_operating_point
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.realised_alarms import AlarmRate, RealisedAlarms, realised_alarms
from analysis.statistics import clustered_rate
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.runs.paths import run_folder
from portal.models import Image, User
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine.scored_folders import change_summary
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db
SCORES = np.linspace(2, 4, 20)


def row(part: str, image: str) -> ManifestRow:
    return ManifestRow(filename=f"{image}.png", image=image, part=part, label="normal")


@pytest.fixture
def scored(data_dir: Path, analyst: User) -> Scored:
    """Every second film is AP. 20 films of calibrate, the first 5 of them AP."""
    made = scored_run(factories.site(), author=analyst, facts=({"view": "PA"}, {"view": "AP"}) * 12)
    films = [factories.film(made.films[0].dataset, "normal", view="AP" if n < 5 else "PA") for n in range(20)]
    assert made.run.detector is not None
    folder = run_folder(made.run.detector.run.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row("fit", "x"), *(row("calibrate", str(film.uuid)) for film in films)]
    manifest.write(folder / "images.csv", rows, with_labels=True)
    change_summary(
        run_folder(made.run.uuid), calibration_scores=SCORES.tolist(), calibration_patients=list(range(20)),
        calibration_order=list(range(20)),
    )  # fmt: skip
    return made


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


def alarms_of(evaluation: Evaluation, target: float = 0.9) -> dict[str, RealisedAlarms]:
    scored = evaluated_part(evaluation, "test")
    reached = apply_operating_point(evaluation, scored, weight=0.6, point=RequestedPoint(target=target))
    return {alarms.part: alarms for alarms in realised_alarms(evaluation, scored, reached)}


def test_normal_films_of_the_part_are_counted_by_view(scored: Scored, evaluation: Evaluation) -> None:
    alarms = alarms_of(evaluation, 0.5)["test"]
    threshold = SCORES[10]  # the 11th of 20, ceil(0.5 * 21)
    called = scored.sweep[12:18, 60] > threshold
    expected = {"All normal films": called, "View position PA": called[::2], "View position AP": called[1::2]}
    assert {row.words for row in alarms.rates} == set(expected)
    for row in alarms.rates:
        assert row.rate == clustered_rate(expected[row.words])


def test_normal_films_are_counted_with_and_without_each_attribute(scored: Scored, analyst: User) -> None:
    test, site = scored.films[12:18], scored.run.site
    one = factories.curator("one")
    factories.label_films(images=[test[0], test[3]], value="normal", attributes=["device"], author=one, site=site)
    calibrate = Image.objects.filter(dataset=test[0].dataset).order_by("-pk")[:2]  # the two highest scores
    factories.label_films(images=calibrate, value="normal", attributes=["variant"], author=one, site=site)
    evaluation = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    factories.label_films(images=[test[1]], value="normal", attributes=["old fracture"], author=one, site=site)
    of_part = alarms_of(evaluation, 0.5)
    by_words = {row.words: row.rate for row in of_part["test"].rates}
    called = scored.sweep[12:18, 60] > SCORES[10]
    assert by_words["Normal films with device"] == clustered_rate(called[[0, 3]])
    assert by_words["Normal films without device"] == clustered_rate(called[[1, 2, 4, 5]])
    assert not any("old fracture" in words for words in by_words)  # given after the cut-off
    held_out = {row.words: (row.rate.successes, row.rate.total) for row in of_part["calibrate"].rates}
    assert held_out["Normal films with variant"] == (2, 2)
    assert held_out["Normal films without variant"][1] == 18


def test_calibrate_is_called_by_the_threshold_of_the_others(evaluation: Evaluation) -> None:
    alarms = alarms_of(evaluation)["calibrate"]
    by_words = {row.words: row.rate for row in alarms.rates}
    # of 19 others the 18th: the two highest films pass it, and both are PA
    assert (by_words["All normal films"].successes, by_words["All normal films"].total) == (2, 20)
    assert (by_words["View position PA"].successes, by_words["View position PA"].total) == (2, 15)
    assert (by_words["View position AP"].successes, by_words["View position AP"].total) == (0, 5)


@pytest.mark.parametrize("change", [{"calibration_order": None}, {"calibration_order": list(range(19))}])
def test_without_the_order_of_the_fit_calibrate_is_left_out(
    scored: Scored, evaluation: Evaluation, change: dict[str, list[int] | None]
) -> None:
    change_summary(run_folder(scored.run.uuid), **change)
    assert set(alarms_of(evaluation)) == {"test"}


def test_an_erased_calibration_film_is_left_out(evaluation: Evaluation) -> None:
    assert evaluation.run.detector is not None
    path = run_folder(evaluation.run.detector.run.uuid) / "images.csv"
    rows = manifest.read(path)
    manifest.write(path, [*rows[:-1], row("calibrate", str(uuid4()))], with_labels=True)
    total = alarms_of(evaluation)["calibrate"].rates[0]
    assert isinstance(total, AlarmRate)
    assert (total.rate.successes, total.rate.total) == (1, 19)


def test_page_and_api_show_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "test"}).json()
    page = one_line(as_analyst.get(reverse("analysis:operating", args=[evaluation.uuid]), {"part": "test"}))
    for part, rates in answer["false_alarm_rates"].items():
        assert f'data-alarms="{part}"' in page
        for row in rates:
            assert f"{row['rate']['successes']} of {row['rate']['total']}</td>" in page
    assert "False-alarm rate in calibrate, each film at the threshold of the other patients" in page
    assert "View position AP" in page
