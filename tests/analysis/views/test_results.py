"""Result pages: what they show, to whom, and what counts as a look at test."""

from __future__ import annotations

import csv
import io
import json
import shutil
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import looks_at_test
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.models import Evaluation
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run, Score
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored, looked_at, scored_run
from tests.analysis.worklists import calibrated
from tests.ml_engine.scored_folders import change_summary
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


def film_address(name: str, scored: Scored, row: int = 0) -> str:
    return reverse(f"analysis:{name}", args=[scored.run.uuid, scored.films[row].uuid])


def another_scored_run(scored: Scored) -> Run:
    """Of the same films by the same detector."""
    old = scored.run
    run = Run.objects.create(
        site=old.site, name="Again", kind=old.kind, split=old.split, detector=old.detector, state=old.state
    )
    shutil.copytree(run_folder(old.uuid), run_folder(run.uuid))
    for score in Score.objects.filter(run=old):
        score.pk, score.run = None, run
        score.save()
    return run


def figures_address(evaluation: Evaluation) -> str:
    return reverse("analysis:figures", args=[evaluation.uuid])


# The list -----------------------------------------------------------------------------------------------


def test_the_list_offers_to_evaluate(as_analyst: Client, scored: Scored) -> None:
    page = as_analyst.get(reverse("analysis:results")).content.decode()
    assert reverse("analysis:make-evaluation", args=[scored.run.uuid]) in page


def test_the_list_without_runs_says_what_to_do(as_analyst: Client) -> None:
    assert "has scored films yet" in as_analyst.get(reverse("analysis:results")).content.decode()


def test_evaluating_leads_to_the_evaluation(as_analyst: Client, scored: Scored) -> None:
    answer = as_analyst.post(reverse("analysis:make-evaluation", args=[scored.run.uuid]))
    assert answer.url == reverse("analysis:evaluation", args=[Evaluation.objects.get().uuid])


def test_the_list_asks_the_database_no_more_for_more_runs(
    as_analyst: Client, scored: Scored, analyst: User, django_assert_num_queries: Any
) -> None:
    evaluate(run=scored.run, author=analyst)
    with CaptureQueriesContext(connection) as few:
        as_analyst.get(reverse("analysis:results"))
    for seed in (1, 2):
        evaluate(run=scored_run(scored.run.site, author=analyst, seed=seed).run, author=analyst)
    with django_assert_num_queries(len(few)):
        as_analyst.get(reverse("analysis:results"))


def test_the_list_counts_the_looks_at_a_split_as_its_pages_do(
    as_analyst: Client, scored: Scored, analyst: User
) -> None:
    first = evaluate(run=scored.run, author=analyst)
    again = another_scored_run(scored)
    second = evaluate(run=again, author=analyst)
    other = scored_run(scored.run.site, author=analyst, seed=1)
    evaluate(run=other.run, author=analyst)
    runs = {run.pk: run for run in as_analyst.get(reverse("analysis:results")).context["runs"]}
    looks = [runs[run.pk].evaluations.all()[0].looks_of_split for run in (scored.run, again, other.run)]
    assert looks == [2, 2, 1]
    for one in (first, second):
        assert as_analyst.get(reverse("analysis:evaluation", args=[one.uuid])).context["looks"] == 2
        assert as_analyst.get(reverse("api-evaluation", args=[one.uuid])).json()["looks_at_test"] == 2


# The evaluation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["tune", "test"])
def test_the_page_shows_the_three_areas(as_analyst: Client, evaluation: Evaluation, part: str) -> None:
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]), {"part": part}).content.decode()
    for kind in ("global", "region", "fused"):
        auroc = evaluation.metrics["parts"][part]["auroc"][kind]
        assert f"{auroc['auroc']:.3f} ({auroc['low']:.3f}–{auroc['high']:.3f})" in page


def test_tune_comes_first(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]))
    assert page.context["part"] == "tune"
    assert page.context["parts"] == ["tune", "test"]


def test_a_run_of_test_alone_says_so(as_analyst: Client, scored: Scored, analyst: User) -> None:
    Score.objects.filter(run=scored.run, image__in=scored.films[:12]).delete()
    evaluation = evaluate(run=scored.run, author=analyst)
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]))
    assert page.context["parts"] == ["test"]
    assert "This run did not score tune, so no best weight can be chosen there." in page.text


def test_evaluating_a_run_of_other_parts_says_what_to_score(as_analyst: Client, scored: Scored) -> None:
    Score.objects.filter(run=scored.run).delete()
    answer = as_analyst.post(reverse("analysis:make-evaluation", args=[scored.run.uuid]))
    assert (answer.status_code, "scored no film of tune or test" in answer.text) == (400, True)
    assert looks_at_test(scored.split) == 0


def test_random_weights_are_loud_on_page_figures_and_export(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]))
    assert page.content.decode().count(RANDOM_WEIGHTS) >= 4  # the banner and each of the three figures
    table = as_analyst.get(reverse("analysis:table", args=[evaluation.uuid])).content.decode()
    assert all(row["notice"] == f"{RANDOM_WEIGHTS}. {NOTICE}" for row in csv.DictReader(io.StringIO(table)))


def test_the_admin_says_the_notices_too(client: Client, evaluation: Evaluation) -> None:
    client.force_login(factories.user("root", is_staff=True, is_superuser=True))
    pages = [
        client.get(reverse("admin:analysis_evaluation_changelist")),
        client.get(reverse("admin:analysis_evaluation_change", args=[evaluation.pk])),
    ]
    for page in pages:
        assert page.text.count(RANDOM_WEIGHTS) == page.text.count(NOTICE) == 1


def test_trained_weights_are_not_called_random(as_analyst: Client, data_dir: Any, analyst: User) -> None:
    other = scored_run(factories.site(), author=analyst, random_weights=False)
    evaluation = evaluate(run=other.run, author=analyst)
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]))
    assert RANDOM_WEIGHTS not in page.content.decode()
    table = as_analyst.get(reverse("analysis:table", args=[evaluation.uuid])).text
    assert {row["notice"] for row in csv.DictReader(io.StringIO(table))} == {NOTICE}


def test_looking_at_the_page_again_is_no_look(as_analyst: Client, evaluation: Evaluation) -> None:
    for part in ("tune", "test"):
        as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]), {"part": part})
    assert looks_at_test(evaluation.split) == 1


def test_the_weight_moves_freely_on_tune(as_analyst: Client, evaluation: Evaluation, scored: Scored) -> None:
    from sklearn.metrics import roc_auc_score

    answer = as_analyst.get(figures_address(evaluation), {"part": "tune", "weight": "0.25"}).json()
    expected = roc_auc_score([0] * 6 + [1] * 6, scored.sweep[:12, 25])
    assert 'data-auroc="fused"' in answer["summary"]
    assert f"> {expected:.3f} (" in one_line(answer["summary"])
    assert set(answer["figures"]) == {"roc", "sweep", "histogram"}
    assert looks_at_test(evaluation.split) == 1


def test_another_weight_on_test_is_refused_unasked(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.get(figures_address(evaluation), {"part": "test", "weight": "0.25"})
    assert (answer.status_code, looks_at_test(evaluation.split)) == (403, 1)
    assert "counts as a look" in answer.json()["error"]


def test_another_weight_on_test_is_counted(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.post(figures_address(evaluation), {"part": "test", "weight": "0.25"}).json()
    assert answer["looks"] == looks_at_test(evaluation.split) == 2


@pytest.mark.parametrize("weight", ["", "nan", "inf", "1.2", "-0.1", "half", "0.333"])
def test_a_weight_that_is_none_is_refused(as_analyst: Client, evaluation: Evaluation, weight: str) -> None:
    answer = as_analyst.get(figures_address(evaluation), {"part": "tune", "weight": weight})
    assert answer.status_code == 400
    assert "not one of 0, 0.01 … 1" in answer.json()["error"]


def test_the_table_holds_every_film_with_its_scores(as_analyst: Client, evaluation: Evaluation, scored: Scored) -> None:
    text = as_analyst.get(reverse("analysis:table", args=[evaluation.uuid])).content.decode()
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    for number, film in enumerate(scored.films):
        row = rows[str(film.uuid)]
        assert float(row["fused"]) == pytest.approx(scored.sweep[number, 60], rel=1e-6)
        assert row["label"] == film.current_label.value


def test_the_table_joins_to_the_sheet_of_the_study_and_has_p_values(
    as_analyst: Client, analyst: User, data_dir: Any
) -> None:
    facts = [*[{}] * 20, {"original_name": "-ward/12.png"}, *[{}] * 3]
    scored = scored_run(factories.site(), author=analyst, facts=facts)
    film = scored.films[20]
    factories.event(film, "abnormal", findings=["Nodule", "=Mass"])
    factories.event(scored.films[0], "normal")
    normals = [float(value) for value in np.sort(scored.sweep[:19, 60])]
    calibrated(scored.run, normals, list(range(19)))
    evaluation = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    text = as_analyst.get(reverse("analysis:table", args=[evaluation.uuid])).text
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    row = rows[str(film.uuid)]
    assert (row["original_name"], row["part"], row["findings"]) == ("'-ward/12.png", "test", "Nodule|=Mass")
    as_high = sum(normal >= scored.sweep[20, 60] for normal in normals)
    assert float(row["p_value"]) == pytest.approx((1 + as_high) / 20)
    assert row["calibration_patients"] == "19"
    assert rows[str(scored.films[0].uuid)]["findings"] == ""


def test_a_film_says_of_how_many_normals_it_is_above(as_analyst: Client, scored: Scored) -> None:
    calibrated(scored.run, [-2.0, -1.0, 99.0], [0, 1, 2])
    page = " ".join(as_analyst.get(film_address("film", scored)).text.split())
    assert "2 of 3 patients of calibration normals" in page
    assert "(21 %–94 %)" in page
    assert "0.500, n = 3" in page
    listed = as_analyst.get(reverse("analysis:film-scores", args=[scored.films[0].uuid])).text
    assert "above 2 of 3 patients of calibration normals" in " ".join(listed.split())


def test_the_list_gives_n_and_says_where_there_is_no_interval(
    as_analyst: Client, evaluation: Evaluation, scored: Scored
) -> None:
    page = " ".join(as_analyst.get(reverse("analysis:results")).text.split())
    assert page.count("n = 6 normal, 6 abnormal of 12 patients") == 2
    area = {"auroc": 0.75, "low": None, "high": None, "reason": "One patient only."}
    evaluation.metrics["parts"]["test"]["auroc"]["fused"] = area
    evaluation.save()
    page = " ".join(as_analyst.get(reverse("analysis:results")).text.split())
    assert '0.750 <span class="text-secondary" title="One patient only.">no interval</span>' in page


# One film -----------------------------------------------------------------------------------------------


def test_the_overlay_says_how_the_maps_lie(as_analyst: Client, scored: Scored) -> None:
    facts = as_analyst.get(film_address("overlay", scored)).json()
    assert (facts["rows"], facts["columns"], facts["stride"]) == (4, 4, 8)
    assert facts["original_from_canonical"] == [[0.5, 0, 0], [0, 0.75, 0]]
    assert (facts["weight"], facts["weight_locked"], facts["random_weights"]) == (0.6, False, True)


def test_the_weight_is_locked_on_a_film_of_test(as_analyst: Client, scored: Scored) -> None:
    looked_at(scored.run)
    assert as_analyst.get(film_address("overlay", scored, row=20)).json()["weight_locked"] is True


def test_the_maps_are_the_stored_ones(as_analyst: Client, scored: Scored) -> None:
    body = as_analyst.get(film_address("maps", scored, row=5)).content
    stored = ScoredFolder(run_folder(scored.run.uuid)).array("maps")[5]
    np.testing.assert_array_equal(np.frombuffer(body, "<f4").reshape(2, 4, 4), stored)


def test_a_film_page_says_its_scores(as_analyst: Client, scored: Scored) -> None:
    page = as_analyst.get(film_address("film", scored)).content.decode()
    assert f"{scored.sweep[0, 60]:.3f}" in page
    assert RANDOM_WEIGHTS in page


def test_a_film_page_says_that_the_film_was_aligned_by_hand(as_analyst: Client, scored: Scored) -> None:
    address = reverse("analysis:film", args=[scored.run.uuid, scored.films[2].uuid])
    assert "Aligned by hand" not in as_analyst.get(address).content.decode()
    row = Score.objects.get(run=scored.run, image=scored.films[2]).row
    change_summary(run_folder(scored.run.uuid), by_hand=[row])
    assert "Aligned by hand" in as_analyst.get(address).content.decode()
    other = reverse("analysis:film", args=[scored.run.uuid, scored.films[3].uuid])
    assert "Aligned by hand" not in as_analyst.get(other).content.decode()


def test_scores_of_an_unlabelled_test_film_are_hidden_from_who_labels(client: Client, scored: Scored) -> None:
    film = scored.films[20]
    looked_at(scored.run)
    factories.event(film, "unsure", author=factories.curator())
    client.force_login(factories.user("both", Role.ANALYST, Role.CURATOR))
    for name in ("film", "overlay", "maps", "nearest"):
        answer = client.get(film_address(name, scored, row=20))
        assert answer.status_code == 403
        assert f"{scored.sweep[20, 60]:.2f}" not in answer.content.decode()
    fragment = client.get(reverse("analysis:film-scores", args=[film.uuid])).content.decode()
    assert "1 hidden until the film is labelled" in fragment
    assert f"{scored.sweep[20, 60]:.2f}" not in fragment


def test_lost_results_are_said_to_be_lost(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    shutil.rmtree(run_folder(scored.run.uuid))
    lost = "not in the data folder any more; score the films again."
    address = reverse("analysis:evaluation", args=[evaluation.uuid])
    pages = [as_analyst.get(one) for one in (address, reverse("analysis:table", args=[evaluation.uuid]))]
    answers = [as_analyst.get(film_address(name, scored)) for name in ("maps", "overlay")]
    answers.append(as_analyst.get(figures_address(evaluation), {"part": "tune", "weight": "0.5"}))
    assert [answer.status_code for answer in (*pages, *answers)] == [410] * 5
    assert all(lost in page.text and "text/html" in page.headers["Content-Type"] for page in pages)
    assert all(lost in answer.json()["error"] for answer in answers)


def both_hats(client: Client) -> Client:
    """Somebody who sees scores and labels."""
    client.force_login(factories.user("both", Role.ANALYST, Role.CURATOR))
    return client


def worst_miss_reopened(scored: Scored) -> str:
    """The address of the abnormal test film with the lowest score, whose label is now unsure: the split's cut-off
    still calls it abnormal."""
    row = 18 + int(np.argmin(scored.sweep[18:, 60]))
    factories.event(scored.films[row], "unsure", author=factories.curator())
    return str(scored.films[row].uuid)


def test_the_evaluation_names_no_film_whose_score_is_hidden(
    client: Client, scored: Scored, evaluation: Evaluation
) -> None:
    film = worst_miss_reopened(scored)
    page = reverse("analysis:evaluation", args=[evaluation.uuid])
    client.force_login(factories.user("reader", Role.READER))
    assert film in client.get(page, {"part": "test"}).text
    both_hats(client)
    text = client.get(page, {"part": "test"}).text
    assert film not in text
    assert "1 film of test is hidden from you until you have labelled or read it" in text
    assert "hidden from you" not in client.get(page, {"part": "tune"}).text
    moved = client.post(figures_address(evaluation), {"part": "test", "weight": "0.25"})
    assert film not in moved.text
    assert "1 film of test is hidden" in moved.json()["summary"]


def test_a_hidden_film_stays_in_the_curves(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    worst_miss_reopened(scored)
    context = both_hats(client).get(reverse("analysis:evaluation", args=[evaluation.uuid]), {"part": "test"}).context
    assert (context["normal"], context["abnormal"]) == (6, 6)
    area = evaluation.metrics["parts"]["test"]["auroc"]["fused"]["auroc"]
    assert f"{area:.3f} (" in context["rows"][2]["text"]


def test_the_table_leaves_hidden_films_out_and_says_so(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    film = worst_miss_reopened(scored)
    text = both_hats(client).get(reverse("analysis:table", args=[evaluation.uuid])).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert film not in text
    assert len([row for row in rows if row["image"]]) == 23
    (notice_row,) = [row for row in rows if not row["image"]]
    assert (notice_row["part"], notice_row["fused"]) == ("test", "")
    assert notice_row["notice"].startswith("1 film of test is hidden from you until you have labelled or read it")


def test_a_film_s_scores_take_the_same_queries_for_any_number(
    client: Client, scored: Scored, django_assert_num_queries: Any
) -> None:
    both_hats(client)
    looked_at(scored.run)
    address = reverse("analysis:film-scores", args=[scored.films[20].uuid])
    with CaptureQueriesContext(connection) as one:
        client.get(address)
    for _ in range(3):
        looked_at(another_scored_run(scored))
    with django_assert_num_queries(len(one)):
        assert client.get(address).text.count("<li") == 4
    # session, user, site, film, scores, parts twice, withheld, looks, worklists; the rule, for the one part; the record
    assert len(one) <= 14


# Who may ------------------------------------------------------------------------------------------------


def addresses(scored: Scored, evaluation: Evaluation) -> list[str]:
    return [
        reverse("analysis:evaluation", args=[evaluation.uuid]),
        figures_address(evaluation) + "?part=tune&weight=0.5",
        reverse("analysis:table", args=[evaluation.uuid]),
        *(film_address(name, scored) for name in ("film", "overlay", "maps", "nearest")),
        reverse("api-evaluation", args=[evaluation.uuid]),
    ]


def test_another_site_s_results_do_not_exist(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    client.force_login(factories.user("stranger", Role.MANAGER, at=factories.site("Busan")))
    assert {client.get(address).status_code for address in addresses(scored, evaluation)} == {404}


def test_a_curator_sees_no_scores(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    client.force_login(factories.curator("only labels"))
    assert {client.get(address).status_code for address in addresses(scored, evaluation)} == {403}


def test_a_reader_sees_but_does_not_evaluate(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    client.force_login(factories.user("reader", Role.READER))
    assert client.get(reverse("analysis:evaluation", args=[evaluation.uuid])).status_code == 200
    assert client.post(figures_address(evaluation), {"part": "test", "weight": "0.1"}).status_code == 403
    assert client.post(reverse("analysis:make-evaluation", args=[scored.run.uuid])).status_code == 403
    assert looks_at_test(evaluation.split) == 1


# By API -------------------------------------------------------------------------------------------------


def test_the_api_tells_the_same_numbers(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.get(reverse("api-evaluation", args=[evaluation.uuid])).json()
    assert answer["metrics"] == json.loads(json.dumps(evaluation.metrics))
    assert (answer["looks_at_test"], answer["random_weights"]) == (1, True)


def test_a_token_lists_and_makes_evaluations(client: Client, scored: Scored, analyst: User) -> None:
    token = {"HTTP_AUTHORIZATION": f"Token {factories.api_token(analyst)}"}
    created = client.post(reverse("api-evaluate", args=[scored.run.uuid]), **token)
    assert created.status_code == 201
    listed = client.get(reverse("api-evaluations"), **token).json()["results"]
    assert [row["uuid"] for row in listed] == [created.json()["uuid"]]


def test_the_api_takes_the_same_queries_for_any_number_of_evaluations(
    as_analyst: Client, scored: Scored, analyst: User, django_assert_num_queries: Any
) -> None:
    for seed in (1, 2, 3):
        evaluate(run=scored_run(scored.run.site, author=analyst, seed=seed).run, author=analyst)
    with django_assert_num_queries(5):  # session, user, site, count, evaluations
        assert as_analyst.get(reverse("api-evaluations")).json()["count"] == 3


def test_a_film_without_a_score_says_why_it_has_no_heatmap(as_analyst: Client, scored: Scored) -> None:
    Score.objects.filter(run=scored.run, image=scored.films[0]).update(
        error="The file is cut off.", fused_score=None, global_score=None, region_score=None
    )
    answer = as_analyst.get(film_address("overlay", scored))
    assert (answer.status_code, answer.json()["error"]) == (410, "This film has no heatmap: The file is cut off.")


def test_while_the_slider_moves_the_band_keeps_its_place(as_analyst: Client, evaluation: Evaluation) -> None:
    address = reverse("analysis:figures", args=[evaluation.uuid])
    query = {"part": "tune", "weight": "0.3"}
    moving = as_analyst.get(address, query | {"moving": "yes"}).json()
    resting = as_analyst.get(address, query).json()
    assert "band" in resting["figures"]["roc"]["data"][0]["name"]
    assert moving["figures"]["roc"]["data"][0]["x"] == [None]
    assert moving["figures"]["roc"]["data"][1:] == resting["figures"]["roc"]["data"][1:]
    assert moving["figures"]["roc"]["layout"]["height"] == resting["figures"]["roc"]["layout"]["height"]
    for same in ("sweep", "histogram"):
        assert moving["figures"][same] == resting["figures"][same]
    assert moving["summary"] == resting["summary"]


def test_an_old_split_with_a_film_in_two_parts_is_marked_wherever_its_results_are_shown(
    client: Client, scored: Scored, analyst: User, evaluation: Evaluation
) -> None:
    client.force_login(analyst)
    page = client.get(reverse("analysis:evaluation", args=[evaluation.uuid])).content.decode()
    assert "in two parts" not in page
    copy = factories.copy(scored.films[0], factories.dataset("Copies", at=scored.split.site))
    factories.put_in_unchecked(scored.split, {"fit": [copy]})
    page = one_line(client.get(reverse("analysis:evaluation", args=[evaluation.uuid])))
    assert "1 film of this split is in two parts, as copies of one film. These results may be too good" in page
    drawn = client.get(figures_address(evaluation), {"part": "tune", "weight": "0.25"}).json()["figures"]["roc"]
    assert "1 film of this split is in two parts" in json.dumps(drawn).replace("<br>", " ")
