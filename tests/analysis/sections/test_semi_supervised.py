"""A semi-supervised head beside the one-class score: numbers, page and API, operating points, galleries, scores.csv."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import roc_auc_score

from analysis import statistics
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.semi_supervised import compare_head
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import HeadModel, Score
from ml_engine.runs.paths import run_folder
from portal.models import Part, User
from tests.analysis.headed import call_by_head, with_head
from tests.analysis.scored import Scored
from tests.pages import one_line

pytestmark = pytest.mark.django_db


@pytest.fixture
def head(scored: Scored) -> HeadModel:
    return with_head(scored, trained=scored.films[6:8])


@pytest.fixture
def evaluation(scored: Scored, head: HeadModel, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


def columns(scored: Scored, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """The labels and `SEMI_SUPERVISED` scores of films of the scored run."""
    films = scored.films[part]
    labels = np.array([film.label_events.get().value == "abnormal" for film in films])
    return labels, ScoredFolder(run_folder(scored.run.uuid)).semi_supervised.columns[part]


def test_the_areas_are_those_of_scikit_learn_and_the_gain_is_paired(scored: Scored, evaluation: Evaluation) -> None:
    result = compare_head(evaluation, evaluated_part(evaluation, "test"))
    labels, scores = columns(scored, slice(12, 24))
    one_class = scored.sweep[12:, 60]
    for name, values in (("one-class", one_class), ("head", scores[:, 1]), ("combined", scores[:, 3])):
        assert result.aurocs[name].auroc == pytest.approx(roc_auc_score(labels, values))
    assert result.gain.difference == pytest.approx(
        roc_auc_score(labels, scores[:, 3]) - roc_auc_score(labels, one_class)
    )
    assert result.gain.low is not None and result.gain.low < result.gain.difference
    assert result.trained == 0


def test_films_that_trained_the_head_are_counted(evaluation: Evaluation) -> None:
    assert compare_head(evaluation, evaluated_part(evaluation, "tune")).trained == 2


def test_page_and_api_name_the_scores_and_give_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    page = one_line(as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid])).text)
    assert "Semi-supervised, beside the one-class score" in page and "semi-supervised: combined" in page
    section = one_line(as_analyst.get(reverse("analysis:semi-supervised", args=[evaluation.uuid]) + "?part=tune").text)
    answer = as_analyst.get(reverse("api-semi-supervised", args=[evaluation.uuid]), {"part": "tune"}).json()
    assert f"{answer['aurocs']['combined']['auroc']:.3f}" in section
    assert "2 films of patients whose films trained the head are left out" in section
    for name in ("One-class", "Semi-supervised head", "Semi-supervised combined"):
        assert f'<th scope="row">{name}</th>' in section
    for name in ("One-class", "Head alone", "Combined", "Head and combined score are semi-supervised"):
        assert name in section
    assert "random weights" in section
    assert answer["random_weights"] is True


def test_a_run_without_a_head_has_no_section(scored: Scored, as_analyst: Client, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    assert "emi-supervised" not in as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid])).text
    section = as_analyst.get(reverse("analysis:semi-supervised", args=[evaluation.uuid])).text
    assert "has no semi-supervised head" in section
    assert as_analyst.get(reverse("api-semi-supervised", args=[evaluation.uuid])).status_code == 410
    refused = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"score": "combined"})
    assert (refused.status_code, "has no semi-supervised head" in refused.json()["detail"]) == (410, True)


# Operating points ---------------------------------------------------------------------------------------


def operating(client: Client, evaluation: Evaluation, **query: str) -> dict[str, object]:
    answer = client.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "test", "score": "combined"} | query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_specificity_is_fixed_on_the_combined_scores_of_the_calibration_normals(
    scored: Scored, as_analyst: Client, evaluation: Evaluation
) -> None:
    answer = operating(as_analyst, evaluation, rule="specificity", target="0.9")
    normals = ScoredFolder(run_folder(scored.run.uuid)).semi_supervised.summary.calibration_combined
    expected = statistics.threshold_at_specificity(normals, specificity=0.9, patients=np.arange(20))
    assert (answer["score"], answer["source"]) == ("combined", "calibrate")
    assert answer["threshold"] == pytest.approx(expected)
    labels, scores = columns(scored, slice(12, 24))
    assert answer["true_positives"] == int((scores[labels, 3].astype(np.float32) >= answer["threshold"]).sum())
    assert answer["promised"] is not None
    assert set(answer["false_alarm_rates"]) == {"test"}


def test_a_sensitivity_is_fixed_on_tune_by_heads_without_the_films_patient(
    scored: Scored, head: HeadModel, as_analyst: Client, evaluation: Evaluation
) -> None:
    answer = operating(as_analyst, evaluation, rule="sensitivity", target="0.7")
    nested = sorted((head.tune[str(film.uuid)][2] for film in scored.films[6:12]), reverse=True)
    assert answer["source"] == Part.TUNE
    assert answer["reference_films"] == 6  # also those that trained the head
    assert answer["threshold"] == pytest.approx(nested[4])  # the 5th of 6, ceil(0.7 * 7)
    on_tune = as_analyst.get(
        reverse("api-operating", args=[evaluation.uuid]), {"part": "tune", "score": "combined", "rule": "sensitivity"}
    )
    assert "is not applied to tune itself" in on_tune.json()["reason"]


def test_the_section_of_the_operating_point_names_the_score(as_analyst: Client, evaluation: Evaluation) -> None:
    address = reverse("analysis:operating", args=[evaluation.uuid])
    combined = one_line(as_analyst.get(address, {"part": "test", "score": "combined"}).text)
    assert "at a semi-supervised combined score of" in combined and 'data-score="combined"' in combined
    one_class = one_line(as_analyst.get(address, {"part": "test", "rule": "sensitivity", "target": "0.8"}).text)
    assert "at a fused score of" in one_class


def test_galleries_are_ordered_by_the_combined_score(
    scored: Scored, as_analyst: Client, evaluation: Evaluation
) -> None:
    query = {"part": "test", "score": "combined", "rule": "specificity", "target": "0.9"}
    answer = as_analyst.get(reverse("api-galleries", args=[evaluation.uuid]), query).json()
    shown = [film["score"] for film in answer["galleries"]["true_positives"]["shown"]]
    labels, scores = columns(scored, slice(12, 24))
    called = sorted(scores[labels, 3][scores[labels, 3] >= answer["threshold"]], reverse=True)
    assert shown == pytest.approx(called)
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), query).text)
    assert "At a semi-supervised combined score of" in page


def test_scores_csv_names_each_score(as_analyst: Client, evaluation: Evaluation, scored: Scored) -> None:
    text = as_analyst.get(reverse("analysis:table", args=[evaluation.uuid])).text
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    for score in Score.objects.filter(run=scored.run).select_related("image"):
        row = rows.get(str(score.image.uuid))
        if row is not None:
            assert float(row["semi_supervised_combined"]) == pytest.approx(score.combined_score, rel=1e-8)
            assert float(row["semi_supervised_head"]) == pytest.approx(score.head_score, rel=1e-8)
            assert float(row["one_class_z"]) == pytest.approx(score.one_class_z, rel=1e-8)
    assert len(rows) == 22


# The film -----------------------------------------------------------------------------------------------


def address(name: str, scored: Scored, row: int = 0) -> str:
    return reverse(f"analysis:{name}", args=[scored.run.uuid, scored.films[row].uuid])


def test_the_page_of_a_film_names_each_score_and_offers_the_heads_map(
    scored: Scored, head: HeadModel, as_analyst: Client
) -> None:
    score = Score.objects.get(run=scored.run, image=scored.films[6])
    page = one_line(as_analyst.get(address("film", scored, 6)).text)
    assert "Semi-supervised combined</dt>" in page and f"{score.combined_score:.2f} SD" in page
    assert "Fused" in page and "One-class map" in page
    assert "The combined score does not call this film abnormal at a false-alarm rate of" in page  # p is 0.5
    of_head = one_line(as_analyst.get(address("film", scored, 6) + "?map=head").text)
    assert f"{address('overlay', scored, 6)}?map=head" in of_head
    assert "where its evidence is, not the outline of a lesion" in of_head
    listed = one_line(as_analyst.get(reverse("analysis:film-scores", args=[scored.films[6].uuid])).text)
    assert "semi-supervised head" in listed


def test_a_film_that_the_head_alone_calls_shows_the_heads_map(
    scored: Scored, head: HeadModel, as_analyst: Client
) -> None:
    of_head = f"{address('overlay', scored, 6)}?map=head"
    assert of_head not in as_analyst.get(address("film", scored, 6)).text
    call_by_head(scored, [6])
    page = one_line(as_analyst.get(address("film", scored, 6)).text)
    assert of_head in page and "where its evidence is, not the outline of a lesion" in page
    assert "The combined score calls this film abnormal" in page
    assert of_head not in as_analyst.get(address("film", scored, 6) + "?map=one-class").text
    assert f"{address('overlay', scored, 7)}?map=head" not in as_analyst.get(address("film", scored, 7)).text
    call_by_head(scored, [6], also_by_one_class=True)
    assert of_head not in as_analyst.get(address("film", scored, 6)).text


def test_galleries_draw_what_the_head_saw_in_films_that_it_alone_calls(
    scored: Scored, as_analyst: Client, evaluation: Evaluation
) -> None:
    query = {"part": "test", "score": "combined", "rule": "specificity", "target": "0.9"}

    def shown(**changes: str) -> dict[str, dict[str, object]]:
        answer = as_analyst.get(reverse("api-galleries", args=[evaluation.uuid]), query | changes).json()
        return {film["image"]: film for gallery in answer["galleries"].values() for film in gallery["shown"]}

    before = shown()
    assert not any(film["is_of_head"] for film in before.values())
    call_by_head(scored, [18])
    after, called = shown(), str(scored.films[18].uuid)
    assert {image for image, film in after.items() if film["is_of_head"]} == {called}
    contributions = ScoredFolder(run_folder(scored.run.uuid)).contributions_of(18)
    row, column = np.unravel_index(np.nanargmax(contributions), contributions.shape)
    assert after[called]["hottest"] == pytest.approx([(column + 0.5) * 8 * 0.5, (row + 0.5) * 8 * 0.75])
    assert {k: v for k, v in after.items() if k != called} == {k: v for k, v in before.items() if k != called}
    assert not any(film["is_of_head"] for film in shown(score="one-class").values())
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), query).text)
    assert page.count("head's evidence</span>") == 1
    assert "Abnormal film, semi-supervised combined score" in page


def test_the_heads_map_lies_on_the_grid_of_the_others(scored: Scored, head: HeadModel, as_analyst: Client) -> None:
    usual = as_analyst.get(address("overlay", scored)).json()
    facts = as_analyst.get(address("overlay", scored) + "?map=head").json()
    same = ("rows", "columns", "stride", "size", "original_from_canonical")
    assert {name: facts[name] for name in same} == {name: usual[name] for name in same}
    assert facts["mean"] is None and facts["weight_locked"] is True
    assert facts["scale_words"] == "Contribution to the logit of the semi-supervised head"
    assert "scale_words" not in usual
    assert facts["scale_high"] == pytest.approx(2 * facts["threshold"])
    folder = ScoredFolder(run_folder(scored.run.uuid))
    every = folder.array("semi_supervised_maps")
    assert facts["threshold"] == pytest.approx(np.nanquantile(np.asarray(every, dtype=float), 0.99))
    sent = np.frombuffer(as_analyst.get(facts["maps_url"]).content, "<f4").reshape(2, 4, 4)
    for channel in sent:
        np.testing.assert_array_equal(channel, folder.contributions_of(0))


def test_a_run_without_a_head_has_no_such_map(scored: Scored, as_analyst: Client) -> None:
    answer = as_analyst.get(address("overlay", scored) + "?map=head")
    assert (answer.status_code, "has no semi-supervised head" in answer.json()["error"]) == (400, True)
    assert "emi-supervised" not in as_analyst.get(address("film", scored)).text
