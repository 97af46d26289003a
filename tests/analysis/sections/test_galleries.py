"""Galleries of an evaluation: their films, the order, hidden films, and the place of the heatmap."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.sections import galleries
from analysis.sections.wrong_reasons import peak_misses_boxes
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.models import LabelValue, Role, User
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine.scored_folders import change_array, change_summary
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db
KINDS = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
POINT = {"part": "test", "rule": "specificity", "target": "0.5"}


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evenly_mixed(scored, analyst)


def evenly_mixed(scored: Scored, analyst: User) -> Evaluation:
    """Test scores are evenly mixed, so that no gallery is empty: normal 0, 2, 4 …, abnormal 1, 3, 5 …; the normal tune
    films have 0, 2, 4 …, too."""
    mixed = np.r_[np.arange(6) * 2, np.arange(6) * 2 + 1.0]
    sweep = np.repeat(np.r_[mixed, mixed][:, None], 101, axis=1).astype(np.float32)
    change_array(run_folder(scored.run.uuid), "sweep", sweep)
    return evaluate(run=scored.run, author=analyst)


def galleries_of(client: Client, evaluation: Evaluation, **query: str) -> dict[str, Any]:
    answer = client.get(reverse("api-galleries", args=[evaluation.uuid]), query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def scores(answer: dict[str, Any], kind: str) -> list[float]:
    return [film["score"] for film in answer["galleries"][kind]["shown"]]


def test_each_film_is_in_the_gallery_of_its_call(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = galleries_of(as_analyst, evaluation, **POINT)
    assert 6 < answer["threshold"] < 7  # the fourth of the six normals of tune: half of 6 + 1, rounded up
    assert scores(answer, "true_positives") == [11, 9, 7]
    assert scores(answer, "false_positives") == [10, 8]
    assert scores(answer, "false_negatives") == [1, 3, 5]
    assert scores(answer, "true_negatives") == [6, 4, 2, 0]
    assert [answer["galleries"][kind]["shown"][0]["label"] for kind in KINDS] == [
        "abnormal", "normal", "abnormal", "normal",
    ]  # fmt: skip


def test_films_are_those_of_their_scores(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    answer = galleries_of(as_analyst, evaluation, **POINT)
    films = [str(film.uuid) for film in scored.films[12:]]
    assert answer["galleries"]["false_positives"]["shown"][0]["image"] == films[5]
    assert answer["galleries"]["false_negatives"]["shown"][0]["image"] == films[6]


def test_without_a_threshold_films_come_by_score(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = galleries_of(as_analyst, evaluation, part="tune")
    assert answer["threshold"] is None
    assert "A threshold for tune is never fixed on tune itself" in answer["reason"]
    assert scores(answer, "lowest_abnormal") == [1, 3, 5, 7, 9, 11]
    assert scores(answer, "highest_normal") == [10, 8, 6, 4, 2, 0]


def test_further_films_come_by_page(
    as_analyst: Client, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(galleries, "PAGE", 2)
    first = galleries_of(as_analyst, evaluation, **POINT)["galleries"]["true_positives"]
    assert (first["films"], first["page"], first["pages"]) == (3, 1, 2)
    answer = galleries_of(as_analyst, evaluation, **POINT, kind="true_positives", page="2")
    assert list(answer["galleries"]) == ["true_positives"]
    assert scores(answer, "true_positives") == [7]
    page = as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT).text
    more = re.search(r'hx-get="([^"]+kind=true_positives[^"]+)"', page)
    assert more
    rest = as_analyst.get(more[1].replace("&amp;", "&")).text
    assert re.findall(r'data-score="([^"]+)"', rest) == ["7.0"]
    assert "Show more" not in rest


def test_page_and_api_name_the_same_films(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = galleries_of(as_analyst, evaluation, **POINT)
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT))
    for kind in KINDS:
        block = page.split(f'data-kind="{kind}"')[1].split("</ul>")[0]
        named = re.findall(r'data-image="([^"]+)" data-score="([^"]+)"', block)
        assert named == [(film["image"], str(film["score"])) for film in answer["galleries"][kind]["shown"]]
        assert all(reverse("analysis:film", args=[evaluation.run.uuid, image]) in block for image, _ in named)


def test_hidden_films_are_counted_and_not_named(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    film = scored.films[17]  # the highest normal of test
    factories.event(film, LabelValue.UNSURE, factories.curator("other"))
    person = factories.user("both", Role.ANALYST, Role.CURATOR)
    client.force_login(person)
    answer = galleries_of(client, evaluation, **POINT)
    gallery = answer["galleries"]["false_positives"]
    assert (answer["hidden"], gallery["films"]) == (1, 1)  # of all kinds: the number of each would reveal its label
    assert scores(answer, "false_positives") == [8]
    page = client.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT).text
    assert str(film.uuid) not in page
    assert "1 film of test is hidden from you until you have labelled or read it" in page


def test_the_heatmap_lies_where_the_map_is(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    """One hot patch, row 2 and column 1 of 4 × 4 with 8 pixels a patch, on a film that the canonical frame holds turned
    by 90 degrees and shifted."""
    folder = run_folder(scored.run.uuid)
    change_summary(folder, threshold_map=2.0)
    maps = np.ones((24, 2, 4, 4), dtype=np.float32)
    maps[:, :, 2, 1] = 3.0
    change_array(folder, "maps", maps)
    turned = np.array([[0.0, 0.5, 2.0], [-0.5, 0.0, 20.0]])  # x = y' / 2 + 2, y = 20 - x' / 2
    change_array(folder, "original_from_canonical", np.tile(turned, (24, 1, 1)))
    film = galleries_of(as_analyst, evaluation, **POINT)["galleries"]["true_positives"]["shown"][0]
    assert film["hottest"] == [0.5 * 20 + 2, 20 - 0.5 * 12]  # of the canonical (12, 20)
    ends = np.array(re.findall(r"[ML]([\d.e-]+) ([\d.e-]+)", film["lines"]), dtype=float)
    assert len(ends) >= 8
    away = np.abs(ends - film["hottest"]).max(axis=0)
    assert 1 <= away[0] <= 3  # half a patch is 2 original pixels; the line at half height runs there
    assert 1 <= away[1] <= 3
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT))
    assert 'viewBox="0 0 20 24.0"' in page
    assert f'd="{film["lines"]}"' in page
    assert f'cx="{film["hottest"][0]}" cy="{film["hottest"][1]}"' in page


def test_tiles_carry_name_findings_and_boxes(as_analyst: Client, analyst: User, data_dir: object) -> None:
    """Film 23 is the highest abnormal one of test."""
    named = [*[{}] * 23, {"original_name": "<b>7.png"}]
    scored = scored_run(factories.site(), author=analyst, facts=named)
    with_boxes = marked(scored, evenly_mixed(scored, analyst), {23: (4, 12, 8, 6)})
    shown = galleries_of(as_analyst, with_boxes, **POINT)["galleries"]["true_positives"]["shown"][0]
    assert (shown["name"], shown["findings"], shown["boxes"]) == ("<b>7.png", ["nodule"], [[4, 12, 8, 6, "nodule"]])
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[with_boxes.uuid]), POINT))
    assert "&lt;b&gt;7.png" in page
    assert 'class="hilum-marked-box" x="4.0" y="12.0" width="8.0" height="6.0"' in page
    assert ">nodule<" in page
    assert f"film {str(scored.films[22].uuid)[:8]}" in page  # without a file's name


def test_a_true_positive_whose_peak_misses_every_box_is_marked_and_counted(
    as_analyst: Client, scored: Scored, evaluation: Evaluation
) -> None:
    """The peak lies at row 2, column 1: on the film x 4 to 8 and y 12 to 18. Film 18 is no true positive."""
    maps = np.ones((24, 2, 4, 4), dtype=np.float32)
    maps[:, :, 2, 1] = 3.0
    change_array(run_folder(scored.run.uuid), "maps", maps)
    with_boxes = marked(scored, evaluation, {23: (4, 12, 4, 6), 22: (12, 0, 8, 6), 18: (12, 0, 8, 6)})
    answer = galleries_of(as_analyst, with_boxes, **POINT)
    assert answer["right_for_the_wrong_reason"] == {"films": 2, "wrong": 1}
    by_score = {film["score"]: film["misses_boxes"] for film in answer["galleries"]["true_positives"]["shown"]}
    assert by_score == {11: False, 9: True, 7: None}
    page = one_line(as_analyst.get(reverse("analysis:gallery", args=[with_boxes.uuid]), POINT))
    assert page.count("hilum-wrong-reason") == 1
    assert "of 2 true positives with boxes, 1 has its highest patch outside every box" in page
    without = galleries_of(as_analyst, evaluation, **POINT)  # at its cut-off there were no boxes
    assert without["right_for_the_wrong_reason"] == {"films": 0, "wrong": 0}


def test_of_two_equal_peaks_one_outside_suffices(scored: Scored) -> None:
    maps = np.ones((24, 2, 4, 4), dtype=np.float32)
    maps[0, :, 2, 1] = maps[0, :, 0, 3] = 3.0
    change_array(run_folder(scored.run.uuid), "maps", maps)
    heatmap = ScoredFolder(run_folder(scored.run.uuid)).heatmap_of(0)
    assert peak_misses_boxes(heatmap, [(4, 12, 4, 6, "")]) is True
    assert peak_misses_boxes(heatmap, [(4, 12, 4, 6, ""), (12, 0, 8, 6, "")]) is False
    assert peak_misses_boxes(heatmap, []) is None
    nowhere = np.full((2, 3), np.nan)
    assert peak_misses_boxes(replace(heatmap, original_from_canonical=nowhere), [(4, 12, 4, 6, "")]) is None


def marked(scored: Scored, evaluation: Evaluation, boxes: dict[int, tuple[float, ...]]) -> Evaluation:
    """An evaluation at a later cut-off, with one box on each of the films."""
    for film, box in boxes.items():
        plain = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"finding": "nodule"}
        factories.event(scored.films[film], "abnormal", boxes=[plain], findings=["nodule"])
    return evaluate(run=evaluation.run, author=User.objects.get(username="analyst"), label_cutoff=timezone.now())


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"kind": "odd"}, "The kind 'odd' is unknown; use one of true_positives"),
        ({"page": "zero"}, "The page 'zero' is not a page; give a whole number from 1 on."),
        ({"page": "0"}, "The page '0' is not a page"),
        ({"kind": "lowest_abnormal"}, "There is no gallery 'lowest_abnormal' here"),
        ({"weight": "0.3"}, "On test the weight is the run's, 0.6: leave out the weight."),
    ],
)
def test_bad_questions_get_a_sentence(
    as_analyst: Client, evaluation: Evaluation, query: dict[str, str], sentence: str
) -> None:
    answer = as_analyst.get(reverse("api-galleries", args=[evaluation.uuid]), POINT | query)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]
    page = as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT | query)
    assert sentence.replace("'", "&#x27;") in page.text


def test_gone_maps_are_said_so(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "maps.npy").unlink()
    assert as_analyst.get(reverse("api-galleries", args=[evaluation.uuid]), POINT).status_code == 410
    page = as_analyst.get(reverse("analysis:gallery", args=[evaluation.uuid]), POINT)
    assert "are not in the data folder any more" in page.text


@pytest.mark.parametrize("name", ["analysis:gallery", "api-galleries"])
def test_a_curator_and_a_stranger_see_nothing(client: Client, evaluation: Evaluation, name: str) -> None:
    address = reverse(name, args=[evaluation.uuid])
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404
