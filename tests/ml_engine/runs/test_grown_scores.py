"""A scoring run whose memory bank grows first: rows -> folder -> engine -> rows, compared with `grow --approximate`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied

from ml_engine.core.bank.changes import GROWN
from ml_engine.core.errors import EngineError
from ml_engine.engine import grow_and_forget, manifest
from ml_engine.engine.reports import GallerySizes, PartCounts
from ml_engine.engine.run_folder import Grow, RunSpec
from ml_engine.engine.stages.runner import run_folder
from ml_engine.models import DetectorModel, Run, RunKind, RunState, Score
from ml_engine.runs import lifecycle, paths, requests, supervisor
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Image, Role
from tests.ml_engine import made, reports
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


def ended(run: Run) -> Run:
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
    return run


def dataset_with_films_outside(at: Any) -> Any:
    """A small split and its dataset, which has three films more that are in no part."""
    split = made.small_split(at)
    dataset = split.members.first().images.first().image.dataset
    for number in range(200, 203):
        made.film(dataset, number=number, label="")
    return split, dataset


def outside() -> list[Image]:
    return list(Image.objects.filter(split_images__isnull=True).order_by("pk"))


def grown_request(scored: Run) -> RunRequest:
    return RunRequest(site=scored.site, name="Grown")


@pytest.fixture
def scored(data_dir: Any) -> Run:
    """A scoring run of all films of the dataset, as rows, without an engine."""
    split, dataset = dataset_with_films_outside(made.site())
    detector = made.detector_model(split, reports.detector_report(parts=PartCounts(fit=6, tune=0, calibrate=0)))
    run = made.run(split, kind=RunKind.SCORE, state=RunState.DONE, name="Score", detector=detector)
    for row, image in enumerate(dataset.images.order_by("pk")):
        Score.objects.create(run=run, image=image, row=row, fused_score=row)
    return run


# With the engine --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_grown_run_scores_as_the_grown_model_does_and_goes_on_after_a_kill(data_dir: Any, tmp_path: Any) -> None:
    split, dataset = dataset_with_films_outside(made.site())
    fitted = requests.request_detector(RunRequest(site=split.site, name="Fit"), split=split, config=made.small_config())
    score = requests.request_score(RunRequest(site=split.site, name="Score"), after=fitted, datasets=[dataset])
    ended(fitted)
    ended(score)
    films = outside()[:2]
    run = ended(requests.request_grown_score(grown_request(score), scored=score, films=films))
    folder = paths.run_folder(run.uuid)
    _assert_no_film_is_farther(score, run, films)
    _assert_equals_grow_by_hand(score, folder, films, tmp_path)
    _assert_resumes_with_the_grown_bank(folder)
    _assert_names_a_missing_film(folder)


def _assert_no_film_is_farther(score: Run, run: Run, films: list[Image]) -> None:
    before, after = (dict(Score.objects.filter(run=scoring).values_list("image_id", "row")) for scoring in (score, run))
    assert before == after
    maps = [np.load(paths.run_folder(scoring.uuid) / "maps.npy") for scoring in (score, run)]
    assert (maps[1] <= maps[0] + 1e-4).all()  # a larger bank
    rows = [before[film.pk] for film in films]
    assert maps[1][rows].mean() < 0.9 * maps[0][rows].mean()


def _assert_equals_grow_by_hand(score: Run, folder: Any, films: list[Image], tmp_path: Any) -> None:
    spec = json.loads((folder / "run.json").read_text())
    named = [str(film.uuid) for film in films]
    assert spec.pop("grow") == {"images": named, "films_before": 6}
    assert json.loads((folder / "score.json").read_text())["note"] == GROWN
    model = grow_and_forget.open_model(paths.run_folder(score.detector.run.uuid))
    rows = [row for row in manifest.read(folder / "images.csv") if row.image in named]
    assert grow_and_forget.grow(model, rows, images=folder, out=tmp_path / "grown", approximate=True).status == 0
    detector, by_hand = tmp_path / "grown" / "detector.safetensors", tmp_path / "scores"
    by_hand.mkdir()
    (by_hand / "images.csv").write_bytes((folder / "images.csv").read_bytes())
    paths.link(detector, by_hand / "inputs" / "detector.safetensors")
    spec["inputs"] = {"detector": {"file": "", "sha256": paths.file_sha256(detector)}}
    (by_hand / "run.json").write_text(json.dumps(spec))
    assert run_folder(by_hand, images=folder).status == 0
    np.testing.assert_array_equal(np.load(folder / "maps.npy"), np.load(by_hand / "maps.npy"))


def _assert_resumes_with_the_grown_bank(folder: Any) -> None:
    """All stages except grow run again, from the folder and not from memory."""
    first = (folder / "scores.csv").read_bytes()
    for stage in ("films", "align", "maps", "results"):
        (folder / "stages" / f"{stage}.json").unlink()
    (folder / "scores.csv").unlink()
    assert run_folder(folder, images=folder).status == 0
    assert (folder / "scores.csv").read_bytes() == first


def _assert_names_a_missing_film(folder: Any) -> None:
    spec = json.loads((folder / "run.json").read_text())
    spec["grow"]["images"] = ["elsewhere"]
    (folder / "run.json").write_text(json.dumps(spec))
    for stage in ("films", "align", "grow", "maps", "results"):
        (folder / "stages" / f"{stage}.json").unlink()
    outcome = run_folder(folder, images=folder)
    assert outcome.status == 2
    assert outcome.sentence == "The film elsewhere is to join the bank and is not in images.csv: request the run again."


# Requests ---------------------------------------------------------------------------------------------


def test_a_request_stores_the_films_and_the_run_that_scored_them(scored: Run) -> None:
    films = outside()[:2]
    run = requests.request_grown_score(grown_request(scored), scored=scored, films=films)
    assert (run.kind, run.rescores, run.detector, run.split) == (RunKind.SCORE, scored, scored.detector, scored.split)
    assert list(run.grown_with.order_by("pk")) == films
    assert run.random_weights is scored.detector.random_weights is True


def test_films_of_tune_calibrate_and_test_stay_where_they_are(scored: Run) -> None:
    for part in ("tune", "calibrate", "test"):
        held = list(Image.objects.filter(split_images__member__part=part)[:1])
        with pytest.raises(RunRefused, match="1 of 2 films are of patients in tune, calibrate or test of the split"):
            requests.request_grown_score(grown_request(scored), scored=scored, films=[*held, *outside()[:1]])
    assert not Run.objects.filter(rescores=scored).exists()


def test_another_film_of_a_test_patient_stays_out_too(scored: Run) -> None:
    patient = Image.objects.filter(split_images__member__part="test").first().patient
    sibling = Image(pk=9_999, patient=patient)
    assert requests.films_held_elsewhere(scored.detector.split, [sibling, *outside()]) == {9_999}


def test_a_copy_of_a_test_film_under_another_name_stays_out_too(scored: Run) -> None:
    held = Image.objects.filter(split_images__member__part="test").first()
    copy = factories.copy(held, factories.dataset("Copies", at=scored.site))
    further = factories.film(copy.dataset)
    further_of_copy = Image(pk=9_998, patient=copy.patient)
    films = [copy, further, further_of_copy]
    assert requests.films_held_elsewhere(scored.detector.split, films) == {copy.pk, 9_998}


def test_what_cannot_grow_is_refused_with_a_sentence(scored: Run) -> None:
    film = outside()[0]
    stranger = made.film(film.dataset, number=400)
    for films, sentence in (
        ([], "No film is chosen to join the bank"),
        ([stranger], "has no score in “Score”"),
        ([film] * 201, "201 films are to join the bank: at most 200"),
    ):
        with pytest.raises(RunRefused, match=sentence):
            requests.request_grown_score(grown_request(scored), scored=scored, films=films)
    with pytest.raises(RunRefused, match="has no scores"):
        requests.request_grown_score(grown_request(scored), scored=scored.detector.run, films=[film])
    baseline = made.run(scored.split, kind=RunKind.SCORE, state=RunState.DONE, detector=_without_bank(scored))
    with pytest.raises(RunRefused, match="has no memory bank that could grow"):
        requests.request_grown_score(grown_request(scored), scored=baseline, films=[film])
    reader = made.person("reader", at=scored.site, role=Role.READER)
    by_reader = RunRequest(site=scored.site, name="Grown", requested_by=reader)
    with pytest.raises(PermissionDenied, match="To request runs"):
        requests.request_grown_score(by_reader, scored=scored, films=[film])
    assert not Run.objects.filter(rescores__isnull=False).exists()


def _without_bank(scored: Run) -> DetectorModel:
    gallery = GallerySizes(films=6, patches=0)
    return made.detector_model(scored.split, reports.detector_report(bank=None, gallery=gallery))


@pytest.mark.parametrize(("grow", "sentence"), [
    ({"images": []}, "it must be an object with images"),
    ({"images": ["a"], "films_before": 0}, "it must be an object with images"),
    (["a"], "it must be an object with images"),
])  # fmt: skip
def test_a_wrong_grow_entry_of_run_json_is_refused(grow: Any, sentence: str) -> None:
    spec = RunSpec("score", made.small_config()).to_json()
    with pytest.raises(EngineError, match=sentence):
        RunSpec.from_json(spec | {"grow": grow})
    with pytest.raises(EngineError, match="only the bank of a score run can grow"):
        RunSpec.from_json(spec | {"kind": "fit_detector", "grow": {"images": ["a"], "films_before": 1}})
    with_grow = RunSpec("score", made.small_config(), grow=Grow(("a",), 3))
    assert RunSpec.from_json(with_grow.to_json()).grow == with_grow.grow
