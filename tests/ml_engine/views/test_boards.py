"""The pages of alignment boards: what they show, save and refuse."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image as Picture

from ml_engine.boards.canonicals import BoardRequest, make_canonical, place_film, start_board
from ml_engine.core import files
from ml_engine.engine import manifest
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.forms.runs import AlignmentForm, DetectorForm
from ml_engine.models import (
    AffineDecision,
    CanonicalBoard,
    FilmPlacement,
    HandMadeCanonical,
    Run,
    RunKind,
    RunState,
    Score,
)
from ml_engine.runs import lifecycle, paths, requests
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Exposure, Image, Role, Split, User
from tests.ml_engine import made, reports, scored_folders

pytestmark = [pytest.mark.django_db]
FIT = [80 / 448, 0, 0, 0, 80 / 448, 0, 0, 0, 1.0]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site(), fit=4)


@pytest.fixture
def analyst(split: Split) -> User:
    return made.person("ana", at=split.site, role=Role.ANALYST)


@pytest.fixture
def browser(client: Client, analyst: User) -> Client:
    client.force_login(analyst)
    return client


@pytest.fixture
def board(split: Split, analyst: User) -> CanonicalBoard:
    asked = BoardRequest(site=split.site, name="By hand", films=4, split=split, part="fit")
    return start_board(asked, author=analyst)


@pytest.fixture
def canonical(board: CanonicalBoard, analyst: User) -> HandMadeCanonical:
    for film in board.films.all():
        place_film(film=film, author=analyst, matrix=FIT)
    return make_canonical(board=board, name="Mean of four", author=analyst)


def send(browser: Client, address: str, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return browser.post(address, text, content_type="application/json")


def gray(response: Any) -> np.ndarray:
    assert response.status_code == 200, response.content
    return np.asarray(Picture.open(io.BytesIO(response.content)))


def data_of(response: Any) -> dict[str, Any]:
    text = response.content.decode()
    return json.loads(text.split('id="board-data" type="application/json">')[1].split("</script>")[0])


def test_a_board_is_started_from_the_form(browser: Client, split: Split) -> None:
    form = {"name": "Mine", "source": f"split:{split.uuid}:fit", "films": 3, "seed": 5}
    response = browser.post("/boards/", form)
    board = CanonicalBoard.objects.get()
    assert response.headers["Location"] == f"/boards/{board.uuid}/"
    assert (board.name, board.seed, board.part, board.films.count()) == ("Mine", 5, "fit", 3)
    refused = browser.post("/boards/", form | {"films": 501})
    assert refused.status_code == 400
    assert "less than or equal to 500" in refused.content.decode()


def test_the_list_takes_the_same_queries_for_any_number_of_boards(
    browser: Client, board: CanonicalBoard, analyst: User
) -> None:
    assert board.split is not None
    place_film(film=board.films.get(position=2), author=analyst, matrix=FIT)
    with CaptureQueriesContext(connection) as one:
        assert "1 of 4" in browser.get("/boards/").content.decode()
    for seed in range(3):
        asked = BoardRequest(site=board.site, name=f"{seed}", films=2, split=board.split, part="fit", seed=seed)
        start_board(asked, author=analyst)
    with CaptureQueriesContext(connection) as four:
        browser.get("/boards/")
    assert len(four) == len(one)


def test_the_board_sends_its_films_and_their_places(browser: Client, board: CanonicalBoard, analyst: User) -> None:
    place_film(film=board.films.get(position=2), author=analyst, matrix=FIT)
    data = data_of(browser.get(f"/boards/{board.uuid}/"))
    assert [film["state"] for film in data["films"]] == ["", "handles", "", ""]
    assert data["films"][1]["matrix"] == FIT
    assert data["films"][0]["base"] == pytest.approx(FIT)
    assert data["films"][0]["start"] == data["films"][0]["base"]


def test_a_film_is_shown_and_its_reader_has_seen_that_it_is_normal(browser: Client, board: CanonicalBoard) -> None:
    assert gray(browser.get(f"/boards/{board.uuid}/films/1.png")).shape == (448, 448)
    (shown,) = Exposure.objects.all()
    assert (shown.kind, shown.image_id) == (Exposure.Kind.LABEL, board.films.get(position=1).image_id)
    assert browser.get(f"/boards/{board.uuid}/films/9.png").status_code == 404


def test_a_place_is_saved_and_what_cannot_be_is_refused_with_a_sentence(browser: Client, board: CanonicalBoard) -> None:
    address = f"/boards/{board.uuid}/films/1/"
    assert send(browser, address, {"matrix": FIT}).json()["state"] == "handles"
    assert send(browser, address, {"left_out": True}).json() == {"state": "left out"}
    assert FilmPlacement.objects.count() == 2
    for body, sentence in [
        ("{", "The request is no JSON object"),
        ([], "The request is no JSON object"),
        ({"points": [1]}, "The request is no JSON object"),
        ({}, "The transform must be nine finite numbers"),
        ({"matrix": "x"}, "The transform must be nine finite numbers"),
        ({"matrix": FIT[:8]}, "The transform must be nine finite numbers"),
        ({"matrix": FIT, "points": {"carina": "x"}}, "The transform must be nine finite numbers"),
        ({"matrix": [-FIT[0], *FIT[1:]]}, "The transform turns the film inside out"),
        ("x" * 20_001, "too long"),
    ]:
        response = send(browser, address, body)
        assert response.status_code == 400
        assert sentence in response.json()["error"]
    assert FilmPlacement.objects.count() == 2


def test_mean_and_variance_are_pictures_of_the_films_as_they_are(
    browser: Client, board: CanonicalBoard, canonical: HandMadeCanonical
) -> None:
    address = f"/boards/{board.uuid}/"
    stack = browser.get(f"{address}stack/").json()
    assert (stack["films"], stack["missing"]) == (4, 0)
    assert stack["variance_aligned"] == pytest.approx(stack["variance_unaligned"], rel=1e-3)
    mean = gray(browser.get(f"{address}mean.png?v=1"))
    stored = files.read_npy(paths.canonical_path(canonical.sha256))
    np.testing.assert_array_equal(mean, np.rint(stored * 255))
    assert not np.array_equal(gray(browser.get(f"{address}mean.png?without=1")), mean)
    assert gray(browser.get(f"{address}variance.png")).max() > 0
    np.testing.assert_array_equal(gray(browser.get(f"/canonicals/{canonical.uuid}/mean.png")), mean)
    assert gray(browser.get(f"/canonicals/{canonical.uuid}/variance.png")).max() == 255
    for missing in (f"{address}other.png", f"/canonicals/{canonical.uuid}/other.png"):
        assert browser.get(missing).status_code == 404


def test_a_canonical_image_is_made_and_listed(browser: Client, board: CanonicalBoard, analyst: User) -> None:
    response = browser.post(f"/boards/{board.uuid}/canonical/", {"name": "Early"}, follow=True)
    assert "0 of the board&#x27;s films are placed: place at least 2." in response.content.decode()
    for film in board.films.all():
        place_film(film=film, author=analyst, matrix=FIT)
    response = browser.post(f"/boards/{board.uuid}/canonical/", {"name": "Done"}, follow=True)
    assert "“Done” is the mean of 4 films" in response.content.decode()
    assert "4 by handles and 0 by" in response.content.decode()


def test_a_run_is_requested_with_a_canonical_image(
    browser: Client, split: Split, analyst: User, canonical: HandMadeCanonical
) -> None:
    page = browser.get(f"/runs/new/fit_alignment/?canonical={canonical.uuid}").content.decode()
    assert f'<option value="{canonical.uuid}" selected>Mean of four · by hand, of 4 films</option>' in page
    settings = "\n".join(f"{name}={value}" for name, value in made.SMALL.items())
    form = {
        "name": "To it",
        "split": split.uuid,
        "preset": "default",
        "canonical": canonical.uuid,
        "advanced": settings,
    }
    browser.post("/runs/new/fit_alignment/", form)
    run = Run.objects.get(name="To it")
    assert (run.canonical, run.config["alignment"]["canonical"]) == (canonical, "file")
    assert "Mean of four, made by hand of 4 films" in browser.get(f"/runs/{run.uuid}/").content.decode()
    again = AlignmentForm.values_of(run)
    assert again["canonical"] == str(canonical.uuid)
    assert "alignment.canonical" not in again["advanced"]
    browser.post("/runs/new/fit_detector/", form | {"name": "Both", "alignment": "first"})
    first = Run.objects.get(name="Both").after
    assert first is not None
    assert first.canonical == canonical
    assert "canonical" in DetectorForm.base_fields


def test_a_canonical_image_whose_file_is_gone_is_neither_offered_nor_taken(
    browser: Client, split: Split, canonical: HandMadeCanonical
) -> None:
    paths.canonical_path(canonical.sha256).unlink()
    assert str(canonical.uuid) not in browser.get("/runs/new/fit_alignment/").content.decode()
    asked = RunRequest(site=split.site, name="Gone")
    with pytest.raises(RunRefused, match="The file of the canonical image “Mean of four” is gone"):
        requests.request_alignment(asked, split=split, config=made.small_config(), canonical=canonical)


def test_landmarks_as_the_method_need_no_canonical_image(split: Split, canonical: HandMadeCanonical) -> None:
    elsewhere = made.small_split(made.site("Busan"))
    asked = RunRequest(site=elsewhere.site, name="Elsewhere")
    with pytest.raises(RunRefused, match="This canonical image belongs to another site"):
        requests.request_alignment(asked, split=elsewhere, config=made.small_config(), canonical=canonical)


# The outcome of a fitted alignment ----------------------------------------------------------------------


@pytest.fixture
def fitted(split: Split) -> Run:
    alignment = made.alignment_model(split, reports.alignment_report(flagged=[1]))
    images = Image.objects.filter(split_images__member__part="fit").order_by("pk")
    folder = paths.run_folder(alignment.run.uuid)
    folder.mkdir(parents=True)
    rows = [manifest.ManifestRow(filename=str(k), image=str(image.uuid)) for k, image in enumerate(images)]
    manifest.write(folder / "images.csv", rows, with_labels=False)
    files.write_npy(folder / "affines.npy", np.repeat(np.eye(2, 3)[None] * 80 / 64, len(rows), axis=0))
    return alignment.run


def test_the_films_of_an_alignment_are_decided_on(browser: Client, fitted: Run) -> None:
    address = f"/runs/{fitted.uuid}/films/"
    data = data_of(browser.get(address))
    assert [film["flagged"] for film in data["films"]] == [True, False, False, False]
    assert data["films"][0]["start"] == pytest.approx(FIT)
    flagged = data["films"][0]
    assert gray(browser.get(flagged["picture"])).shape == (448, 448)
    moved = [*FIT[:2], 4.0, *FIT[3:]]
    assert send(browser, flagged["saveUrl"], {"verdict": "by hand", "matrix": moved}).json() == {"state": "by hand"}
    row = AffineDecision.objects.get()
    assert row.canonical_size == 64
    np.testing.assert_allclose(row.affine, [[80 / 64, 0, 4], [0, 80 / 64, 0]])
    again = data_of(browser.get(address))["films"]
    assert {film["state"]: film["matrix"] and pytest.approx(film["matrix"]) for film in again}["by hand"] == moved
    for body, sentence in [
        ({"verdict": "perhaps"}, "The verdict is “perhaps”"),
        ({"verdict": "by hand"}, "A place by hand needs the transform"),
        ({"verdict": "by hand", "matrix": [1, 2]}, "The transform must be nine finite numbers"),
        ({"verdict": "by hand", "matrix": [*FIT[:6], 0.0001, 0, 1]}, "placed by an affine only"),
    ]:
        response = send(browser, flagged["saveUrl"], body)
        assert (response.status_code, sentence in response.json()["error"]) == (400, True), response.json()


@pytest.fixture
def scoring(fitted: Run, split: Split) -> Run:
    """A scoring run with the alignment, in a frame of twice its side; the second of its two films is flagged."""
    config = made.small_config()
    config = replace(config, alignment=replace(config.alignment, size=128)).to_json()
    detector = made.detector_model(split, alignment=fitted.alignment_made, config=config)
    run = made.run(split, kind=RunKind.SCORE, state=RunState.DONE, name="Scores", detector=detector)
    films = list(Image.objects.filter(split_images__member__part="calibrate").order_by("pk")[:2])
    folder = paths.run_folder(run.uuid)
    folder.mkdir(parents=True)
    rows = [manifest.ManifestRow(filename=str(k), image=str(film.uuid)) for k, film in enumerate(films)]
    manifest.write(folder / "images.csv", rows, with_labels=False)
    files.write_npy(folder / "affines.npy", np.repeat(np.eye(2, 3)[None] * 80 / 128, len(rows), axis=0))
    ScoredFolder(folder).write_summary(scored_folders.summary(flagged=[1]))
    numbers = {"global_score": 0, "region_score": 0, "fused_score": 0}
    Score.objects.bulk_create([Score(image=film, run=run, row=k, **numbers) for k, film in enumerate(films)])
    return run


def test_the_films_of_a_scoring_run_are_decided_on_too(browser: Client, fitted: Run, scoring: Run) -> None:
    address = f"/runs/{fitted.uuid}/films/"
    assert f'href="?run={scoring.uuid}"' in browser.get(address).text
    films = data_of(browser.get(f"{address}?run={scoring.uuid}"))["films"]
    assert [film["flagged"] for film in films] == [True, False]
    assert films[0]["start"] == pytest.approx(FIT)
    assert gray(browser.get(films[0]["picture"])).shape == (448, 448)
    shown = Exposure.objects.values_list("image__uuid", flat=True)
    assert not {str(uuid) for uuid in shown} & {
        film["saveUrl"].split("/")[-2] for film in films
    }  # that a film was scored does not reveal its label
    moved = [*FIT[:2], 4.0, *FIT[3:]]
    assert send(browser, films[0]["saveUrl"], {"verdict": "by hand", "matrix": moved}).json() == {"state": "by hand"}
    np.testing.assert_allclose(AffineDecision.objects.get().affine, [[80 / 64, 0, 4], [0, 80 / 64, 0]])
    again = data_of(browser.get(f"{address}?run={scoring.uuid}"))["films"]
    assert [film["state"] for film in again] == ["", "by hand"]


def test_films_that_the_alignment_does_not_place_are_not_there(browser: Client, fitted: Run, scoring: Run) -> None:
    other = Image.objects.filter(split_images__member__part="test")[0]
    assert browser.get(f"/runs/{fitted.uuid}/films/{other.uuid}.png").status_code == 404
    for asked in ("nonsense", made.run(fitted.split, kind=RunKind.SCORE, detector=scoring.detector).uuid):
        assert browser.get(f"/runs/{fitted.uuid}/films/?run={asked}").status_code == 404
    shutil.rmtree(paths.run_folder(scoring.uuid))
    assert "Score the films again" in browser.get(f"/runs/{fitted.uuid}/films/?run={scoring.uuid}").text


def test_an_alignment_without_its_folder_has_no_films(browser: Client, split: Split) -> None:
    run = made.alignment_model(split).run
    assert "The folder of this run was removed" in browser.get(f"/runs/{run.uuid}/films/").content.decode()
    other = made.run(split, kind=RunKind.SCORE, detector=made.detector_model(split))
    assert browser.get(f"/runs/{other.uuid}/films/").status_code == 404
