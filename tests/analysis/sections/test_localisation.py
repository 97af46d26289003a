"""Maps and boxes: boxes on the patch grid, which boxes count, and the numbers on page and API."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import roc_auc_score

from analysis.evaluation import disk_cache
from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation, Reading, Verdict
from analysis.sections import localisation
from analysis.sections.localisation import patches_in_boxes
from analysis.sections.marked_lesions import marked_films
from analysis.statistics import peaks
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_array
from tests.portal import factories

STILL = np.array([[0.5, 0.0, 0.0], [0.0, 0.75, 0.0]])  # of `scored_run`: a patch is 4 × 6 original pixels
TURNED = np.array([[0.0, 0.5, 2.0], [-0.5, 0.0, 20.0]])  # x = y' / 2 + 2, y = 20 - x' / 2


def box(x: float, y: float, width: float, height: float, finding: str = "nodule") -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, "finding": finding}


# where boxes lie --------------------------------------------------------------------------------------------


def plane(boxes: list[list[float]], affine: np.ndarray) -> np.ndarray:
    return patches_in_boxes(np.array(boxes), affine, stride=8.0, shape=(4, 4))


def test_patches_are_those_whose_centres_lie_in_the_box() -> None:
    planes = plane([[4, 6, 8, 6]], STILL)  # centres at x = 2, 6, 10, 14 and y = 3, 9, 15, 21
    assert np.argwhere(planes[0]).tolist() == [[1, 1], [1, 2]]


def test_a_turned_film_turns_the_box() -> None:
    """Canonical centres 4, 12, 20, 28 lie at x = y'/2 + 2 = 4, 8, 12, 16 and y = 20 - x'/2 = 18, 14, 10, 6."""
    planes = plane([[7, 13, 6, 6]], TURNED)  # x 8 and 12: rows 1 and 2; y 18 and 14: columns 0 and 1
    assert np.argwhere(planes[0]).tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]


def test_a_box_between_centres_has_the_patch_of_its_middle() -> None:
    planes = plane([[7, 10, 1, 1], [17, 10, 2, 2]], STILL)
    assert np.argwhere(planes[0]).tolist() == [[1, 1]]
    assert not planes[1].any()  # outside the frame, so it is missed


# whose boxes count ------------------------------------------------------------------------------------------

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    """Two abnormal films of test have a box, drawn before the split was made again at a later cut-off."""
    from django.utils import timezone

    for place, film in enumerate(scored.films[18:20]):
        factories.event(film, "abnormal", boxes=[box(4, 6 * place, 4, 6)], findings=["nodule"])
    return evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())


def marked(evaluation: Evaluation, scored: Scored) -> dict[str, Any]:
    images = [str(film.uuid) for film in scored.films[18:]]
    return marked_films(images, cutoff=evaluation.label_cutoff)


def later(scored: Scored, analyst: User) -> Evaluation:
    from django.utils import timezone

    return evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())


def test_boxes_are_those_of_labels_at_the_cut_off(scored: Scored, evaluation: Evaluation) -> None:
    factories.event(scored.films[20], "abnormal", boxes=[box(0, 0, 4, 4)])  # too late
    films = marked(evaluation, scored)
    assert set(films) == {str(film.uuid) for film in scored.films[18:20]}
    assert films[str(scored.films[19].uuid)].boxes == ((4, 6, 4, 6, "nodule"),)
    assert {film.source for film in films.values()} == {"import"}


def test_a_reader_s_boxes_come_before_the_import_s(scored: Scored, evaluation: Evaluation, analyst: User) -> None:
    film = scored.films[18]
    factories.event(film, "abnormal", factories.curator("one"), boxes=[box(0, 0, 1, 1)])
    factories.event(film, "abnormal", factories.curator("two"), boxes=[box(1, 1, 2, 2), box(3, 3, 2, 2)])
    film_boxes = marked(later(scored, analyst), scored)[str(film.uuid)]
    assert (len(film_boxes.boxes), film_boxes.source) == (
        2,
        "reader",
    )  # only the latest, so that no lesion counts twice


def test_the_readers_of_a_published_dataset_count_together(
    scored: Scored, evaluation: Evaluation, analyst: User
) -> None:
    film = scored.films[18]
    for reader, drawn in (("R1", box(0, 0, 10, 10)), ("R2", box(2, 0, 10, 10)), ("R3", box(1, 14, 2, 2))):
        factories.event(film, "abnormal", boxes=[drawn], reader=reader)
    factories.event(film, "abnormal", boxes=[box(2, 14, 2, 2)], reader="R3")  # changes what R3 stated
    boxes = marked(later(scored, analyst), scored)[str(film.uuid)].boxes
    assert [one[:4] for one in boxes] == [(1, 0, 10, 10), (2, 14, 2, 2)]  # none of the import before them
    factories.event(film, "abnormal", boxes=[box(5, 5, 1, 1)])
    boxes = marked(later(scored, analyst), scored)[str(film.uuid)].boxes
    assert [one[:4] for one in boxes] == [(5, 5, 1, 1)]


def test_a_reverted_event_and_a_later_normal_have_no_boxes(
    scored: Scored, evaluation: Evaluation, analyst: User
) -> None:
    first, second = scored.films[18:20]
    factories.event(first, reverts=first.label_events.latest("pk"), author=None)
    factories.event(second, "normal", factories.curator("one"))
    assert marked(later(scored, analyst), scored) == {}


def reading(scored: Scored, **fields: Any) -> Reading:
    film = scored.films[21]
    reader = factories.user(f"reader {factories.somewhere()}", Role.READER)
    needed = {"active_seconds": 1.0, "total_seconds": 1.0, "confidence": 3} | fields
    return Reading.objects.create(
        image=film, run=scored.run, reader=reader, verdict=Verdict.ABNORMAL, boxes=[box(1, 2, 3, 4)], **needed
    )


def test_a_reading_without_the_model_marks_a_film(scored: Scored, evaluation: Evaluation, analyst: User) -> None:
    reading(scored, model_shown=False)
    films = marked(later(scored, analyst), scored)
    assert films[str(scored.films[21].uuid)].source == "reading"
    assert str(scored.films[21].uuid) not in marked(evaluation, scored)  # read after that cut-off


def test_a_reading_replaced_later_still_stood(scored: Scored, evaluation: Evaluation, analyst: User) -> None:
    first = reading(scored, model_shown=False)
    then = later(scored, analyst)
    Reading.objects.create(
        image=first.image, run=scored.run, reader=first.reader, verdict=Verdict.NORMAL, replaces=first,
        model_shown=False, active_seconds=1.0, total_seconds=1.0,
    )  # fmt: skip
    assert str(first.image.uuid) in marked(then, scored)
    assert str(first.image.uuid) not in marked(later(scored, analyst), scored)


def test_a_reading_with_the_model_or_the_label_marks_nothing(
    scored: Scored, evaluation: Evaluation, analyst: User
) -> None:
    reading(scored, model_shown=True)
    reading(scored, model_shown=False, label_shown=True)
    assert str(scored.films[21].uuid) not in marked(later(scored, analyst), scored)


# the numbers ------------------------------------------------------------------------------------------------


def answered(client: Client, evaluation: Evaluation, **changes: str) -> tuple[dict[str, Any], str]:
    query = {"part": "test"} | changes
    api = client.get(reverse("api-localisation", args=[evaluation.uuid]), query)
    page = client.get(reverse("analysis:localisation", args=[evaluation.uuid]), query)
    assert (api.status_code, page.status_code) == (200, 200)
    return api.json(), page.text


def test_numbers_are_those_of_the_films_with_boxes(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    answer, _ = answered(as_analyst, evaluation)
    assert (answer["films"], answer["boxes"], answer["abnormal"]) == (2, 2, 6)
    maps = ScoredFolder(run_folder(scored.run.uuid)).array("maps")[18:20].astype(np.float64)
    inside = np.zeros((2, 4, 4), dtype=bool)
    inside[0, 0, 1] = inside[1, 1, 1] = True
    for kind, weight in (("global", 0.0), ("region", 1.0), ("fused", 0.6)):
        fused = weight * maps[:, 1] + (1 - weight) * maps[:, 0]
        ranked = np.where(np.isnan(fused), -1.0, fused)  # a masked patch is never called
        numbers = answer["kinds"][kind]
        assert numbers["pixel_auroc"]["auroc"] == pytest.approx(roc_auc_score(inside.ravel(), ranked.ravel()), abs=1e-9)
        hits = [inside[film].ravel()[np.argmax(ranked[film])] for film in (0, 1)]
        assert numbers["pointing_game"]["value"] == np.mean(hits)
        assert numbers["froc"]["lesions"] == 2


def test_boxes_that_the_heatmap_reaches(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    folder = run_folder(scored.run.uuid)
    maps = np.ones((24, 2, 4, 4), dtype=np.float32)
    maps[18, :, 0, 1] = 3.0  # in the box, above the threshold of 2.5
    maps[19, :, 3, 3] = 3.0  # outside the box
    change_array(folder, "maps", maps)
    answer, _ = answered(as_analyst, evaluation)
    assert (answer["level"], answer["hits"]["successes"], answer["hits"]["total"]) == (2.5, 1, 2)
    assert answer["kinds"]["fused"]["pointing_game"]["value"] == 0.5


def test_page_and_api_show_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    answer, page = answered(as_analyst, evaluation)
    for kind, of in answer["kinds"].items():
        for name, value in (
            ("aupro", of["aupro"]["aupro"]),
            ("pixel-auroc", of["pixel_auroc"]["auroc"]),
            ("pointing", of["pointing_game"]["value"]),
        ):
            cell = page.split(f'data-number="{name}-{kind}"')[1].split("</td>")[0]
            assert f'data-value="{value}"' in cell
    drawn = json.loads(re.search(r'id="froc-figure"[^>]*>(.+?)</script>', page)[1])  # type: ignore[index]
    at = next(trace for trace in drawn["data"] if "interval of fused" in trace["name"])
    assert at["y"] == pytest.approx(answer["kinds"]["fused"]["froc"]["at_rates"], abs=1e-4)
    assert "n = 2 boxes; false marks of 8 films" in drawn["layout"]["legend"]["title"]["text"]
    assert "Looks at this test part: 1;" in json.dumps(drawn["layout"]["annotations"])


def test_a_finding_of_many_films_has_its_figures(
    as_analyst: Client, scored: Scored, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, page = answered(as_analyst, evaluation)
    (row,) = answer["findings"]
    assert (row["name"], row["films"], row["boxes"]) == ("nodule", 2, 2)
    assert row["reason"] == "Below 30 films no figure is given."
    assert "pixel_auroc" not in row
    assert "Below 30 films" in page
    monkeypatch.setattr(localisation, "LEAST_FILMS", 2)
    disk_cache.clear_memory()
    (next(run_folder(scored.run.uuid).parents[1].glob("evaluations/*/localisation-*"))).unlink()
    (row,) = answered(as_analyst, evaluation)[0]["findings"]
    assert row["pixel_auroc"]["auroc"] == answer["kinds"]["fused"]["pixel_auroc"]["auroc"]


def test_boxes_of_other_findings_are_left_out(as_analyst: Client, scored: Scored, analyst: User) -> None:
    from django.utils import timezone

    for film in scored.films[18:20]:
        factories.event(film, "abnormal", boxes=[box(4, 0, 4, 6), box(8, 0, 4, 6, "effusion")])
    evaluation = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localisation, "LEAST_FILMS", 2)
        answer, _ = answered(as_analyst, evaluation)
    maps = ScoredFolder(run_folder(scored.run.uuid)).array("maps")[18:20].astype(np.float64)
    fused = np.nan_to_num(0.6 * maps[:, 1] + 0.4 * maps[:, 0], nan=-1.0)
    inside, other = np.zeros((2, 4, 4), dtype=bool), np.zeros((2, 4, 4), dtype=bool)
    inside[:, 0, 1] = other[:, 0, 2] = True
    row = next(row for row in answer["findings"] if row["name"] == "nodule")
    wanted = roc_auc_score(inside[~other], fused[~other])
    assert row["pixel_auroc"]["auroc"] == pytest.approx(wanted, abs=1e-9)


def test_it_is_kept(as_analyst: Client, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = answered(as_analyst, evaluation)
    disk_cache.clear_memory()
    monkeypatch.setattr("analysis.sections.localisation.statistics.froc", None)  # would fail if it were computed
    assert answered(as_analyst, evaluation)[0] == before


def test_without_boxes_a_sentence_gives_the_reason(as_analyst: Client, evaluation: Evaluation) -> None:
    answer, page = answered(as_analyst, evaluation, part="tune")
    assert answer["films"] == 0
    assert answer["reason"].startswith("No abnormal film of tune with a score has a box")
    assert answer["reason"] in page


def test_gone_maps_and_a_look_are_refused(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    address = reverse("api-localisation", args=[evaluation.uuid])
    assert as_analyst.get(address, {"part": "test", "weight": "0.2"}).status_code == 400
    (run_folder(scored.run.uuid) / "maps.npy").unlink()
    assert as_analyst.get(address, {"part": "test"}).status_code == 410


@pytest.mark.parametrize("name", ["analysis:localisation", "api-localisation"])
def test_a_curator_and_a_stranger_see_nothing(client: Client, evaluation: Evaluation, name: str) -> None:
    address = reverse(name, args=[evaluation.uuid])
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404


def test_froc_counts_marks_on_normal_films(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    """By counting peaks of every map: those on normal films are false, those on abnormal films without a box are not
    counted at all."""
    answer, page = answered(as_analyst, evaluation)
    assert answer["normal"] == 6
    assert "for FROC the 6 normal films too" in " ".join(page.split())
    maps = ScoredFolder(run_folder(scored.run.uuid)).array("maps").astype(np.float64)
    lesions = {18: (0, 1), 19: (1, 1)}
    for kind, weight in (("global", 0.0), ("fused", 0.6)):
        froc = answer["kinds"][kind]["froc"]
        assert (froc["films"], froc["lesions"]) == (8, 2)
        false: list[float] = []
        for row in [*range(12, 18), 18, 19]:
            fused = weight * maps[row, 1] + (1 - weight) * maps[row, 0]
            spots = [tuple(spot) for spot in peaks(fused, distance=3).tolist()]
            false += [fused[spot] for spot in spots if lesions.get(row) != spot]
        for rate, threshold in zip(froc["false_positives_per_film"], froc["thresholds"], strict=True):
            counted = 0 if threshold is None else sum(value >= threshold - 1e-9 for value in false)
            assert rate == pytest.approx(counted / 8)
