"""The pages of ablations and sweeps: what is counted as a look, and numbers against an independent computation."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture
from sklearn.metrics import roc_auc_score

from analysis.models import TestLook
from analysis.statistics import delong_paired
from analysis.studies import segmentation
from ml_engine.engine.heatmap import Heatmap
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run, RunState
from ml_engine.runs.paths import run_folder
from portal.labels.events import append
from portal.models import AuditEvent, Exposure, Image, LabelEvent, LabelSource, Role, Split, User
from portal.people.blinding import close_read, open_for
from tests.analysis import laid
from tests.pages import without_gaps
from tests.portal import factories

AXES = {"rate": ["0.1", "0.3"], "neighbours": ["1", "3"], "seed": ["0", "1", "2"]}


@pytest.fixture
def split(data_dir: Path, db: None) -> Split:
    return laid.split_with_films(factories.site())


@pytest.fixture
def ablation(split: Split) -> Run:
    return laid.ablation(split)


@pytest.fixture
def sweep(split: Split) -> Run:
    return laid.sweep(split, AXES)


def page(run: Run) -> str:
    return reverse(f"analysis:{run.kind}", args=[run.uuid])


def api(run: Run) -> str:
    return reverse(f"api-{run.kind}", args=[run.uuid])


def opened(client: Client, run: Run) -> Any:
    """The answer of the API after test was opened."""
    assert client.post(reverse("analysis:show-test", args=[run.uuid])).status_code == 302
    return client.get(api(run)).json()


def truth_and_scores(run: Run, experiment: str, column: str, part: str = "test") -> tuple[list[int], list[float]]:
    """By the files and the label events alone."""
    place = run_folder(run.uuid) / "cells" / experiment / "scores"
    parts = [line["part"] for line in read(place / "images.csv")]
    truth, scores = [], []
    for film, one in zip(ScoredFolder(place).films, parts, strict=True):
        label = Image.objects.get(uuid=film.image).label_events.get().value
        if one == part and label in ("normal", "abnormal"):
            truth.append(int(label == "abnormal"))
            scores.append(getattr(film, "whole" if column == "global" else column))
    return truth, scores


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# What is a look ---------------------------------------------------------------------------------------


def test_an_ablation_tells_no_figure_of_test_until_it_is_opened(as_analyst: Client, ablation: Run) -> None:
    shown = as_analyst.get(page(ablation)).content.decode()
    study = as_analyst.get(api(ablation)).json()

    assert "Show test" in shown
    assert "data-auroc" not in shown
    assert "Fig. 12" not in shown
    assert "0.500 to 0.900" in shown  # NCC: the alignment is measured on other films
    assert (study["cells"], study["sweep"], study["opened"]) == (None, None, False)
    assert [one["words"] for one in study["detectors"]][:2] == ["aligned, masked", "not aligned, masked"]
    assert not TestLook.objects.exists()


@pytest.mark.parametrize("kind", ["ablation", "sweep"])
def test_opening_is_one_look_however_often(as_analyst: Client, split: Split, request: Any, kind: str) -> None:
    run = request.getfixturevalue(kind)
    for _ in range(2):
        answer = as_analyst.post(reverse("analysis:show-test", args=[run.uuid]))
        assert answer["Location"] == page(run)
    by_api = as_analyst.post(reverse("api-show-test", args=[run.uuid])).json()
    as_analyst.get(page(run))

    look = TestLook.objects.get()
    assert (look.run, look.split, look.actor.username) == (run, split, "analyst")
    assert AuditEvent.objects.filter(verb="look at test").count() == 1
    assert (by_api["opened"], by_api["looks_at_test"]) == (True, 1)
    assert by_api["note"] in as_analyst.get(page(run)).content.decode()


def test_the_next_study_of_the_split_is_closed_and_its_look_is_counted_beside(
    as_analyst: Client, ablation: Run, sweep: Run
) -> None:
    opened(as_analyst, ablation)

    assert "Show test" in as_analyst.get(page(sweep)).content.decode()
    assert opened(as_analyst, sweep)["looks_at_test"] == 2


def test_a_sweep_is_chosen_from_on_tune(as_analyst: Client, sweep: Run) -> None:
    shown = as_analyst.get(page(sweep)).content.decode()
    study = as_analyst.get(api(sweep)).json()

    assert "Show test" in shown
    assert 'data-part="tune"' in shown
    assert 'data-part="test"' not in shown
    assert all(list(row["aurocs"]) == ["tune"] for row in study["rows"])
    assert list(study["films"]) == ["tune"]
    assert not TestLook.objects.exists()


def test_a_sealed_test_part_stays_closed(as_analyst: Client, ablation: Run, split: Split) -> None:
    split.site.plan_before_test = True
    split.site.save()

    shown = as_analyst.get(page(ablation)).content.decode()
    assert "is sealed: lock an analysis plan for the split first." in shown
    assert ">Show test</button>" not in shown
    refused = as_analyst.post(reverse("analysis:show-test", args=[ablation.uuid]))
    assert refused.status_code == 400
    assert "is sealed" in refused.content.decode()
    by_api = as_analyst.post(reverse("api-show-test", args=[ablation.uuid]))
    assert (by_api.status_code, "is sealed" in by_api.json()["detail"]) == (400, True)
    assert as_analyst.get(api(ablation)).json()["cells"] is None


def test_the_results_list_studies_and_whether_test_is_open(as_analyst: Client, ablation: Run, sweep: Run) -> None:
    opened(as_analyst, sweep)
    rows = as_analyst.get(reverse("analysis:results")).context["studies"]

    assert {(study.run.kind, study.is_open) for study in rows} == {("ablation", False), ("sweep", True)}
    stranger = Client()
    stranger.force_login(factories.user("stranger", Role.MANAGER, at=factories.site("Busan")))
    assert not stranger.get(reverse("analysis:results")).context["studies"]


# Numbers ----------------------------------------------------------------------------------------------


def test_the_experiments_of_an_ablation_are_their_scores_against_the_labels(as_analyst: Client, ablation: Run) -> None:
    study = opened(as_analyst, ablation)

    assert len(study["cells"]) == 9
    for experiment in study["cells"]:
        for column in ("global", "region", "fused"):
            truth, scores = truth_and_scores(ablation, experiment["name"], column)
            assert experiment["aurocs"][column]["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
            assert len(truth) == 12
    assert study["left_out"] == {"unsure": 1}
    at_six = study["sweep"]["weights"].index(0.6)
    assert study["sweep"]["auroc"][at_six] == pytest.approx(study["cells"][0]["aurocs"]["fused"]["auroc"], abs=1e-9)


def test_the_differences_are_paired_and_adjusted_column_by_column(as_analyst: Client, ablation: Run) -> None:
    study = opened(as_analyst, ablation)
    for column in ("global", "region", "fused"):
        truth, base = truth_and_scores(ablation, "aligned-masked", column)
        names = [experiment["name"] for experiment in study["cells"][1:]]
        raw = {name: delong_paired(truth, truth_and_scores(ablation, name, column)[1], base).p_value for name in names}
        expected, before = {}, 0.0  # Holm 1979, step by step
        for rank, (name, p_value) in enumerate(sorted(raw.items(), key=lambda one: one[1] or 0.0)):
            before = max(before, min(1.0, (len(raw) - rank) * (p_value or 0.0)))
            expected[name] = before
        adjusted = {experiment["name"]: experiment["adjusted_p_values"][column] for experiment in study["cells"][1:]}
        assert adjusted == pytest.approx(expected, abs=1e-9)
        assert column == "global" or adjusted["unaligned-masked"] < 0.05 < max(adjusted.values())


def test_the_page_of_an_ablation_shows_what_the_api_returns(as_analyst: Client, ablation: Run) -> None:
    study = opened(as_analyst, ablation)
    context = as_analyst.get(page(ablation)).context

    for experiment, shown in zip(study["cells"], context["found"].experiments, strict=True):
        assert shown.aurocs["fused"].auroc == pytest.approx(experiment["aurocs"]["fused"]["auroc"], abs=1e-9)
    assert [one.name for one in context["drawn"]] == ["12", "13", "14", "15"]
    twelve = context["figures"]["figure-1"]
    rows = {text.split(",")[0]: 0 for text in twelve["layout"]["yaxis"]["ticktext"]}
    assert list(rows) == ["not aligned", "aligned"]
    drawn = [x for trace in twelve["data"] if trace.get("text") for x in trace["x"]]
    aligned, unaligned = (study["cells"][k]["aurocs"] for k in (0, 1))
    expected = [one[column]["auroc"] for column in ("global", "region", "fused") for one in (unaligned, aligned)]
    assert drawn == pytest.approx(expected, abs=1e-5)


def test_every_figure_carries_its_notices(as_analyst: Client, ablation: Run, sweep: Run) -> None:
    for run in (ablation, sweep):
        note = opened(as_analyst, run)["note"]
        assert note
        for name, figure in as_analyst.get(page(run)).context["figures"].items():
            texts = [one["text"].replace("<br>", " ") for one in figure["layout"]["annotations"]]
            notice = next(text for text in texts if "Research use only. Not a medical device." in text)
            assert (note in notice) is not name.endswith("-tune")
            assert "<b>random weights, not for evaluation</b>" in texts


def test_the_rows_of_a_sweep_are_their_scores_against_the_labels(as_analyst: Client, sweep: Run) -> None:
    study = opened(as_analyst, sweep)

    assert len(study["rows"]) == 12
    for row in study["rows"]:
        for part in ("tune", "test"):
            truth, scores = truth_and_scores(sweep, row["cell"], "fused", part)
            assert row["aurocs"][part]["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    assert study["films"]["test"] == {
        "normal": 6, "abnormal": 6, "patients": 12, "unscored": 0, "left_out": {"unsure": 1},
    }  # fmt: skip


def test_seeds_are_summarised_beside_the_films_and_the_best_is_of_tune(as_analyst: Client, sweep: Run) -> None:
    study = opened(as_analyst, sweep)

    means: dict[str, list[float]] = {"tune": [], "test": []}
    for setting in study["settings"]:
        assert len(setting["rows"]) == 3
        for part in ("tune", "test"):
            areas = [study["rows"][k]["aurocs"][part]["auroc"] for k in setting["rows"]]
            spread = setting["spreads"][part]
            assert spread["mean"] == pytest.approx(np.mean(areas), abs=1e-9)
            assert spread["deviation"] == pytest.approx(np.std(areas, ddof=1), abs=1e-9)
            means[part].append(float(np.mean(areas)))
    assert study["best_on_tune"] == int(np.argmax(means["tune"]))
    assert study["best_on_tune"] != int(np.argmax(means["test"]))  # else the test could not fail
    shown = as_analyst.get(page(sweep))
    marked = [line["row"].experiment for line in shown.context["lines"] if line["is_best"]]
    assert marked == [study["rows"][k]["cell"] for k in study["settings"][study["best_on_tune"]]["rows"]]


def test_weights_are_rows_without_a_detector_of_their_own(as_analyst: Client, split: Split) -> None:
    run = laid.sweep(split, {"rate": ["0.1"], "fusion_weight": ["0", "0.5", "1"]})
    study = opened(as_analyst, run)

    assert [(row["cell"], row["weight"]) for row in study["rows"]] == [("01", 0.0), ("01", 0.5), ("01", 1.0)]
    truth, scores = truth_and_scores(run, "01", "region")
    assert study["rows"][2]["aurocs"]["test"]["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)


def test_a_film_that_one_detector_missed_is_left_out_of_all(as_analyst: Client, sweep: Run) -> None:
    place = run_folder(sweep.uuid) / "cells" / "05" / "scores" / "sweep.npy"
    scores = np.load(place)
    scores[-2] = np.nan
    np.save(place, scores)

    study = opened(as_analyst, sweep)

    assert study["films"]["test"]["unscored"] == 1
    for row in study["rows"]:
        assert row["aurocs"]["test"]["positives"] + row["aurocs"]["test"]["negatives"] == 11
        assert row["aurocs"]["test"]["left_out"] == 0


def test_the_table_is_sorted_by_what_its_heads_ask(as_analyst: Client, sweep: Run) -> None:
    def column(order: str) -> list[Any]:
        lines = as_analyst.get(page(sweep), {"order": order}).context["lines"]
        return [line["row"].aurocs["tune"].auroc if "tune" in order else line["cells"][1] for line in lines]

    assert column("tune") == sorted(column("tune"))
    assert column("-tune") == sorted(column("tune"), reverse=True)
    assert column("neighbours") == ["1"] * 6 + ["3"] * 6
    assert column("") == ["1"] * 3 + ["3"] * 3 + ["1"] * 3 + ["3"] * 3
    assert as_analyst.get(page(sweep), {"order": "nothing"}).status_code == 404
    assert 'aria-sort="descending"' in as_analyst.get(page(sweep), {"order": "-tune"}).content.decode()


def test_the_figures_of_a_sweep_hold_what_they_say(as_analyst: Client, sweep: Run) -> None:
    study = as_analyst.get(api(sweep)).json()
    context = as_analyst.get(page(sweep)).context

    assert list(context["figures"]) == ["rate-tune", "neighbours-tune"]
    best = study["settings"][study["best_on_tune"]]["values"]
    trace = context["figures"]["rate-tune"]["data"][0]
    assert trace["x"] == [0.1, 0.3]
    wanted = [
        row["aurocs"]["tune"]["auroc"]
        for row in study["rows"]
        if row["values"]["neighbours"] == best["neighbours"] and row["values"]["seed"] == "0"
    ]
    assert trace["y"] == pytest.approx(wanted, abs=1e-5)
    assert len(context["figures"]["rate-tune"]["data"][1]["x"]) == 4  # the two other seeds of two rates


def test_a_refused_detector_is_a_sentence(as_analyst: Client, split: Split) -> None:
    for run in (laid.ablation(split, refused="spade"), laid.sweep(split, AXES, refused="02")):
        opened(as_analyst, run)
        assert "refused: too large" in as_analyst.get(page(run)).content.decode()


# Who sees what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ablation", "sweep"])
def test_who_sees_a_study_and_who_opens_it(client: Client, split: Split, request: Any, kind: str) -> None:
    run = request.getfixturevalue(kind)
    show, show_api = reverse("analysis:show-test", args=[run.uuid]), reverse("api-show-test", args=[run.uuid])

    client.force_login(factories.user("reader", Role.READER))
    shown = client.get(page(run))
    assert shown.status_code == 200
    assert '<button class="btn btn-sm btn-primary">Show test' not in shown.content.decode()
    assert "An analyst or a manager of the site can open it." in shown.content.decode()
    assert [client.post(show).status_code, client.post(show_api).status_code] == [403, 403]
    client.force_login(factories.user("curator", Role.CURATOR))
    assert [client.get(page(run)).status_code, client.get(api(run)).status_code] == [403, 403]
    client.force_login(factories.user("stranger", Role.MANAGER, at=factories.site("Busan")))
    assert [client.get(page(run)).status_code, client.get(api(run)).status_code] == [404, 404]
    assert [client.post(show).status_code, client.post(show_api).status_code] == [404, 404]
    assert not TestLook.objects.exists()


def test_wrong_methods_kinds_and_states_are_no_pages(as_analyst: Client, ablation: Run, sweep: Run) -> None:
    assert as_analyst.get(reverse("analysis:show-test", args=[ablation.uuid])).status_code == 405
    assert as_analyst.get(reverse("analysis:sweep", args=[ablation.uuid])).status_code == 404
    assert as_analyst.get(reverse("api-ablation", args=[sweep.uuid])).status_code == 404
    Run.objects.filter(pk=sweep.pk).update(state=RunState.FAILED)
    assert as_analyst.get(page(sweep)).status_code == 404


@pytest.mark.parametrize("kind", ["ablation", "sweep"])
def test_a_study_whose_folder_is_gone_is_refused(as_analyst: Client, request: Any, kind: str) -> None:
    run = request.getfixturevalue(kind)
    as_analyst.post(reverse("analysis:show-test", args=[run.uuid]))
    shutil.rmtree(run_folder(run.uuid))

    shown = as_analyst.get(page(run))
    assert shown.status_code == 410
    assert "are not in the data folder any more: clone the run and run it again." in shown.content.decode()
    assert as_analyst.get(api(run)).status_code == 410


def test_an_experiment_whose_files_are_gone_is_refused(as_analyst: Client, ablation: Run) -> None:
    as_analyst.post(reverse("analysis:show-test", args=[ablation.uuid]))
    shutil.rmtree(run_folder(ablation.uuid) / "cells" / "padim")

    assert as_analyst.get(page(ablation)).status_code == 410


# Fig. 16 ----------------------------------------------------------------------------------------------


def films_shown(client: Client, run: Run) -> list[str]:
    return [one.film for one, _ in client.get(page(run)).context["segmented"]]


def of_film(name: str, run: Run, film: str) -> str:
    return reverse(f"analysis:{name}", args=[run.uuid, film])


def test_films_are_shown_from_the_highest_score_to_the_lowest(as_analyst: Client, ablation: Run) -> None:
    opened(as_analyst, ablation)
    shown = [one for one, _ in as_analyst.get(page(ablation)).context["segmented"]]

    assert [one.label for one in shown] == ["abnormal"] * 5 + ["normal"] * 2
    truth, scores = truth_and_scores(ablation, "aligned-masked", "fused")
    ranked = sorted(score for label, score in zip(truth, scores, strict=True) if label)
    assert [one.score for one in shown[:5]] == [ranked[k] for k in (5, 4, 2, 1, 0)]
    assert shown[0].share_marked == pytest.approx(1 / 15)  # one patch of four by four, of which one is masked
    assert shown[0].outline == "M16 8h8M16 16h8M16 8v8M24 8v8"


def test_a_film_opens_in_the_viewer_with_the_first_detectors_maps(as_analyst: Client, ablation: Run) -> None:
    opened(as_analyst, ablation)
    film = films_shown(as_analyst, ablation)[0]
    place = run_folder(ablation.uuid) / "cells" / "aligned-masked" / "scores"
    row = [one.image for one in ScoredFolder(place).films].index(film)

    assert as_analyst.get(of_film("study-film", ablation, film)).status_code == 200
    drawn = as_analyst.get(of_film("study-overlay", ablation, film)).json()
    assert drawn["maps_url"] == of_film("study-maps", ablation, film)
    assert (drawn["weight"], drawn["threshold"], drawn["weight_locked"]) == (0.6, 2.5, True)
    assert drawn["random_weights"] is True
    both = np.frombuffer(as_analyst.get(drawn["maps_url"]).content, dtype="<f4").reshape(2, 4, 4)
    assert np.array_equal(both, ScoredFolder(place).array("maps")[row], equal_nan=True)


def test_no_film_of_a_closed_ablation_is_shown(as_analyst: Client, ablation: Run) -> None:
    film = ScoredFolder(run_folder(ablation.uuid) / "cells" / "aligned-masked" / "scores").films[0].image

    for name in ("study-film", "study-overlay", "study-maps"):
        assert as_analyst.get(of_film(name, ablation, film)).status_code == 403


def test_films_of_other_parts_are_no_films_of_it(as_analyst: Client, ablation: Run, split: Split) -> None:
    opened(as_analyst, ablation)
    other = Image.objects.filter(split_images__member__split=split, split_images__member__part="tune").first()

    assert as_analyst.get(of_film("study-film", ablation, str(other.uuid))).status_code == 404


def test_scores_of_films_that_a_person_still_labels_stay_hidden(as_analyst: Client, ablation: Run) -> None:
    opened(as_analyst, ablation)
    film = films_shown(as_analyst, ablation)[0]
    image = Image.objects.get(uuid=film)
    with transaction.atomic():
        append([LabelEvent(image=image, value="unsure", source=LabelSource.IMPORT, reason="read again")])
    labeller = Client()
    labeller.force_login(factories.user("both", Role.ANALYST, Role.ADJUDICATOR))

    assert film in films_shown(as_analyst, ablation)
    assert film not in films_shown(labeller, ablation)
    assert labeller.get(of_film("study-overlay", ablation, film)).status_code == 403
    assert labeller.get(reverse("analysis:run-archive", args=[ablation.uuid])).status_code == 403
    assert "2 films are not shown" in labeller.get(page(ablation)).content.decode()


def test_a_film_that_waits_for_a_blinded_verdict_is_withheld(as_analyst: Client, analyst: User, ablation: Run) -> None:
    opened(as_analyst, ablation)
    film = films_shown(as_analyst, ablation)[0]
    image, source = Image.objects.get(uuid=film), uuid.UUID(int=3)
    other = factories.user("blinded", Role.ANALYST)
    client = Client()
    client.force_login(other)
    open_for(person=other, images=[image], source=source, words="the worklist", days=28)
    assert film not in films_shown(client, ablation)
    assert "1 film is omitted" in client.get(page(ablation)).text
    for name in ("study-film", "study-overlay", "study-maps"):
        assert client.get(of_film(name, ablation, film)).status_code == 403
    assert client.get(reverse("analysis:run-archive", args=[ablation.uuid])).status_code == 403
    shown = Exposure.objects.filter(person=other, image=image)
    assert not shown.exists()
    close_read(person=other, image=image, source=source)
    assert client.get(of_film("study-film", ablation, film)).status_code == 200
    assert set(shown.values_list("kind", "run")) == {("label", Exposure.NO_RUN), ("score", ablation.uuid)}
    for name in ("study-overlay", "study-maps"):
        assert client.get(of_film(name, ablation, film)).status_code == 200
    assert ("map", ablation.uuid) in set(shown.values_list("kind", "run"))
    assert film in films_shown(client, ablation)


def test_an_outline_goes_around_what_is_marked() -> None:
    marked = np.zeros((3, 3), dtype=bool)
    marked[1, 1] = marked[1, 2] = True

    steps = segmentation.outline(marked, 10).split("M")[1:]

    assert sorted(steps) == sorted(["10 10h10", "20 10h10", "10 20h10", "20 20h10", "10 10v10", "30 10v10"])
    assert segmentation.outline(np.zeros((3, 3), dtype=bool), 10) == ""


def test_a_heatmap_is_clear_where_masked_and_ends_at_twice_the_threshold() -> None:
    fused = np.array([[np.nan, 0.0], [4.0, 9.0]])
    address = segmentation.picture(
        Heatmap(fused, 8, np.eye(2, 3), 0.6, is_standardised=False, low=0.0, high=4.0, threshold=2.0)
    )

    pixels = np.asarray(Picture.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
    assert pixels[0, 0, 3] == 0
    assert pixels[0, 1].tolist() == [0, 0, 4, 0]  # the first colour of inferno, published
    assert pixels[1, 0].tolist() == pixels[1, 1].tolist() == [252, 255, 164, 255]  # the last


def test_patches_at_the_threshold_are_marked() -> None:
    fused = np.array([[0.25, np.nan, 0.2]])
    assert segmentation.marked_patches(fused, 0.25).tolist() == [[True, False, False]]
    assert not segmentation.marked_patches(fused, None).any()


def test_the_page_of_an_ablation_shows_all_that_is_measured_of_an_alignment(as_analyst: Client, ablation: Run) -> None:
    table = without_gaps(as_analyst.get(page(ablation))).split('id="alignments"')[1].split("</table>")[0]
    row = table.split('<th scope="row">as configured</th>')[1].split("</tr>")[0]
    for words in ("0.500 to 0.900", "0.300 to 0.600", "0.0200 to 0.0100", ">12 %<", "8.50 to 1.25"):
        assert words in row, words


@pytest.mark.parametrize("name", ["page", "api"])
def test_an_alignment_that_lacks_a_measure_is_reported(as_analyst: Client, ablation: Run, name: str) -> None:
    path = run_folder(ablation.uuid) / "ablation.json"
    summary = json.loads(path.read_text())
    del summary["alignments"]["base"]["report"]["ncc_after"]
    path.write_text(json.dumps(summary))
    answer = as_analyst.get({"page": page, "api": api}[name](ablation))
    assert answer.status_code in (400, 410)
    assert "does not hold report.ncc_after: run the study again" in answer.text
